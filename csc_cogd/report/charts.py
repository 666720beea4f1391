"""Line charts as SVG that takes its colors from the page."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 40  # margins about the plot
MOST_POINTS = 400  # of a line; more can't be told apart
MOST_DOTS = 40  # points with a dot, and their values on hovering

Line = Sequence[tuple[float, float]]


def line_chart(title: str, lines: Mapping[str, Line], *, x_label: str, logarithmic: bool = False) -> str:
    """Return a figure of lines by name, with a legend if there are several; empty if none has two points.

    Points that aren't finite are left out, and with a `logarithmic` vertical axis those that aren't above zero.
    """
    lines = {name: drawable for name, line in lines.items() if len(drawable := _drawable(line, logarithmic)) > 1}
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    x_ticks, x_place = _axis([x for x, _ in points], LEFT, WIDTH - RIGHT, logarithmic=False)
    y_ticks, y_place = _axis([y for _, y in points], HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}, by {escape(x_label)}">']
    for y in y_ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y_place(y):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y_place(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    for x in x_ticks:
        parts.append(f'<text x="{x_place(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(x)}</text>')
    parts.append(f'<text class="label" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    for i, (name, line) in enumerate(lines.items()):
        path = "L".join(f"{x_place(x):.1f} {y_place(y):.1f}" for x, y in line)
        parts.append(f'<g class="line color{i % 4}"><path d="M{path}"/>')
        for x, y in line if len(line) <= MOST_DOTS else ():
            about = f"{name}: {number(y)} at {x_label} {number(x)}"
            circle = f'<circle cx="{x_place(x):.1f}" cy="{y_place(y):.1f}" r="3">'
            parts.append(f"{circle}<title>{escape(about)}</title></circle>")
        parts.append("</g>")
    parts.append("</svg>")
    caption = escape(title)
    if len(lines) > 1:
        caption += "".join(f' <span class="key color{i % 4}">{escape(name)}</span>' for i, name in enumerate(lines))
    return f'<figure class="chart"><figcaption>{caption}</figcaption>{"".join(parts)}</figure>'


def number(value: float) -> str:
    """Return a number of up to four digits, with commas between thousands."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def _drawable(line: Line, logarithmic: bool) -> list[tuple[float, float]]:
    finite = [(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y) and (y > 0 or not logarithmic)]
    step = max(-(-len(finite) // MOST_POINTS), 1)
    return [*finite[:-1:step], *finite[-1:]]


def _axis(
    values: list[float], start: float, end: float, *, logarithmic: bool
) -> tuple[list[float], Callable[[float], float]]:
    """Return where its ticks are, and the function from values to places."""
    low, high = min(values), max(values)
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-30):
        low, high = low - max(abs(low), 1) / 20, high + max(abs(low), 1) / 20
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    ticks = _logarithmic_ticks(low, high) if logarithmic else _linear_ticks(low, high)

    def place(value: float) -> float:
        value = math.log10(value) if logarithmic else value
        return start + (end - start) * (value - low) / (high - low)

    return ticks, place


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return three to six multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= 6)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten, of every second or third decade if there are many; below two decades those of a linear axis."""
    decades = range(math.ceil(low), math.floor(high) + 1)
    if len(decades) < 2 and 10**high > sys.float_info.min:  # smaller numbers are too coarse to be divided
        return [tick for tick in _linear_ticks(10**low, 10**high) if tick > 0]
    ticks = (10.0**decade for decade in decades[:: max(-(-len(decades) // 6), 1)])
    return [tick for tick in ticks if tick > 0]  # below 1e-323 there is only zero
