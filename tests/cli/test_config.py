"""--config, --print-config and $CSC_COGD_CONFIG, for every command."""

import os
import tempfile
import tomllib

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd.cli import group
from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, check_refused, save


def commands(command=group, path=()):
    """All commands, with the words that call them."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    ctx = click.Context(command)
    return [
        found
        for name in command.list_commands(ctx)
        for found in commands(command.get_command(ctx, name), (*path, name))
    ]  # fmt: skip


COMMANDS = commands()
NAMES = [" ".join(path) for path, _ in COMMANDS]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CSC_COGD_CONFIG", raising=False)


def printed(capsys, *arguments):
    """What --print-config prints, as text and as values of the command's own table."""
    assert call(*arguments, "--print-config") == 0
    text = capsys.readouterr().out
    table = tomllib.loads(text)
    while len(table) == 1 and isinstance(next(iter(table.values())), dict):
        table = next(iter(table.values()))
    return text, table


def something_else(option):
    """Words for the command line that give an option another value than its default."""
    name = next(name for name in option.opts if name.startswith("--"))
    if option.is_flag:
        return [option.secondary_opts[0] if option.default is True else name]
    if isinstance(option.type, click.Choice):
        return [name, next(choice for choice in option.type.choices if choice != option.default)]
    if isinstance(option.type, click.types.IntParamType) or option.count:
        return [name] * 2 if option.count else [name, "3"]
    if isinstance(option.type, click.types.FloatParamType):
        least = getattr(option.type, "min", None)
        return [name, *["0.125" if (least or 0) < 0.125 else "1.5"] * option.nargs] * (1 + option.multiple)
    words = {"memory": "3GB", "pixels": "128", "number": "2.5", "size": "640x480", "suffix": ".png", "network": "resnet32"}
    return [name, words.get(option.type.name, 'näme "quoted"')]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_what_is_printed_can_be_fed_back(path, command, tmp_path, capsys):
    arguments = []
    for option in command.params:
        if isinstance(option, click.Option) and option.expose_value:
            arguments += something_else(option)
    text, values = printed(capsys, *path, *arguments)
    assert text.count("# command line") == len(values)
    assert all(line.startswith("# options of") for line in text.splitlines() if line.startswith("# "))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "all.toml").write_text(text, encoding="utf-8")
    again, values_again = printed(capsys, *path, "--config", "elsewhere/all.toml")
    assert values_again == values
    assert again.count("# elsewhere/all.toml") == len(values)

    defaults, _ = printed(capsys, *path)
    (tmp_path / "defaults.toml").write_text(defaults, encoding="utf-8")
    assert tomllib.loads(printed(capsys, *path, "--config", "defaults.toml")[0]) == tomllib.loads(defaults)


def test_settings_from_the_file_take_effect_and_paths_count_from_its_folder(tmp_path, capsys, photo):
    project = tmp_path / "project"
    project.mkdir()
    mask = np.zeros(photo.shape, np.uint8)
    mask[40, 40] = 255
    save(project / "dust.png", mask)
    save(tmp_path / "photo.png", photo)
    (project / "set.toml").write_text('[inpaint]\nmask = "dust.png"\nmask-dilate = 1\noutput = "out.png"\nfast = true\n')
    assert call("inpaint", "photo.png", "--config", "project/set.toml") == 0
    assert call("inpaint", "photo.png", "-m", "project/dust.png", "--mask-dilate", 1, "--fast", "-o", "same.png") == 0
    restored = read_image(project / "out.png").pixels
    assert (restored == read_image(tmp_path / "same.png").pixels).all()
    assert 5 < (restored != photo).sum() <= 9


