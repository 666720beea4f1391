"""Which files a batch takes, and where their results go."""

import io
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd import InputError
from csc_cogd.batch.inputs import Input, expand_inputs, place_outputs

FILES = ("a.png", "b.TIF", "notes.txt", ".hidden.png", "deep/c.npy", "deep/deeper/d.jpg", "deep/.git/e.png", "empty/notes")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder, which is the working folder."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*patterns, **options):
    return [str(image.path) for image in expand_inputs(patterns, **options).images]


@pytest.mark.parametrize(
    ("patterns", "recursive", "expected"),
    [
        (["."], False, ["a.png", "b.TIF"]),
        (["."], True, ["a.png", "b.TIF", "deep/c.npy", "deep/deeper/d.jpg"]),
        (["deep", "a.png"], False, ["deep/c.npy", "a.png"]),
        (["*.png"], False, ["a.png"]),
        (["**/*.npy", "deep/*"], False, ["deep/c.npy"]),
        (["a.png", "./a.png", "deep/../a.png", "*.png"], False, ["a.png"]),
        (["notes.txt", "missing.png"], False, ["notes.txt", "missing.png"]),
    ],
)
def test_what_names_mean(tree, patterns, recursive, expected):
    assert names(*patterns, recursive=recursive) == expected


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("*.gif", r"\*.gif: no file has such a name"), ("empty", "empty: the folder has no image .+ or use recursive"),
        ("", "'' isn't the name of a file"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(tree, pattern, problem):
    with pytest.raises(InputError, match=problem):
        names("a.png", pattern)


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match="there is no image"):
        names()


def test_names_with_wildcards_in_them_are_names_first(tree):
    (tree / "a[1].png").touch()
    (tree / "a1.png").touch()
    assert names("a[1].png") == ["a[1].png"]
    assert names("a[12].png") == ["a1.png"]


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png", "a.png/b.png"])
def test_names_that_no_file_can_have_are_left_to_the_reader(tree, name):
    assert names(name) == [name]


@pytest.mark.parametrize(
    "content", ["a.png\n\n  \nmissing.png\n", "\ufeffa.png\r\nmissing.png\r\n", "a.png\nmissing.png\na.png"]
)
def test_lists_of_files(tree, content, monkeypatch):
    (tree / "list").write_bytes(content.encode())
    assert names(files_from="list") == ["a.png", "missing.png"]
    monkeypatch.setattr("sys.stdin", io.StringIO(content, newline=None))
    assert names("b.TIF", files_from="-") == ["b.TIF", "a.png", "missing.png"]


