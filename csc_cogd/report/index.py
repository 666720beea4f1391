"""The results of a batch: an index of its pages, and the same data for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from csc_cogd import __version__
from csc_cogd.report.document import document, plain, section, text, to_utf8, write_bytes
from csc_cogd.report.page import Figures
from csc_cogd.report.sections import share
from csc_cogd.report.totals import Totals
from csc_cogd.storage import check_writable

STATES = ("done", "skipped", "failed")
ABOUT = ("input", "output", "status", "error", "seconds")
FIGURES = (
    "height", "width", "channels", "dtype", "missing", "changed", "iterations", "objective", "nonzeros", "residual",
    "data_range", "psnr", "ssim", "mae", "max_error", "psnr_missing", "ssim_missing", "mae_missing", "max_error_missing",
)  # fmt: skip
COLUMNS = (*ABOUT, "page", *FIGURES)
AVERAGED = {  # and how they are headed and shown in the index
    "missing": ("Missing", share), "psnr_missing": ("PSNR missing", "{:.2f}".format),
    "ssim_missing": ("SSIM missing", "{:.4f}".format), "psnr": ("PSNR", "{:.2f}".format),
    "ssim": ("SSIM", "{:.4f}".format),
}  # fmt: skip


def write_index(
    folder: Path, results: Sequence[dict[str, Any]], *, totals: Totals | None = None, overwrite: bool = False
) -> None:
    """Write ``index.html``, ``report.json`` and ``report.csv`` into a folder; not the first where it is the only page.

    The CSV has COLUMNS, the same for all reports, and is UTF-8 with a byte order mark, as spreadsheets need it. Text
    that a spreadsheet would take for a formula is preceded by an apostrophe.

    Parameters
    ----------
    folder : Path
    results : list of dict
        For each file ``input``, ``output``, ``status`` ("done", "skipped" or "failed"), ``error``, ``seconds``, and where it
        is done ``report``, which is what :func:`csc_cogd.report.page.write_page` returned; its ``page`` is taken to be
        relative to the folder. Where it has ``missing``, that counts, and not the report's.
    totals : Totals, optional
        Totals of all files. Default: computed from `results`.

    Raises
    ------
    InputError
        If one of the files exists or can't be written.
    """
    rows, files = [plain(result) for result in results], []
    for row in rows:
        figures = (row.get("report") or {}) | row
        files.append(_File(row["input"], row["status"], row.get("error") or "", row.get("seconds"), figures))
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
        write_bytes(folder / name, content, overwrite=overwrite)


class _File(NamedTuple):
    """The result of a file, and all that is known of it by name, with the figures of its page."""

    input: str
    status: str
    error: str
    seconds: float | None
    figures: Figures

    def figure(self, name: str) -> float | None:
        """Return a number of that name, None where there is none."""
        value = self.figures.get(name)
        return value if isinstance(value, (int, float)) else None


class _Summary(NamedTuple):
    """All files, what their numbers add up to, and the means of the figures that some of them have."""

    files: list[_File]
    totals: Totals
    means: dict[str, float | None]


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
    files, totals = summary.files, summary.totals
    known = {name: mean for name, mean in summary.means.items() if mean is not None}
    columns = list(known)
    means = {AVERAGED[name][0]: AVERAGED[name][1](mean) for name, mean in known.items()}
    tiles = [(f"{totals.counts[state]:,}", state) for state in STATES if totals.counts[state]]
    tiles += [(mean, f"mean {title}") for title, mean in means.items() if title != "Missing"]
    foot = "".join(f'<td class="number">{mean}</td>' for mean in means.values())
    parts = {
        "tiles": "".join(f"<li><b>{figure}</b>{label}</li>" for figure, label in tiles),
        "summary": text(f"{totals.sentence()}; csc-cogd {__version__}"),
        "failures": _failures(files),
        "head": _heading("File") + _heading("Status") + "".join(_heading(name, "number") for name in (*means, "Seconds")),
        "rows": "\n".join(_row(file, columns) for file in files),
        "means": f'<tr><th colspan="2">Mean</th>{foot}<td></td></tr>' if means else "",
    }
    return document("index", "Restored pictures", parts)


def _heading(title: str, kind: str = "") -> str:
    return f'<th scope="col" class="{kind}" aria-sort="none"><button type="button">{title}</button></th>'


def _failures(files: list[_File]) -> str:
    failed = [file for file in files if file.status == "failed"]
    items = "".join(f"<dt>{text(file.input)}</dt><dd>{text(file.error)}</dd>" for file in failed)
    return section("Failed", items and f'<dl class="failures">{items}</dl>')


def _row(file: _File, columns: list[str]) -> str:
    name = text(file.input)
    if page := file.figures.get("page"):
        name = f'<a href="{quote(os.fsencode(str(page)))}">{name}</a>'
    cells = [f"<td>{name}</td>", f'<td class="{text(file.status)}">{text(file.status)}</td>']
    cells += [_number(file.figure(column), AVERAGED[column][1]) for column in columns]
    return f"<tr>{''.join(cells)}{_number(file.seconds, '{:.1f}'.format)}</tr>"


def _number(value: float | None, show: Any) -> str:
    return '<td class="number"></td>' if value is None else f'<td class="number" data-value="{value!r}">{show(value)}</td>'
