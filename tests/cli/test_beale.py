import re
import sys

import pytest

from csc_cogd.cli import main
from csc_cogd.imagefiles import read_image

FEW = ("--start", "1", "0.25", "--start", "3", "-0.5", "--iterations", "20")
METHODS = ["SGD", "SGD + CoGD", "Momentum", "Momentum + CoGD", "Adam", "Adam + CoGD"]


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["beale", *map(str, arguments)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return call


def test_table_of_six_methods(run):
    code, out, _ = run()
    assert code == 0
    lines = out.splitlines()
    assert re.match(r"minimum 0\.13\d+ at \(2\.8\d+, 0\.4\d+\); starting points: 8", lines[0])
    assert [re.split(r"\s{2,}", line)[0] for line in lines[2:]] == METHODS
    for line in lines[2:]:
        length, objective, distance, arrival, kept = re.split(r"\s{2,}", line)[1:]
        assert all(re.fullmatch(r"[\d.]+ ± [\d.]+", cell) for cell in (length, objective, distance))
        assert arrival == "- (0/8)" if line.startswith("SGD") else arrival.endswith("(8/8)")
        assert (kept == "-") != ("CoGD" in line)


def test_verbose_adds_a_row_for_each_start(run):
    _, out, _ = run(*FEW, "-v")
    assert out.count("\n  1, 0.25 ") == out.count("\n  3, -0.5 ") == 6


def test_the_rule_can_be_set_and_switched_off(run):
    def rows(*arguments):
        return {line[:16].strip(): line[16:] for line in run(*FEW, *arguments)[1].splitlines()[2:]}

    off = rows("--eta", 0)
    assert all(off[name] == off[f"{name} + CoGD"] for name in ("SGD", "Momentum", "Adam"))
    linear, pulled, quadratic = rows(), rows("--sign", 1), rows("--kernel-degree", 2)
    assert len({table["Momentum + CoGD"] for table in (off, linear, pulled, quadratic)}) == 4
    assert rows("--l1", 0, "--l2", 0)["SGD"] != linear["SGD"]


def test_divergence_is_said(run):
    code, out, _ = run("--start", 9, 9)
    assert code == 0
    assert "1 diverged" in out


@pytest.mark.parametrize(("name", "signature"), [("a.png", b"\x89PNG"), ("b.PDF", b"%PDF"), ("c.svg", b"<?xml")])
def test_plot_is_written_in_the_format_of_its_name(run, tmp_path, name, signature):
    code, out, _ = run(*FEW, "--plot", tmp_path / name)
    assert code == 0
    assert out.endswith(f"plot: {tmp_path / name}\n")
    assert (tmp_path / name).read_bytes().startswith(signature)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "a.png":
        assert read_image(tmp_path / name).pixels.std() > 10


def test_an_existing_plot_is_replaced_only_on_request(run, tmp_path):
    path = tmp_path / "paths.svg"
    path.write_text("mine")
    code, out, err = run(*FEW, "--plot", path)
    assert (code, out, path.read_text()) == (2, "", "mine")
    assert "exists already" in err
    assert run(*FEW, "--plot", path, "--overwrite")[0] == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--plot", "paths.gif"), "paths.gif: the name of a plot must end in .png, .pdf, .svg"),
        (("--plot", "nowhere/paths.png"), "there is no folder nowhere"),
        (("--start", "nan", "0"), "start must be a pair of finite numbers"),
        (("--start", "11", "0"), "not in the range"),
        (("--iterations", "0"), "not in the range"),
        (("--kernel-degree", "0"), "not in the range"),
        (("--eta", "-1"), "not in the range"),
        (("--eta", "inf"), "eta must be a finite number of zero or more, got inf"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, arguments, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert err.startswith("csc-cogd: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_missing_matplotlib_is_named_with_the_way_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = run(*FEW, "--plot", tmp_path / "paths.png")
    assert (code, out) == (2, "")
    assert "pip install 'csc-cogd[plot]'" in err
    assert not list(tmp_path.iterdir())
    assert run(*FEW)[0] == 0


def test_help_has_examples(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "Examples:" in out