def test_lines_end_at_their_end_only(tree):
    (tree / "list").write_text("two\u2028parts\x0c.png\n", "utf-8")
    assert names(files_from="list") == ["two\u2028parts\x0c.png"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "list: no such list of files"),
        (b"\xff\xfe\0", "list: can't be read as a list of files: it isn't text in UTF-8"),
        (b"*.gif\n", r"\*.gif: no file has such a name"), (b"\n", "there is no image"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused(tree, content, problem):
    if content is not None:
        (tree / "list").write_bytes(content)
    with pytest.raises(InputError, match=problem):
        names(files_from="list")


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights elsewhere")
def test_links_to_folders_are_followed_but_not_in_circles(tree):
    (tree / "deep" / "up").symlink_to("..")
    (tree / "other").symlink_to("deep/deeper")
    (tree / "loop.png").symlink_to("loop.png")
    expected = ["a.png", "b.TIF", "deep/c.npy", "deep/deeper/d.jpg", "loop.png", "other/d.jpg"]
    assert names(".", recursive=True) == expected


def placed(names, output, suffix=None, ending="inpainted"):
    images, targets, _ = place_outputs(
        [Input(Path(name), None if folder is None else Path(folder)) for name, folder in names],
        None if output is None else Path(output), ending, suffix,
    )  # fmt: skip
    return [str(image.path) for image in images], [str(target) for target in targets]


def test_results_lie_beside_the_inputs_or_mirror_their_tree(tree):
    images = [("a.png", None), ("deep/c.npy", "deep"), ("deep/deeper/d.jpg", "deep/deeper")]
    assert placed(images, None)[1] == ["a_inpainted.png", "deep/c_inpainted.npy", "deep/deeper/d_inpainted.jpg"]
    assert placed(images, "out")[1] == ["out/a.png", "out/deep/c.npy", "out/deep/deeper/d.jpg"]
    assert placed(images, "out", ".tif")[1] == ["out/a.tif", "out/deep/c.tif", "out/deep/deeper/d.tif"]


def test_a_single_file_takes_the_name_it_is_given(tree):
    assert placed([("a.png", None)], "x.tif")[1] == ["x.tif"]
    assert placed([("a.png", None)], "deep")[1] == ["deep/a.png"]
    with pytest.raises(InputError, match=r"x.tif: is a file's name, but the image is one of a folder: name a folder"):
        placed([("a.png", ".")], "x.tif")


def test_an_output_that_is_a_file_is_no_folder(tree):
    with pytest.raises(InputError, match=r"notes.txt: is a file's name, but there are 2 images: name a folder"):
        placed([("a.png", None), ("b.TIF", None)], "notes.txt")


def test_results_of_the_same_name_are_refused(tree):
    with pytest.raises(InputError, match=r"out/a.png: both a.png and x/a.png would be written there: .+"):
        placed([("a.png", None), ("x/a.png", None)], "out")
    with pytest.raises(InputError, match=r"a_inpainted.tif: both a.png and a.npy would be written there"):
        placed([("a.png", None), ("a.npy", None)], None, ".tif")


def test_results_of_an_earlier_run_are_no_inputs(tree):
    images = [("a.png", "."), ("a_inpainted.png", "."), ("b_inpainted.png", ".")]
    assert placed(images, None)[0] == ["a.png", "b_inpainted.png"]
    assert placed(images, "out")[0] == ["a.png", "b_inpainted.png"]
    named = [("a.png", None), ("a_inpainted.png", None)]
    assert placed(named, "out")[0] == ["a.png", "a_inpainted.png"]


@given(st.lists(st.text(string.ascii_letters + "é写 .[]*", min_size=1, max_size=8), min_size=1, max_size=9, unique=True))
def test_no_two_results_share_a_name_and_none_is_an_input(stems):
    inputs = [(f"no such folder/{stem}x.png", None) for stem in stems]
    images, targets = placed(inputs, None)
    assert len(set(targets)) == len(targets) == len(images)
    assert not set(targets) & {name for name, _ in inputs}


@pytest.mark.parametrize("closed", [None, io.StringIO()])
def test_a_closed_standard_input_is_said_to_be_so(monkeypatch, closed):
    if closed is not None:
        closed.close()
    monkeypatch.setattr("sys.stdin", closed)
    with pytest.raises(InputError, match="standard input is closed"):
        names(files_from="-")


@pytest.mark.parametrize("pattern", ["deep/*/../../a.png", "*/../a.png", "{tree}/d*/../*.png", "**/../a.png"])
def test_a_pattern_does_not_lead_out_of_its_tree(tree, pattern):
    with pytest.raises(InputError, match=r"'\.\.' behind a wildcard"):
        names(pattern.format(tree=tree))


def test_folders_above_may_come_before_a_wildcard(tree):
    images = expand_inputs(["deep/../deep/../*.png"]).images
    assert [str(image.path) for image in images] == ["deep/../deep/../a.png"]
    assert placed(images, "out")[1] == ["out/a.png"]


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights elsewhere")
def test_results_behind_links_to_one_another_are_refused(tree):
    (tree / "out").mkdir()
    (tree / "out" / "a.png").symlink_to("b.png")
    with pytest.raises(InputError, match="would be written there"):
        placed([("a.png", None), ("b.png", None)], "out")


def test_a_list_of_files_is_in_utf_8_in_any_locale(tmp_path):
    (tmp_path / "ö☃.png").touch()
    (tmp_path / "list.txt").write_text("ö☃.png\n", "utf-8")
    script = (
        "from csc_cogd.batch.inputs import expand_inputs\n"
        "print(expand_inputs([], files_from='list.txt').images[0].path.exists())"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
