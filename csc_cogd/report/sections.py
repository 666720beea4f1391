"""The parts of a page that are text, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.errors import InputError
from csc_cogd.report.charts import line_chart, number
from csc_cogd.report.document import section, text
from csc_cogd.report.entry import Point
from csc_cogd.report.pictures import tile
from csc_cogd.report.totals import Words

UNKNOWN = "&ndash;"


def summary(figures: Mapping[str, Any]) -> str:
    channels = {1: "gray", 3: "3 channels"}.get(figures["channels"], f"{figures['channels']} channels")
    return f"{figures['width']:,} x {figures['height']:,} pixels, {channels}, {figures['dtype']}"


def tiles(figures: Mapping[str, Any], words: Words) -> str:
    """Return the figures that matter most, large."""
    missing = figures["missing"] > 0
    found = []
    if missing:
        found.append((share(figures["missing"]), words.gone))
    if "psnr" in figures:
        end, where = ("_missing", f" over the {words.gone} pixels") if missing else ("", "")
        found += [(decibels(figures["psnr" + end]), "PSNR" + where), (ratio(figures["ssim" + end]), "SSIM" + where)]
    if missing:
        changed = figures["changed"]
        found.append((f"{changed:,}" if changed else "none", f"{words.kept} changed"))
    if "nonzeros" in figures:
        found.append((f"{figures['nonzeros']:,}", "codes in use"))
    return "".join(f"<li><b>{figure}</b>{label}</li>" for figure, label in found)


def comparison(figures: Mapping[str, Any], words: Words) -> str:
    """Return the table of figures against the reference."""
    if "psnr" not in figures:
        return ""
    columns = (
        {"_missing": f"{words.gone.capitalize()} pixels", "": "All pixels"} if figures["missing"] else {"": "All pixels"}
    )
    rows = {
        "PSNR": ("psnr", decibels), "SSIM": ("ssim", ratio), "Mean absolute error": ("mae", value),
        "Largest absolute error": ("max_error", value),
    }  # fmt: skip
    body = "<tr><td></td>" + "".join(f'<th class="number">{name}</th>' for name in columns.values()) + "</tr>"
    for title, (name, show) in rows.items():
        cells = "".join(f'<td class="number">{show(figures[name + end])}</td>' for end in columns)
        body += f"<tr><th>{title}</th>{cells}</tr>"
    note = f'<p class="note">PSNR and SSIM are for a data range of {value(figures["data_range"])}.</p>'
    return section("Against the reference", f"<table>{body}</table>{note}")


def charts(history: Sequence[Iteration] | Sequence[OuterIteration], curve: Sequence[Point]) -> str:
    """Chart objective, sparsity and residuals of the code solve and PSNR, each by iterations and by time."""
    wide = _wide([record.objective for record in history])
    drawn = []
    for title, fields, logarithmic in (
        ("Objective", {"objective": "objective"}, wide),
        ("Codes in use", {"codes": "nonzeros"}, False),
        ("Relative residuals", {"primal": "primal_residual", "dual": "dual_residual"}, True),
    ):
        for x in ("iteration", "seconds"):
            lines = {
                name: [(getattr(record, x), getattr(record, field)) for record in history] for name, field in fields.items()
            }
            drawn.append(line_chart(title, lines, x_label=x, logarithmic=logarithmic))
    for x in ("step", "seconds"):
        drawn.append(line_chart("PSNR over the missing pixels, dB", _stages(curve, x == "seconds"), x_label=x))
    return section("Course of the solve", "".join(drawn), "pair")


def filters(dictionary: Dictionary | None, usage: Any) -> str:
    """Return the filters, those that are used most first."""
    if dictionary is None:
        return ""
    used = np.ones(dictionary.n_filters) if usage is None else np.asarray(usage)
    if used.shape != (dictionary.n_filters,):
        raise InputError(
            "usage", f"must be one number for each of the {dictionary.n_filters} filters, got shape {used.shape}"
        )
    most, total = max(float(used.max()), 1.0), max(float(used.sum()), 1.0)
    items = []
    for k in np.argsort(-used, kind="stable"):
        h, w = dictionary.shapes[k]
        about = f"filter {k}, {h} x {w}"
        picture = tile(dictionary.with_channels()[k, :, :h, :w])
        unused = bar = ""
        if usage is not None:
            about += f": {used[k]:,} codes, {share(used[k] / total)}"
            unused = "" if used[k] else ' class="unused"'
            bar = f'<i style="--use: {100 * np.sqrt(used[k] / most):.1f}"></i>'
        items.append(f'<li{unused} title="{about}"><img src="{picture}" alt="{about}">{bar}</li>')
    note = f"{dictionary.n_filters} filters, each stretched to its own range: gray is zero."
    if usage is not None:
        note += f" Those used most come first; a bar's length is as the root of the number of codes, up to {most:,.0f}."
        if idle := np.count_nonzero(used == 0):
            note += f" {idle} not in use {'is' if idle == 1 else 'are'} dimmed."
    return section("Dictionary", f'<ul class="filters">{"".join(items)}</ul><p class="note">{note}</p>')


def facts(named: Mapping[str, str]) -> str:
    """Return the table of settings and findings."""
    rows = "".join(f"<tr><th>{text(name)}</th><td>{text(said)}</td></tr>" for name, said in named.items())
    return section("Settings and findings", rows and f'<table class="facts">{rows}</table>')


def decibels(level: float) -> str:
    return "∞" if level == float("inf") else f"{level:.2f} <small>dB</small>" if np.isfinite(level) else UNKNOWN


def ratio(similarity: float) -> str:
    return f"{similarity:.4f}" if np.isfinite(similarity) else UNKNOWN


def value(of_pixels: float) -> str:
    return number(of_pixels) if np.isfinite(of_pixels) else UNKNOWN


def share(fraction: float) -> str:
    """Return a fraction in percent, to a tenth, or finer if that would be zero."""
    return f"{fraction:.1%}".replace("%", " %") if fraction >= 0.001 or not fraction else f"{100 * fraction:.2g} %"


def _wide(values: Sequence[float]) -> bool:
    """Return whether the values are all positive and span more than a factor of fifty."""
    finite = [one for one in values if np.isfinite(one)]
    return bool(finite) and 0 < 50 * min(finite) < max(finite)


def _stages(curve: Sequence[Point], by_time: bool) -> dict[str, list[tuple[float, float]]]:
    """Return a line for each stage, which begins at the end of the one before; steps are counted across stages."""
    lines: dict[str, list[tuple[float, float]]] = {}
    before: list[tuple[float, float]] = []
    numbered = enumerate(curve, 1)
    for stage, points in groupby(numbered, key=lambda point: point[1].stage):
        line = [(point.seconds if by_time else float(count), point.psnr) for count, point in points]
        lines[stage] = lines.get(stage, []) + before + line
        before = line[-1:]
    return lines
