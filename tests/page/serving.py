"""A page's server in a thread, and a client of it."""

import http.client
import json
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np

from csc_cogd import Engine
from csc_cogd.page.server import PageServer
from csc_cogd.page.session import Session

PATIENCE = 60  # seconds


class Client:
    """Asks a server, and hears what it tells."""

    def __init__(self, server, session):
        self.server, self.session, self.url = server, session, server.url
        parts = urlsplit(server.url)
        self.host, self.token = parts.netloc, parts.path.strip("/")
        self._events = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        self._events.request("GET", f"/{self.token}/api/events")
        self._stream = self._events.getresponse()
        self._stream.readline()  # all that is told from now on is heard

    def ask(self, path, method="GET", body=None, headers=None, token=None):
        """The status and the content of an answer; JSON as what it says."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection.request(method, f"/{self.token if token is None else token}/{path}", body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if answer.headers["content-type"] == "application/json" else content

    def post(self, path, body=b""):
        return self.ask(path, "POST", body)

    def info(self, number=0, page=0):
        return self.ask(f"api/pictures/{number}/{page}")[1]

    def mask(self, number=0, page=0):
        info = self.info(number, page)
        bits = np.frombuffer(self.ask(f"api/pictures/{number}/{page}/mask")[1], np.uint8)
        return np.unpackbits(bits, count=info["width"] * info["height"]).reshape(info["height"], info["width"]).astype(bool)

    def paint(self, mask, number=0, page=0, revision=None, query="fill"):
        """Set the whole mask of a page."""
        revision = self.info(number, page)["revision"] if revision is None else revision
        place = f"top=0&left=0&bottom={mask.shape[0]}&right={mask.shape[1]}&revision={revision}&{query}"
        return self.post(f"api/pictures/{number}/{page}/mask?{place}", np.packbits(mask).tobytes())

    def hear(self, *kinds):
        """The next event of these kinds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            line = self._stream.readline()
            assert line, "the server has ended"
            if line.startswith(b"data: ") and (event := json.loads(line[6:]))["kind"] in kinds:
                return event
        raise AssertionError(f"nothing was heard of {' or '.join(kinds)}")

    def close(self):
        self._stream.close()
        self._events.close()


@contextmanager
def serving(path, keep=True, **options):
    """A client of a server for a picture or a folder."""
    with Session(path, engine=Engine(threads=1), **options) as session:
        server = PageServer(session, keep=keep)
        thread = threading.Thread(target=server.run)
        thread.start()
        client = Client(server, session)
        client.thread = thread
        try:
            yield client
        finally:
            server.stop()
            thread.join()
            client.close()


def square(shape, top=8, left=8, side=6):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask
