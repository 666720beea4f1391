"""What became of many files: an index of their pages, and the same for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from csc_cogd import __version__
from csc_cogd.report.document import document, plain, section, text, to_utf8, write_bytes
from csc_cogd.report.sections import share
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


def write_index(folder: Path, results: Sequence[dict[str, Any]], *, overwrite: bool = False) -> None:
    """Write ``index.html``, ``report.json`` and ``report.csv`` into a folder; not the first where it is the only page.

    The CSV has COLUMNS, the same for all reports, and is UTF-8 with a byte order mark, as spreadsheets need it. Text in it
    that a spreadsheet would take for a formula is led by an apostrophe.

    Parameters
    ----------
    folder : Path
    results : list of dict
        For each file ``input``, ``output``, ``status`` ("done", "skipped" or "failed"), ``error``, ``seconds``, and where it
        is done ``report``, which is what :func:`csc_cogd.report.page.write_page` returned; its ``page`` is taken to be
        relative to the folder.

    Raises
    ------
    InputError
        If one of the files exists or can't be written.
    """
    files = [plain(result) for result in results]
    totals = _totals(files)
    about = {"version": __version__, "totals": totals, "files": files}
    only = [_report(file).get("page") for file in files] == ["index.html"]
    contents = {
        **({} if only else {"index.html": _index(files, totals)}),
        "report.json": (json.dumps(about, indent=1, default=str) + "\n").encode(),
        "report.csv": _table(files),
    }
    for name in contents:
        check_writable(folder / name, overwrite=overwrite)
    for name, content in contents.items():
        write_bytes(folder / name, content, overwrite=overwrite)


def _totals(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers of files by status, seconds, and the figures' means over the files that have them."""
    counts = Counter(file["status"] for file in files)
    values = {name: [v for file in files if (v := _report(file).get(name)) is not None] for name in AVERAGED}
    return {
        "files": len(files), **{state: counts[state] for state in STATES},
        "seconds": sum(file.get("seconds") or 0 for file in files),
        "mean": {name: sum(found) / len(found) if found else None for name, found in values.items()},
    }  # fmt: skip


def _report(file: dict[str, Any]) -> dict[str, Any]:
    return file.get("report") or {}


def _table(files: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    rows = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
    rows.writeheader()
    for file in files:
        rows.writerow({name: _cell(value) for name, value in {**_report(file), **file}.items()})
    return b"\xef\xbb\xbf" + to_utf8(stream.getvalue())


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _index(files: list[dict[str, Any]], totals: dict[str, Any]) -> bytes:
    columns = [name for name in AVERAGED if totals["mean"][name] is not None]
    means = {AVERAGED[name][0]: AVERAGED[name][1](totals["mean"][name]) for name in columns}
    tiles = [(f"{totals[state]:,}", state) for state in STATES if totals[state]]
    tiles += [(mean, f"mean {title}") for title, mean in means.items() if title != "Missing"]
    head = _heading("File") + _heading("Status") + "".join(_heading(name, "number") for name in (*means, "Seconds"))
    foot = "".join(f'<td class="number">{mean}</td>' for mean in means.values())
    return document(
        "index", "Restored pictures", tiles="".join(f"<li><b>{figure}</b>{label}</li>" for figure, label in tiles),
        summary=f"{totals['files']:,} files in {_duration(totals['seconds'])}, csc-cogd {__version__}",
        failures=_failures(files), head=head, rows="\n".join(_row(file, columns) for file in files),
        means=f'<tr><th colspan="2">Mean</th>{foot}<td></td></tr>' if means else "",
    )  # fmt: skip


def _heading(title: str, kind: str = "") -> str:
    return f'<th scope="col" class="{kind}" aria-sort="none"><button type="button">{title}</button></th>'


def _failures(files: list[dict[str, Any]]) -> str:
    failed = [file for file in files if file["status"] == "failed"]
    items = "".join(f"<dt>{text(file['input'])}</dt><dd>{text(file.get('error') or '')}</dd>" for file in failed)
    return section("Failed", items and f'<dl class="failures">{items}</dl>')


def _row(file: dict[str, Any], columns: list[str]) -> str:
    report = _report(file)
    name = text(file["input"])
    if report.get("page"):
        name = f'<a href="{quote(os.fsencode(report["page"]))}">{name}</a>'
    cells = [f"<td>{name}</td>", f'<td class="{text(file["status"])}">{text(file["status"])}</td>']
    cells += [_number(report.get(column), AVERAGED[column][1]) for column in columns]
    return f"<tr>{''.join(cells)}{_number(file.get('seconds'), '{:.1f}'.format)}</tr>"


def _number(value: float | None, show: Any) -> str:
    return '<td class="number"></td>' if value is None else f'<td class="number" data-value="{value!r}">{show(value)}</td>'


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
