"""``csc-cogd paint``, as a program."""

import re
import signal
import socket
import urllib.request

import pytest

from tests.cli.calling import call, check_refused, running, save


def test_it_prints_its_address_and_ends_by_ctrl_c(photo, tmp_path):
    picture = save(tmp_path / "photo.png", photo)
    with running("paint", picture, "--no-browser", "-q") as program:
        url = program.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url)
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"app.js" in answer.read()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "", "")


def test_the_browser_is_opened_or_the_address_explained(photo, tmp_path, monkeypatch, capsys):
    import webbrowser

    import uvicorn

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(webbrowser, "get", lambda: None)
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    picture = save(tmp_path / "photo.png", photo)
    assert call("paint", picture, "--no-browser") == 0
    assert opened == []
    assert "open this address in a browser on this machine; Ctrl-C ends" in capsys.readouterr().err
    assert call("paint", picture) == 0
    assert opened[0].startswith("http://127.0.0.1:")
    assert "open this address" not in capsys.readouterr().err

    def no_browser():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", no_browser)
    assert call("paint", picture) == 0
    assert len(opened) == 1
    assert "open this address" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(photo, tmp_path, capsys):
    picture = save(tmp_path / "photo.png", photo)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_refused(
            tmp_path, capsys, ("paint", picture, "--no-browser", "--port", port, "--device", "cpu"), f"{port} can't"
        )


@pytest.mark.parametrize(("name", "message"), [("none.png", "no such file"), ("text.png", "isn't"), ("", "has no image")])
def test_what_cannot_be_opened_is_told(name, message, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    place = tmp_path / name if name else tmp_path / "empty"
    if name == "text.png":
        place.write_text("text")
    check_refused(tmp_path, capsys, ("paint", place, "--no-browser", "--device", "cpu"), message)