def test_the_command_line_wins_over_the_command_s_table_and_that_over_the_top(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(
        "iterations = 5\nseed = 9\ntile = 64\n[inpaint]\niterations = 6\nlearn = true\nfast = true\nverbose = 2\n"
        "[denoise]\niterations = 7\n"
    )
    text, values = printed(capsys, "inpaint", "--config", "a.toml")
    assert [values[key] for key in ("iterations", "learn", "fast", "verbose")] == [6, True, True, 2]
    assert values["tile"] == 64
    assert "iterations = 6  # a.toml: inpaint.iterations\n" in text
    assert "tile = 64  # a.toml: tile\n" in text
    assert "seed" not in values
    assert printed(capsys, "denoise", "--config", "a.toml")[1]["iterations"] == 7
    assert printed(capsys, "reconstruct", "--config", "a.toml")[1]["iterations"] == 5
    text, values = printed(capsys, "inpaint", "--config", "a.toml", "--iterations", "8", "--no-fast", "--no-learn")
    assert [values[key] for key in ("iterations", "learn", "fast")] == [8, False, False]
    assert "fast = false  # command line" in text


def test_repeatable_options_take_lists_and_commands_in_groups_their_own_table(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("[beale]\nstart = [[3, -0.5], [1, 1.5]]\n[dictionary.show]\nscale = 2\n")
    assert printed(capsys, "beale", "--config", "a.toml")[1]["start"] == [[3.0, -0.5], [1.0, 1.5]]
    assert printed(capsys, "dictionary", "show", "--config", "a.toml")[1]["scale"] == 2
    assert call("beale", "--iterations", "2", "--config", "a.toml") == 0
    assert "starting points: 2" in capsys.readouterr().out


def test_the_environment_variable_names_a_file_and_the_option_another(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.toml").write_text("threads = 1\n")
    (tmp_path / "b.toml").write_text("\ufefflmbda = 0.5\n", encoding="utf-8")  # as Windows' editor writes it
    monkeypatch.setenv("CSC_COGD_CONFIG", str(tmp_path / "a.toml"))
    assert printed(capsys, "inpaint")[1]["threads"] == 1
    values = printed(capsys, "inpaint", "--config", "b.toml")[1]
    assert values["lmbda"] == 0.5
    assert "threads" not in values
    (tmp_path / "csc-cogd.toml").write_text("threads = 3\n")  # nothing is read that nobody asked for
    monkeypatch.delenv("CSC_COGD_CONFIG")
    assert "threads" not in printed(capsys, "inpaint")[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[inpaint]\nmask-dilte = 2", "a.toml: inpaint.mask-dilte: there is no such option: did you mean mask-dilate?"),
        ("mask_dilate = 2", "a.toml: mask_dilate: there is no such option: did you mean mask-dilate?"),
        ("[inpaint]\nkernel = 'box'", "a.toml: inpaint.kernel: there is no such option: "),  # upscale knows it
        ("zzz = 1", "a.toml: zzz: there is no such option: leave it out, or see --help"),
        ("[inpiant]", "a.toml: inpiant: there is no such command: did you mean inpaint?"),
        ("[inpaint.fast]\nx = 1", "a.toml: inpaint.fast: there is no such command"),
        ("config = 'b.toml'", "a.toml: config: there is no such option"),
        ("print-config = true", "a.toml: print-config: there is no such option"),
        ("fast = 1", "a.toml: fast: is a switch: write true or false"),
        ("learn = 'yes'", "a.toml: learn: is a switch"),
        ("[inpaint]\nmask-dilate = true", "a.toml: inpaint.mask-dilate: takes one value: write a number"),
        ("mask-dilate = [1]", "a.toml: mask-dilate: takes one value"),
        ("mask = 2026-01-01", "a.toml: mask: takes one value"),
        ('mask = "a\\u0000b"', "a.toml: mask: has a NUL character in it: take it out"),
        ("mask-dilate = 1.5", "a.toml: mask-dilate: '1.5' is neither 'auto' nor a number of pixels"),
        ("mask-dilate = -1", "a.toml: mask-dilate: '-1' is neither 'auto' nor a number of pixels"),
        ("max-memory = 'much'", "a.toml: max-memory: 'much' isn't an amount of memory such as 4GB"),
        ("[inpaint]\ndtype = 'float16'", "a.toml: inpaint.dtype: 'float16' is not one of 'float32', 'float64'"),
        ("mask-dilate: 2", "a.toml: isn't TOML: "),
        ("fast = true\nfast = true", "a.toml: isn't TOML: "),
        ("x = " + "[" * 5000, "a.toml: isn't TOML: "),
        ("x = '\udcff'", "a.toml: isn't TOML: "),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_are_one_line_that_names_file_and_key(content, message, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(content, encoding="utf-8", errors="surrogateescape")
    check_refused(tmp_path, capsys, ["inpaint", "photo.png", "--config", "a.toml"], message)


def test_lists_are_asked_for_where_an_option_repeats(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("start = 3\n")
    check_refused(tmp_path, capsys, ["beale", "--config", "a.toml"], "a.toml: start: takes several values: write a list")


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path, capsys):
    check_refused(tmp_path, capsys, ["demo", "--config", "none.toml"], "none.toml: can't be read: No such file")
    check_refused(tmp_path, capsys, ["demo", "--config", "."], ".: can't be read: Is a directory")


def test_a_wrong_value_on_the_command_line_is_not_blamed_on_the_file(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("mask-dilate = 2\n")
    arguments = ["inpaint", "x.png", "--config", "a.toml", "--mask-dilate", "x"]
    check_refused(
        tmp_path, capsys, arguments, "Invalid value for '--mask-dilate': 'x' is neither 'auto' nor a number of pixels"
    )
    check_refused(tmp_path, capsys, ["inpaint", "--config", "a.toml"], "Missing argument 'IMAGE...'")


def test_a_required_option_may_stand_in_the_file(tmp_path, capsys):
    (tmp_path / "a.toml").write_text('kernel = "uniform:0"\n')
    check_refused(
        tmp_path, capsys, ["deblur", "x.png", "--config", "a.toml"], "uniform:0: size must be a whole number of pixels"
    )


def test_a_kernel_s_or_a_dictionary_s_file_is_sought_beside_the_config_and_words_stay(tmp_path, capsys):
    folder = tmp_path / "set"
    folder.mkdir()
    np.save(folder / "psf.npy", np.ones((3, 3)))
    (folder / "a.toml").write_text('kernel = "psf.npy"\ndictionary = "default"\n')
    values = printed(capsys, "deblur", "--config", "set/a.toml")[1]
    assert values["kernel"] == str(folder / "psf.npy")
    assert values["dictionary"] == "default"


def test_a_file_s_name_cannot_break_what_is_printed(tmp_path, capsys):
    (tmp_path / "a\n\x7fb.toml").write_text("fast = true\n")
    text, values = printed(capsys, "inpaint", "--config", "a\n\x7fb.toml")
    assert "fast = true  # a??b.toml: fast\n" in text
    assert values["fast"] is True


def test_printing_does_nothing_else_and_checks_the_values(tmp_path, capsys):
    text, _ = printed(capsys, "learn")
    assert "# output =" in text
    assert not list(tmp_path.iterdir())
    check_refused(tmp_path, capsys, ["learn", "--print-config", "--lmbda", "x"], "'x' is not a valid float")


def test_a_name_that_toml_cannot_hold_is_refused(tmp_path, capsys):
    check_refused(tmp_path, capsys, ["inpaint", "--print-config", "-m", "\udcff.png"], "has a name that isn't Unicode")


@given(
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda text: text != "-"
    ),
    number=st.floats(0, 1000),
)
def test_any_text_and_number_survives(text, number):
    with tempfile.TemporaryDirectory() as folder:
        config = f"{folder}/a.toml"
        printed = CliRunner().invoke(group, ["beale", f"--plot=/{text}", f"--l1={number!r}", "--print-config"]).stdout
        values = tomllib.loads(printed)["beale"]
        assert values["plot"] == os.path.abspath(f"/{text}")
        assert values["l1"] == number
        with open(config, "w", encoding="utf-8", newline="") as file:
            file.write(printed)
        again = CliRunner().invoke(group, ["beale", "--config", config, "--print-config"]).stdout
        assert tomllib.loads(again)["beale"] == values
