"""What became of many files: an index of their pages, and the same for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from csc_cogd import __version__
from csc_cogd.report.document import document, plain, section, text, to_utf8, write_bytes
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

    The CSV has COLUMNS, the same for all reports, and is UTF-8 with a byte order mark, as spreadsheets need it. Text in it
    that a spreadsheet would take for a formula is led by an apostrophe.

    Parameters
    ----------
    folder : Path
    results : list of dict
        For each file ``input``, ``output``, ``status`` ("done", "skipped" or "failed"), ``error``, ``seconds``, and where it
        is done ``report``, which is what :func:`csc_cogd.report.page.write_page` returned; its ``page`` is taken to be
        relative to the folder. Where it has ``missing``, that counts, and not the report's.
    totals : Totals, optional
        What is said of all of them together. Default: what their sum is.

    Raises
    ------
    InputError
        If one of the files exists or can't be written.
    """
    files = [plain(result) for result in results]
    totals = _sum(files) if totals is None else totals
    means = _means(files)
    about = {"version": __version__, "totals": {"files": len(files), **totals.row(), "mean": means}, "files": files}
    only = [_report(file).get("page") for file in files] == ["index.html"]
    contents = {
        **({} if only else {"index.html": _index(files, totals, means)}),
        "report.json": (json.dumps(about, indent=1, default=str) + "\n").encode(),
        "report.csv": _table(files),
    }
    for name in contents:
        check_writable(folder / name, overwrite=overwrite)
    for name, content in contents.items():
        write_bytes(folder / name, content, overwrite=overwrite)


def _sum(files: list[dict[str, Any]]) -> Totals:
    totals = Totals(seconds=sum(file.get("seconds") or 0 for file in files if file["status"] != "skipped"))
    for file in files:
        totals.add(file)
    return totals


def _means(files: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the figures' means over the files that have them."""
    values = {name: [v for file in files if (v := _figure(file, name)) is not None] for name in AVERAGED}
    return {name: sum(found) / len(found) if found else None for name, found in values.items()}


def _figure(file: dict[str, Any], name: str) -> Any:
    return {**_report(file), **file}.get(name)


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


def _index(files: list[dict[str, Any]], totals: Totals, average: dict[str, float | None]) -> bytes:
    known = {name: mean for name, mean in average.items() if mean is not None}
    columns = list(known)
    means = {AVERAGED[name][0]: AVERAGED[name][1](mean) for name, mean in known.items()}
    tiles = [(f"{totals.counts[state]:,}", state) for state in STATES if totals.counts[state]]
    tiles += [(mean, f"mean {title}") for title, mean in means.items() if title != "Missing"]
    head = _heading("File") + _heading("Status") + "".join(_heading(name, "number") for name in (*means, "Seconds"))
    foot = "".join(f'<td class="number">{mean}</td>' for mean in means.values())
    return document(
        "index", "Restored pictures", tiles="".join(f"<li><b>{figure}</b>{label}</li>" for figure, label in tiles),
        summary=text(f"{totals.sentence()}; csc-cogd {__version__}"),
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
    cells += [_number(_figure(file, column), AVERAGED[column][1]) for column in columns]
    return f"<tr>{''.join(cells)}{_number(file.get('seconds'), '{:.1f}'.format)}</tr>"


def _number(value: float | None, show: Any) -> str:
    return '<td class="number"></td>' if value is None else f'<td class="number" data-value="{value!r}">{show(value)}</td>'
