"""The parts of a page that are text, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.report.charts import line_chart, number
from csc_cogd.report.document import text
from csc_cogd.report.entry import Point
from csc_cogd.report.pictures import tile


def summary(figures: Mapping[str, Any]) -> str:
    channels = {1: "grey", 3: "3 channels"}.get(figures["channels"], f"{figures['channels']} channels")
    return f"{figures['width']:,} x {figures['height']:,} pixels, {channels}, {figures['dtype']}"


def tiles(figures: Mapping[str, Any]) -> str:
    """The figures that matter most, large."""
    missing = figures["missing"] > 0
    found = []
    if missing:
        found.append((share(figures["missing"]), "missing"))
    if "psnr" in figures:
        end, where = ("_missing", " over the missing pixels") if missing else ("", "")
        found += [(decibels(figures["psnr" + end]), "PSNR" + where), (ratio(figures["ssim" + end]), "SSIM" + where)]
    if missing:
        changed = figures["changed"]
        found.append((f"{changed:,}" if changed else "none", "known values changed"))
    if "nonzeros" in figures:
        found.append((f"{figures['nonzeros']:,}", "codes in use"))
    return "".join(f"<li><b>{value}</b>{label}</li>" for value, label in found)


def comparison(figures: Mapping[str, Any]) -> str:
    """The table of figures against the reference."""
    if "psnr" not in figures:
        return ""
    columns = {"_missing": "Missing pixels", "": "All pixels"} if figures["missing"] else {"": "All pixels"}
    rows = {
        "PSNR": ("psnr", decibels), "SSIM": ("ssim", ratio), "Mean absolute error": ("mae", value_or_dash),
        "Largest absolute error": ("max_error", value_or_dash),
    }  # fmt: skip
    head = "".join(f'<th class="number">{name}</th>' for name in columns.values())
    body = "".join(
        f"<tr><th>{title}</th>" + "".join(f'<td class="number">{show(figures[name + end])}</td>' for end in columns) + "</tr>"
        for title, (name, show) in rows.items()
    )
    note = f"PSNR and SSIM are for a data range of {value_or_dash(figures['data_range'])}."
    return (
        f"<section><h2>Against the reference</h2><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
        f'<p class="note">{note}</p></section>'
    )


def charts(history: Sequence[Iteration], curve: Sequence[Point]) -> str:
    """Objective, sparsity and residuals of the code solve and PSNR, each by iterations and by time."""
    drawn = []
    for x, label in (("iteration", "iteration"), ("seconds", "seconds")):
        lines = {
            name: [(getattr(record, x), getattr(record, name)) for record in history]
            for name in ("objective", "nonzeros", "primal_residual", "dual_residual")
        }
        residuals = {"primal": lines["primal_residual"], "dual": lines["dual_residual"]}
        drawn.append([
            line_chart("Objective", {"objective": lines["objective"]}, x_label=label, logarithmic=_wide(lines["objective"])),
            line_chart("Codes in use", {"codes": lines["nonzeros"]}, x_label=label),
            line_chart("Relative residuals", residuals, x_label=label, logarithmic=True),
        ])  # fmt: skip
    title = "PSNR over the missing pixels, dB"
    for column, by_time in zip(drawn, (False, True), strict=True):
        column.append(line_chart(title, _stages(curve, by_time), x_label="seconds" if by_time else "step"))
    pairs = "".join(by_iteration + by_time for by_iteration, by_time in zip(*drawn, strict=True))
    return f'<section><h2>Course of the solve</h2><div class="pair">{pairs}</div></section>' if pairs else ""


def filters(dictionary: Dictionary | None, usage: Any) -> str:
    """The filters, those that are used most first."""
    if dictionary is None:
        return ""
    used = np.zeros(dictionary.n_filters, np.int64) if usage is None else np.asarray(usage)
    order = np.argsort(-used, kind="stable")
    most, total = max(int(used.max()), 1), max(int(used.sum()), 1)
    items = []
    for k in order:
        h, w = dictionary.shapes[k]
        about = f"filter {k}, {h} x {w}"
        if usage is not None:
            about += f": {used[k]:,} codes, {share(used[k] / total)}"
        unused = ' class="unused"' if usage is not None and not used[k] else ""
        picture = tile(dictionary.with_channels()[k, :, :h, :w])
        items.append(
            f'<li{unused} title="{about}"><img src="{picture}" alt="{about}"><i style="--use: {100 * (used[k] / most) ** 0.5:.1f}"></i></li>'
        )
    note = f"{dictionary.n_filters} filters, each stretched to its own range: grey is zero."
    if usage is not None:
        note += f" Those used most come first; a bar's length is as the root of the number of codes, up to {most:,}."
        unused_ = np.count_nonzero(used == 0)
        note += f" {unused_} are unused, and dimmed." if unused_ else ""
    return f'<section><h2>Dictionary</h2><ul class="filters">{"".join(items)}</ul><p class="note">{note}</p></section>'


def facts(named: Mapping[str, str]) -> str:
    """The table of settings and findings."""
    rows = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in named.items())
    return f'<section><h2>Settings and findings</h2><table class="facts">{rows}</table></section>' if rows else ""


def decibels(value: float) -> str:
    return "∞" if value == float("inf") else f"{value:.2f} <small>dB</small>" if np.isfinite(value) else "–"


def ratio(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "–"


def value_or_dash(value: float) -> str:
    return number(value) if np.isfinite(value) else "–"


def share(fraction: float) -> str:
    """A fraction in per cent, to a tenth, or finer where that would be nothing."""
    return f"{fraction:.1%}".replace("%", " %") if fraction >= 0.001 or not fraction else f"{100 * fraction:.2g} %"


def _wide(line: Sequence[tuple[float, float]]) -> bool:
    """Whether its values are all above zero and span more than a factor of fifty."""
    values = [y for _, y in line if np.isfinite(y)]
    return bool(values) and 0 < 50 * min(values) < max(values)


def _stages(curve: Sequence[Point], by_time: bool) -> dict[str, list[tuple[float, float]]]:
    """Lines by stage, each going on from the end of the one before; steps are counted through."""
    lines: dict[str, list[tuple[float, float]]] = {}
    before: list[tuple[float, float]] = []
    numbered = enumerate(curve, 1)
    for stage, points in groupby(numbered, key=lambda point: point[1].stage):
        line = [(point.seconds if by_time else float(count), point.psnr) for count, point in points]
        lines[stage] = lines.get(stage, []) + before + line
        before = line[-1:]
    return lines
