"""The page's server: for this machine only, and for who knows its address."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import tempfile
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from csc_cogd.errors import CscCogdError, InputError
from csc_cogd.page.picture import Box, ConflictError
from csc_cogd.page.restoring import Asked, ExistsError
from csc_cogd.page.session import Session
from csc_cogd.storage import Json

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 100_000_000  # bytes
GRACE = 5.0  # seconds without a window after which nobody is expected back: a reload takes less
BEAT = 1.0  # seconds between signs of life
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
}  # fmt: skip


class PageServer:
    """Serves a session's page.

    Parameters
    ----------
    session : Session
    port : int
        0 for any free one.
    keep : bool
        Go on when the last window is closed.

    Attributes
    ----------
    url : str
        The page's address, with the token that whoever asks must know.
    port : int
        In it.

    Raises
    ------
    InputError
        If the port can't be had.
    """

    def __init__(self, session: Session, *, port: int = 0, keep: bool = False):
        self._session, self._keep = session, keep
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as error:
            self._socket.close()
            raise InputError("port", f"{port} can't be had: {error.strerror}", "leave it out, or choose another") from None
        self._socket.listen()
        self.port = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(24)
        self.url = f"http://{LOOPBACK}:{self.port}/{token}/"
        self._windows: set[asyncio.Queue[str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        session.publish = self._publish
        app = Starlette(
            routes=[Mount(f"/{token}", routes=_Routes(session, self._listen).all())],
            exception_handlers={
                ExistsError: _told("exists", 409),
                ConflictError: _told("conflict", 409),
                CscCogdError: _told("error", 422),
                MemoryError: _told("error", 503, "out of memory: use a smaller picture, or a machine with more"),
            },
        )
        hosts = {f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"}
        config = uvicorn.Config(
            _Guard(app, hosts, token), lifespan="off", log_config=None, access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until Ctrl-C, :meth:`stop`, or the last window is closed."""
        try:
            with suppress(KeyboardInterrupt):  # raised again by uvicorn once all is closed
                self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Let :meth:`run` return soon."""
        self._server.should_exit = True

    def open_browser(self) -> bool:
        """Show the page in the browser, if there is one; the server answers as soon as it runs."""
        try:
            webbrowser.get()
        except webbrowser.Error:
            return False
        threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        return True

    def _publish(self, event: dict[str, Json]) -> None:
        """Tell all windows, from any thread."""
        text = f"data: {json.dumps(event)}\n\n"

        def put() -> None:
            for window in self._windows:
                window.put_nowait(text)

        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is over
                self._loop.call_soon_threadsafe(put)

    async def _listen(self) -> AsyncIterator[str]:
        """Yield events for a window as long as it is open."""
        self._loop = asyncio.get_running_loop()
        window: asyncio.Queue[str] = asyncio.Queue()
        self._windows.add(window)
        try:
            yield "retry: 500\n\n"
            while not self._server.should_exit:
                try:
                    yield await asyncio.wait_for(window.get(), BEAT)
                except TimeoutError:
                    yield ": alive\n\n"
        finally:
            self._windows.discard(window)
            self._loop.call_later(GRACE, self._stop_if_left)

    def _stop_if_left(self) -> None:
        if self._windows or self._keep or self._loop is None:
            return
        if self._session.restorer.busy:  # what is to be kept is kept
            self._loop.call_later(GRACE, self._stop_if_left)
        else:
            self.stop()


class _Guard:
    """Lets through what a page of this server asks, from this machine, with the token; adds headers to what is answered."""

    def __init__(self, app: ASGIApp, hosts: set[str], token: str):
        self._app, self._hosts, self._token = app, hosts, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        code, problem = self._problem(Request(scope))
        app = JSONResponse({"error": problem}, code) if problem else self._app
        await app(scope, receive, send_guarded)

    def _problem(self, request: Request) -> tuple[int, str]:
        headers = request.headers
        origin = headers.get("origin")
        if headers.get("host") not in self._hosts:
            return 403, "this server is for this machine only"
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return 403, "another site asks"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "another site asks"
        if not secrets.compare_digest(request.url.path.lstrip("/").partition("/")[0].encode(), self._token):
            return 403, "the address isn't the one that was printed"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return 413, f"more than {LARGEST_BODY // 10**6} MB: save the mask with fewer channels, or compressed"
        return 0, ""


class _Routes:
    """What can be asked for."""

    def __init__(self, session: Session, listen: Callable[[], AsyncIterator[str]]):
        self._session, self._listen = session, listen
        folder = resources.files(__package__)
        self._files = {
            file.name: (file.read_bytes(), TYPES[suffix])
            for file in folder.iterdir()
            if (suffix := Path(file.name).suffix) in TYPES
        }

    def all(self) -> list[Route]:
        page = "/pictures/{number:int}/{page:int}"
        return [
            Route("/", self._file), Route("/{name}", self._file), Route("/api/events", self._events),
            Route("/api/overview", _answer(lambda request: self._session.overview())),
            Route("/api/cancel", _answer(lambda request: self._session.restorer.cancel()), methods=["POST"]),
            Route("/api/pictures/{number:int}/thumbnail", self._thumbnail),
            Route("/api/pictures/{number:int}/channel", self._show_channel, methods=["POST"]),
            Route("/api/pictures/{number:int}/trial", self._trial),
            Route("/api/pictures/{number:int}/drop", self._drop_trial, methods=["POST"]),
            Route("/api/pictures/{number:int}/restore", self._restore, methods=["POST"]),
            Route("/api/pictures/{number:int}/keep", self._keep, methods=["POST"]),
            Route("/api/pictures/{number:int}/mask", self._save_mask, methods=["POST"]),
            Route(f"/api{page}", self._describe),
            Route(f"/api{page}/mask", self._mask),
            Route(f"/api{page}/mask", self._change_mask, methods=["POST"]),
            Route(f"/api{page}/grown", self._grown),
            Route(f"/api{page}/inverted", self._inverted),
            Route(f"/api{page}/flooded", self._flooded),
            Route(f"/api{page}/try", self._try, methods=["POST"]),
            Route(f"/api{page}/candidates", self._candidates),
            Route(f"/api{page}/read", self._read_mask, methods=["POST"]),
            Route(f"/api{page}" "/{layer}/{level:int}/{row:int}/{column:int}", self._tile),
        ]  # fmt: skip

    async def _file(self, request: Request) -> Response:
        content, kind = self._files.get(request.path_params.get("name", "index.html"), (b"", ""))
        return Response(content, 200 if kind else 404, {"cache-control": "no-cache"}, kind or None)

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(self._listen(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(await _ask(request, self._session.describe))

    async def _thumbnail(self, request: Request) -> Response:
        return _png(await _ask(request, self._session.thumbnail), lasting=False)

    async def _tile(self, request: Request) -> Response:
        content = await _ask(request, self._session.tile)
        return _png(content, lasting=request.path_params["layer"] == "before")

    async def _mask(self, request: Request) -> Response:
        return _bits(await _ask(request, self._session.mask))

    async def _change_mask(self, request: Request) -> Response:
        place = _place(request)
        bits, revision = await _body(request), _number(request, "revision", int)
        fill = "fill" in request.query_params
        changed = await _ask(
            request, partial(self._session.change_mask, revision=revision, place=place, bits=bits, fill=fill)
        )
        return JSONResponse({"revision": changed})

    async def _grown(self, request: Request) -> Response:
        by = _number(request, "by", int)
        return _bits(await _ask(request, partial(self._session.grown, by=by)))

    async def _inverted(self, request: Request) -> Response:
        return _bits(await _ask(request, self._session.inverted))

    async def _flooded(self, request: Request) -> Response:
        x, y = (_number(request, name, int) for name in "xy")
        marks = "erase" not in request.query_params
        return _bits(await _ask(request, partial(self._session.flooded, x=x, y=y, marks=marks)))

    async def _show_channel(self, request: Request) -> Response:
        channel = _number(request, "channel", int) if "channel" in request.query_params else None
        await _ask(request, partial(self._session.show_channel, channel=channel))
        return Response(status_code=204)

    async def _read_mask(self, request: Request) -> Response:
        suffix = Path(request.query_params.get("name", "")).suffix
        with tempfile.NamedTemporaryFile(suffix=suffix if suffix.isascii() and "\0" not in suffix else "") as file:
            file.write(await _body(request))
            file.flush()
            try:
                return _bits(await _ask(request, partial(self._session.read_mask, path=Path(file.name))))
            except InputError as error:
                name = request.query_params.get("name", "the mask")
                raise InputError(error.argument, error.problem, error.fix, name) from None

    async def _candidates(self, request: Request) -> Response:
        kind, sensitivity = request.query_params.get("kind", ""), _number(request, "sensitivity", float)
        place = _place(request)
        search = partial(self._session.candidates, place=place, kind=kind, sensitivity=sensitivity)
        return JSONResponse(await _ask(request, search))

    async def _try(self, request: Request) -> Response:
        await _ask(request, partial(self._session.try_part, place=_place(request), asked=_asked(request)))
        return Response(status_code=202)

    async def _trial(self, request: Request) -> Response:
        return _png(await _ask(request, self._session.trial), lasting=False)

    async def _drop_trial(self, request: Request) -> Response:
        await _ask(request, self._session.drop_trial)
        return Response(status_code=204)

    async def _restore(self, request: Request) -> Response:
        effort = request.query_params.get("effort", "default")
        await _ask(request, partial(self._session.restore, effort=effort))
        return Response(status_code=202)

    async def _keep(self, request: Request) -> Response:
        overwrite = "overwrite" in request.query_params
        await _ask(request, partial(self._session.keep, asked=_asked(request), overwrite=overwrite))
        return Response(status_code=202)

    async def _save_mask(self, request: Request) -> Response:
        overwrite = "overwrite" in request.query_params
        name = await _ask(request, partial(self._session.save_mask, overwrite=overwrite))
        return JSONResponse({"name": name})


def _ask(request: Request, function: Callable[..., Any]) -> Awaitable[Any]:
    """Call a function in a thread with what the address names."""
    return run_in_threadpool(function, **request.path_params)


def _answer(function: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that answers with what a function, called in a thread, returns."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(function, request))

    return endpoint


async def _body(request: Request) -> bytes:
    """Return what was sent, unless it is too much: its length needn't have been said."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > LARGEST_BODY:
            raise InputError("", f"more than {LARGEST_BODY // 10**6} MB were sent")
        parts.append(part)
    return b"".join(parts)


def _number(request: Request, name: str, kind: type[Any]) -> Any:
    try:
        return kind(request.query_params[name])
    except (KeyError, ValueError):
        raise InputError(name, "must be a number") from None


def _asked(request: Request) -> Asked:
    """Return the task that is asked for."""
    given = request.query_params
    amount = _number(request, "amount", float) if "amount" in given else 1.0
    return Asked(given.get("task", "inpaint"), given.get("effort", "default"), amount)


def _place(request: Request) -> Box:
    """Return the part of the page that is asked about."""
    place = Box(*(_number(request, side, int) for side in Box._fields))
    if min(place) < 0:
        raise InputError("", "must lie in the page", subject="the part")
    return place


def _png(content: bytes, lasting: bool) -> Response:
    how = "private, max-age=86400" if lasting else "no-store"
    return Response(content, media_type="image/png", headers={"cache-control": how})


def _bits(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers={"cache-control": "no-store"})


def _told(name: str, code: int, text: str | None = None) -> Callable[[Request, Exception], Response]:
    """Return a handler of errors, which answers with what they say, or a text."""
    return lambda request, error: JSONResponse({name: text or str(error)}, code)
