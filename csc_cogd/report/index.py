"""The results of a batch: a contact sheet of its pictures, and the same data for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from csc_cogd import __version__
from csc_cogd.report.document import document, plain, text, to_utf8
from csc_cogd.report.sections import share
from csc_cogd.report.totals import Totals, Words, duration
from csc_cogd.storage import Json, check_writable, write_whole

STATES = ("failed", "changed", "unchanged", "skipped")
"""What became of files, the worst first; what is done either has other values than the input, or hasn't."""
ABOUT = ("input", "output", "status", "error", "seconds")
FIGURES = (
    "height", "width", "channels", "dtype", "missing", "changed", "altered", "iterations", "objective", "nonzeros",
    "residual", "data_range", "psnr", "ssim", "mae", "max_error", "psnr_missing", "ssim_missing", "mae_missing",
    "max_error_missing",
)  # fmt: skip
COLUMNS = (*ABOUT, "page", *FIGURES)
AVERAGED = {  # and how they are shown on the contact sheet
    "missing": share, "psnr_missing": "{:.2f}".format, "ssim_missing": "{:.4f}".format, "psnr": "{:.2f}".format,
    "ssim": "{:.4f}".format,
}  # fmt: skip


FOUND = {"speck": "specks", "hair": "hairs", "scratch": "scratches"}
"""What may have been found in a file, one and several."""


def write_index(
    folder: Path, results: Sequence[Mapping[str, Json]], *, totals: Totals | None = None, overwrite: bool = False
) -> None:
    """Write ``index.html``, ``report.json`` and ``report.csv`` into a folder; not the first where it is the only page.

    The first is a contact sheet: of each file its thumbnail, what became of it, and its figures, the worst first.

    The CSV has COLUMNS, the same for all reports, and is UTF-8 with a byte order mark, as spreadsheets need it. Text
    that a spreadsheet would take for a formula is preceded by an apostrophe.

    Parameters
    ----------
    folder : Path
    results : list of dict
        For each file ``input``, ``output``, ``status`` ("done", "skipped" or "failed"), ``error``, ``seconds``, and where it
        is done ``report``, which is what :func:`csc_cogd.report.page.write_page` returned; its ``page`` and ``thumbnail``
        are taken to be relative to the folder. Where it has ``missing`` or ``altered`` (see :class:`csc_cogd.Result`), these
        count, and not the report's. And ``warnings``, and ``figures``, with numbers of specks, hairs and scratches.
    totals : Totals, optional
        Totals of all files. Default: computed from `results`.

    Raises
    ------
    InputError
        If one of the files exists or can't be written.
    """
    rows, files = [plain(result) for result in results], []
    common = _common_folder([row["input"] for row in rows])
    for row in rows:
        figures, name = (row.get("report") or {}) | row, row["input"].removeprefix(common)
        warnings, found = row.get("warnings") or [], row.get("figures") or {}
        files.append(
            _File(row["input"], name, row["status"], row.get("error") or "", row.get("seconds"), warnings, found, figures)
        )
    summary = _Summary(files, _sum(files) if totals is None else totals, _means(files))
    found = {"files": len(files), **summary.totals.row(), "mean": summary.means}
    about = {"version": __version__, "totals": found, "files": rows}
    contents = {
        "report.json": (json.dumps(about, indent=1, default=str) + "\n").encode(),
        "report.csv": _table(files),
    }
    if [file.figures.get("page") for file in files] != ["index.html"]:
        contents = {"index.html": _index(summary), **contents}
    for name in contents:
        check_writable(folder / name, overwrite=overwrite)
    for name, content in contents.items():
        write_whole(folder / name, content, overwrite=overwrite, follow_link=False)


class _File(NamedTuple):
    """The result of a file: its name as it is shown, what was found, by kind, and the figures that the table is made of."""

    input: str
    name: str
    status: str
    error: str
    seconds: float | None
    warnings: list[str]
    found: dict[str, float]
    figures: dict[str, Json]

    @property
    def state(self) -> str:
        """One of :data:`STATES`."""
        if self.status != "done":
            return self.status
        return "unchanged" if self.figures.get("altered") == 0 else "changed"

    def figure(self, name: str) -> float | None:
        """Return a number of that name, None where there is none."""
        value = self.figures.get(name)
        return value if isinstance(value, (int, float)) else None


class _Summary(NamedTuple):
    """All files, what their numbers add up to, and the means of the figures that some of them have."""

    files: list[_File]
    totals: Totals
    means: dict[str, float | None]


def _common_folder(inputs: list[str]) -> str:
    """Return the folder that all are in, which needn't be said of each, with the separator behind it."""
    folders = {os.path.dirname(path) for path in inputs}
    if not folders or len({os.path.isabs(folder) for folder in folders}) > 1:
        return ""
    common = os.path.commonpath(folders)
    return os.path.join(common, "") if common else ""


def _sum(files: list[_File]) -> Totals:
    totals = Totals(seconds=sum(file.seconds or 0 for file in files if file.status != "skipped"))
    for file in files:
        totals.add(file.status, file.seconds, file.figure("missing"))
    return totals


def _means(files: list[_File]) -> dict[str, float | None]:
    """Return the figures' means over the files that have them."""
    values = {name: [v for file in files if (v := file.figure(name)) is not None] for name in AVERAGED}
    return {name: sum(found) / len(found) if found else None for name, found in values.items()}


