"""What commands print: all of it passes :func:`echo`; messages and progress while they work, on stderr."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.heartbeat import Heartbeat

if TYPE_CHECKING:
    from csc_cogd.engine import Engine

_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories: control characters, undecodable bytes, ends of lines
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # classes of what changes the direction of writing


def printable(text: str) -> str:
    """One line for a terminal: what would steer it, as names of files may, is written as in JSON, ``\\u001b``."""
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if _steers(letter) else letter for letter in text)


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in _BREAKS or unicodedata.bidirectional(letter) in _TURNS


def _escaped(letter: str) -> str:
    return "\\n" if letter == "\n" else f"\\u{ord(letter):04x}"


def echo(line: str, *, err: bool = False) -> None:
    """Print a line, whatever names are in it."""
    click.echo(printable(line), err=err)


@dataclass(frozen=True)
class Console:
    """Messages, as many as -q and -v ask for."""

    quiet: bool = False
    verbose: int = 0

    @property
    def verbosity(self) -> int:
        """-1 quiet, 0 normal, 1 and more for each -v."""
        return -1 if self.quiet else self.verbose

    def say(self, message: str, level: int = 0) -> None:
        if self.verbosity >= level:
            with contextlib.suppress(OSError, ValueError):  # a closed stderr must not cost the result
                echo(message, err=True)

    def warn(self, message: str) -> None:
        self.say(f"csc-cogd: warning: {message}")

    def error(self, message: str, trace: str = "") -> None:
        if trace and self.verbosity > 1:
            for line in trace.splitlines():
                self.say(f"  {line}")
        self.say("csc-cogd: error: " + " ".join(message.split()), level=-1)

    @contextlib.contextmanager
    def advising(self, advice: Callable[[], str]) -> Iterator[None]:
        """Where this is interrupted, say how to go on; nothing if the advice is empty, as nothing has been saved by then."""
        try:
            yield
        except KeyboardInterrupt:
            if text := advice():
                self.say(text)
            raise

    def checkpointed(self, checkpoint: Path | None) -> contextlib.AbstractContextManager[None]:
        """Say so of learning that goes on by itself from its checkpoint."""
        advice = f"{checkpoint}: a checkpoint: the same call goes on from it"
        return self.advising(lambda: advice if checkpoint is not None and checkpoint.exists() else "")

    def announce_compiling(self) -> None:
        """Say so, once, where kernels are being compiled for long before anything is seen to happen."""
        from csc_cogd.backend.diagnostics import announce_compiling

        announce_compiling(lambda: self.say("compiling for this machine: up to a minute or two, on first use only"))

    def check_device(self, engine: Engine) -> None:
        """Refuse a device that can't be used, now and not later; say which ``auto`` is and why, where there is a choice."""
        from csc_cogd.backend import choose_device, get_backend
        from csc_cogd.backend.diagnostics import kernel_cache

        _ = engine.backend
        self.announce_compiling()
        if get_backend("cpu").compiled and kernel_cache() is None:
            fix = "set NUMBA_CACHE_DIR to a folder that can be written to"
            self.warn(f"compiled kernels can't be kept, so each run compiles them for a minute: {fix}")
        if engine.device == "auto":
            chosen, why = choose_device(engine.threads, engine.fft)
            self.say(f"device: {chosen} ({why})", level=0 if find_spec("cupy") else 1)

    def progress(self, n_files: int = 1) -> ProgressBar:
        """A callback for :func:`csc_cogd.inpaint`, to be used in a ``with`` statement."""
        visible = self.verbosity >= 0 and sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
        beat = None if visible or self.verbosity < 0 else Heartbeat(self.say, n_files)
        return ProgressBar(visible, n_files, beat)


class ProgressBar:
    """One bar a stage, or one for several files, on a terminal only, elsewhere a heartbeat; and where Ctrl-C and SIGTERM are
    sure to be heard.

    A sign beside the bar turns each second, so that a long step isn't taken for a standstill.

    A KeyboardInterrupt that is raised inside a callback of a compiled library is lost there, and Python prints that it is;
    so it is remembered here, silently, and raised again at the next report of progress.
    """

    def __init__(self, visible: bool, n_files: int = 1, heartbeat: Heartbeat | None = None):
        self._visible, self._n_files, self._heartbeat = visible, n_files, heartbeat
        self._bar: Any = None
        self._stage = ""
        self._interrupted = False
        self._handlers: dict[int, Any] = {}
        self._hook: Any = None
        self._drawing, self._over = threading.RLock(), threading.Event()
        self._pulse: threading.Thread | None = None

    def __call__(self, progress: Any) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        if self._heartbeat is not None:
            self._heartbeat.note(progress)
        if not self._visible:
            return
        with self._drawing:
            if self._n_files > 1:
                self._files_bar().update(0, f"{progress.stage} {progress.done}/{progress.total}")
                return
            if self._bar is None or progress.stage != self._stage or progress.done < self._bar.pos:
                self.close()
                self._stage = progress.stage
                self._bar = click.progressbar(
                    length=progress.total, label=f"{progress.stage:<12}", item_show_func=_shown, file=sys.stderr
                )
                self._bar.__enter__()
            self._bar.update(progress.done - self._bar.pos, getattr(progress, "note", None))

    def file_done(self, name: str) -> None:
        """A file is done, or has failed: perhaps by an interruption that a library made an error of its own of."""
        if self._interrupted:
            raise KeyboardInterrupt
        if self._heartbeat is not None:
            self._heartbeat.file_done()
        if self._visible and self._n_files > 1:
            with self._drawing:
                self._files_bar().update(1, name)

    def _files_bar(self) -> Any:
        if self._bar is None:
            self._bar = click.progressbar(
                length=self._n_files,
                label=f"{'files':<12}",
                show_pos=True,
                item_show_func=_shown,
                file=sys.stderr,
            )
            self._bar.__enter__()
        return self._bar

    def __enter__(self) -> ProgressBar:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.default_int_handler:
                    self._handlers[number] = signal.signal(number, self._interrupt)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._ignore
        if self._visible:
            self._pulse = threading.Thread(target=self._beat, name="csc-cogd-progress", daemon=True)
            self._pulse.start()
        if self._heartbeat is not None:
            self._heartbeat.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._hook is not None:
            sys.unraisablehook = self._hook
        self._over.set()
        if self._heartbeat is not None:
            self._heartbeat.__exit__(*exception)
        if self._pulse is not None:
            self._pulse.join()
        self.close()

    def _beat(self) -> None:
        """Turn the sign beside the bar until all is over."""
        for sign in itertools.cycle("|/-\\"):
            if self._over.wait(1):
                return
            with self._drawing, contextlib.suppress(OSError, ValueError):  # a closed stderr must not cost the result
                if self._bar is not None and not self._bar.finished:
                    self._bar.label = f"{self._bar.label[:11]}{sign}"
                    self._bar.render_progress()

    def _interrupt(self, number: int, frame: Any) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _ignore(self, lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            self._hook(lost)

    def close(self) -> None:
        """End the bar's line, if there is one, so that others can follow."""
        with self._drawing:
            if self._bar is not None:
                if not self._bar.finished:
                    self._bar.label = f"{self._bar.label[:11]} "
                self._bar.__exit__(None, None, None)
                self._bar = None


def _shown(item: str | None) -> str | None:
    return None if item is None else printable(item)
