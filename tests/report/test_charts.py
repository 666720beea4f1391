import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csc_cogd.report.charts import HEIGHT, WIDTH, line_chart, number

numbers = st.floats(-1e12, 1e12) | st.integers(0, 1000).map(float) | st.just(float("nan"))


@given(st.lists(st.tuples(numbers, numbers), max_size=60), st.booleans())
@example([(0.0, 1.0), (0.0, 2.2250738585e-313)], True)
@example([(0.0, sys.float_info.min), (0.0, sys.float_info.min)], True)
@example([(0.0, 5e-324), (0.0, 1e12)], True)
@example([(0.0, 5e-324), (0.0, 1e-323)], True)
@example([(0.0, 1.5e-323), (0.0, 2e-323)], True)
@example([(0.0, 5e-324), (0.0, 5e-324)], True)
def test_whatever_is_drawn_lies_within_the_picture(line, logarithmic):
    chart = line_chart("a & b", {"<line>": line}, x_label="x", logarithmic=logarithmic)
    drawn = [(x, y) for x, y in line if x == x and y == y and (y > 0 or not logarithmic)]
    assert bool(chart) == (len(drawn) > 1)
    if chart:
        svg = ElementTree.fromstring(chart).find("svg")
        path = svg.find("g/path").get("d")
        places = [tuple(map(float, pair.split())) for pair in path[1:].split("L")]
        assert len(places) == len(drawn)
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert all(0 <= float(text.get("y")) <= HEIGHT for text in svg.findall("text"))


def test_larger_is_higher_and_ticks_tell_the_values():
    chart = line_chart("t", {"l": [(0, 1), (1, 10), (2, 1000)]}, x_label="x", logarithmic=True)
    heights = [float(y) for y in re.findall(r"[ML]\d[\d.]* ([\d.]+)", re.search(r'<path d="([^"]+)"', chart)[1])]
    assert heights[0] - heights[1] == pytest.approx((heights[1] - heights[2]) / 2, abs=0.2)
    assert [text in chart for text in (">1<", ">10<", ">100<", ">1,000<")] == [True] * 4


def test_many_points_are_thinned_but_the_last_one_stays():
    path = re.search(r'<path d="(M[^"]+L[^"]+)"', line_chart("t", {"l": [(i, i) for i in range(5001)]}, x_label="x"))[1]
    assert 300 < path.count("L") < 402
    assert line_chart("t", {"l": [(0, 0), (5000, 5000)]}, x_label="x").count(path.split("L")[-1]) == 1


def test_a_legend_names_several_lines():
    line = [(0, 1), (1, 2)]
    assert 'class="key' not in line_chart("t", {"one": line, "none": []}, x_label="x")
    assert line_chart("t", {"one": line, "<two>": line}, x_label="x").count('class="key') == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234567, "1,234,567"), (0.00012, "0.00012"), (-12.5, "-12.5"), (3e9, "3e+09")]
)
def test_numbers(value, shown):
    assert number(value) == shown