def _table(files: list[_File]) -> bytes:
    stream = io.StringIO(newline="")
    rows = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
    rows.writeheader()
    for file in files:
        rows.writerow({name: _cell(value) for name, value in file.figures.items()})
    return b"\xef\xbb\xbf" + to_utf8(stream.getvalue())


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _index(summary: _Summary) -> bytes:
    files, totals = sorted(summary.files, key=_rank), summary.totals
    means = {name: mean for name, mean in summary.means.items() if mean is not None and name != "missing"}
    counts = {state: sum(file.state == state for file in files) for state in STATES}
    shown = {state: count for state, count in counts.items() if count}
    tiles = [(AVERAGED[name](mean), f"mean {_title(name, totals.words)}") for name, mean in means.items()]
    common = _common_warnings(files)
    parts = {
        "tiles": "".join(f"<li><b>{figure}</b>{label}</li>" for figure, label in tiles),
        "summary": text(f"{totals.sentence()}; csc-cogd {__version__}"),
        "warnings": "".join(_paragraphs(common)),
        "states": _states(shown, len(files)), "orders": _orders(summary.means, totals.words),
        "files": "\n".join(_card(file, rank, totals.words, common) for rank, file in enumerate(files)),
    }  # fmt: skip
    return document("index", "Restored pictures", parts, images="data: 'self' file:")


def _rank(file: _File) -> tuple[Any, ...]:
    """Return what the worst files are first by: failures, then bad figures of merit, then much that was missing."""
    psnr = file.figure("psnr_missing") or file.figure("psnr") or math.inf
    return STATES.index(file.state), psnr, -(file.figure("missing") or 0), -len(file.warnings), file.input


def _title(name: str, words: Words) -> str:
    """Return how a figure is headed."""
    measure, _, where = name.partition("_")
    return f"{measure.upper()} {words.gone}" if where else words.gone if name == "missing" else measure.upper()


def _common_warnings(files: list[_File]) -> list[str]:
    """Return warnings that more than half of several files have, which are shown once."""
    counts = Counter(warning for file in files for warning in file.warnings)
    return [warning for warning, count in counts.items() if 2 * count > len(files) > 1]


def _states(counts: dict[str, int], n_files: int) -> str:
    chosen = {"": ("all", n_files)} | {state: (state, count) for state, count in counts.items()}
    return "".join(
        f'<label><input type="radio" name="state" value="{state}"{"" if state else " checked"}>{label} {count:,}</label>'
        for state, (label, count) in chosen.items()
    )


def _orders(means: dict[str, float | None], words: Words) -> str:
    """Return what files can be sorted by: "-" for the greatest first."""
    known = {name for name, mean in means.items() if mean is not None}
    orders = {"rank": "worst first", "name": "name"}
    orders |= {"-missing": f"most {words.gone} first"} if "missing" in known else {}
    orders |= {name: f"{_title(name, words)}, lowest first" for name in AVERAGED if name in known - {"missing"}}
    orders["-seconds"] = "longest time first"
    return "".join(f'<option value="{order}">{label}</option>' for order, label in orders.items())


def _card(file: _File, rank: int, words: Words, common: list[str]) -> str:
    """Return the list item of a file."""
    name, about = text(file.name), file.figures
    picture = '<span class="none">no picture</span>'
    if thumbnail := about.get("thumbnail"):
        shown = "before and after" if about.get("page") else "left as it is"
        picture = f'<img src="{_address(thumbnail)}" alt="{name}, {shown}" loading="lazy">'
    link, end = (f'<a href="{_address(about["page"])}">', "</a>") if about.get("page") else ("", "")
    said = [f"<p>{'; '.join(_said(file, words))}</p>", *_paragraphs(w for w in file.warnings if w not in common)]
    if file.error:
        said = [f'<p class="failed">{text(file.error)}</p>']
    keys = {"rank": rank, "seconds": file.seconds} | {key: file.figure(key) for key in AVERAGED}
    data = "".join(f' data-{key.replace("_", "-")}="{value!r}"' for key, value in keys.items() if value is not None)
    return (
        f'<li data-state="{file.state}"{data}>{link}<div class="thumbnail">{picture}</div>'
        f'<h3 title="{text(file.input)}">{name}</h3>{end}'
        f'<p class="state {file.state}">{file.state}{_time(file)}</p>{"".join(said)}</li>'
    )


def _address(path: Any) -> str:
    return quote(os.fsencode(str(path)))


def _paragraphs(warnings: Iterable[str]) -> list[str]:
    return [f'<p class="warning">{text(warning)}</p>' for warning in warnings]


def _time(file: _File) -> str:
    if file.seconds is None or file.state == "failed":
        return ""
    return f", {duration(file.seconds)}" + (" before" if file.status == "skipped" else "")


def _said(file: _File, words: Words) -> list[str]:
    """Return the figures of a file in words."""
    found = file.found
    said = [f"{found[kind]:,} {kind if found[kind] == 1 else plural}" for kind, plural in FOUND.items() if found.get(kind)]
    if (missing := file.figure("missing")) is not None:
        said.append(f"{share(missing)} {words.gone}" if missing else f"nothing {words.gone}")
    if (changed := file.figure("changed")) is not None and file.figures.get("altered") != 0:
        said.append(f"{changed:,} {words.kept} changed" if changed else "nothing else changed")
    for name in AVERAGED:
        if name != "missing" and (value := file.figure(name)) is not None:
            said.append(f"{_title(name, words)} {AVERAGED[name](value)}")
    return said
