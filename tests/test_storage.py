import os
import stat

import numpy as np
import pytest

from csc_cogd.errors import InputError
from csc_cogd.storage import check_distinct, check_writable, read_arrays, whole_file, write_arrays, write_whole


def test_arrays_and_what_is_said_about_them_come_back(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)}, {"lmbda": 0.1, "names": ["ü"]}, overwrite=False, compress=True)
    arrays, about = read_arrays(path, "test")
    np.testing.assert_array_equal(arrays["x"], [0, 1, 2])
    assert about == {"lmbda": 0.1, "names": ["ü"]}


def test_pickles_are_never_opened(tmp_path):
    import pickle

    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(InputError, match=r"a\.npz: not a test file"):
        read_arrays(path, "test")


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def write_half():
        with whole_file(path, overwrite=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"before"
    with pytest.raises(InputError, match="exists already"):
        write_whole(path, b"after", overwrite=False)
    write_whole(path, b"after", overwrite=True)
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_new_folders_are_checked_down_to_what_exists(tmp_path):
    check_writable(tmp_path / "new" / "deeper" / "a.npz", overwrite=False, new_folder=True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="there is no folder"):
        check_writable(tmp_path / "new" / "a.npz", overwrite=False)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="there is no folder"):
        check_writable(tmp_path / "file" / "a.npz", overwrite=False, new_folder=True)
    with pytest.raises(InputError, match="is a directory"):
        check_writable(tmp_path, overwrite=True)


def test_two_outputs_in_one_place_are_refused(tmp_path):
    check_distinct(tmp_path / "a", None, tmp_path / "b", None)
    with pytest.raises(InputError, match="two outputs"):
        check_distinct(tmp_path / "a", tmp_path / "x" / ".." / "a")


def test_an_archive_under_a_password_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)}, {}, overwrite=False, compress=True)
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(header)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(header, at + 4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: not a test file"):
        read_arrays(path, "test")


def test_a_damaged_header_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones(3))
    path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))
    with pytest.raises(InputError, match=r"a\.npy: not a test file"):
        read_arrays(path, "test")


def test_an_array_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz: not a test file .*allow_pickle=False"):
        read_arrays(tmp_path / "a.npz", "test")


def test_an_input_by_another_name_is_still_an_input(tmp_path):
    source = tmp_path / "a.npz"
    source.write_bytes(b"mine")
    (tmp_path / "link.npz").symlink_to(source)
    (tmp_path / "hard.npz").hardlink_to(source)
    for name in ("a.npz", "link.npz", "hard.npz"):
        with pytest.raises(InputError, match=rf"{name}: is an input, which is never overwritten"):
            check_writable(tmp_path / name, overwrite=True, inputs=(source,))
    check_writable(tmp_path / "b.npz", overwrite=False, inputs=(source,))


def test_a_link_to_nowhere_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "a.npz"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        check_writable(path, overwrite=False)
    check_writable(path, overwrite=True)


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_files_are_as_readable_as_any_others(tmp_path):
    previous = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.bin", b"a", overwrite=False)
    finally:
        os.umask(previous)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_a_link_and_its_target_are_one_output(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="two outputs"):
        check_distinct(tmp_path / "a", tmp_path / "link")


def put(path, content=b"after", **options):
    write_whole(path, content, **{"overwrite": True} | options)


def test_overwriting_a_link_replaces_what_it_names(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.bin").write_bytes(b"before")
    link, dangling = tmp_path / "link.bin", tmp_path / "dangling.bin"
    link.symlink_to("other.bin")
    (tmp_path / "other.bin").symlink_to("store/a.bin")
    dangling.symlink_to("store/new.bin")
    for path, name in ((link, "a.bin"), (dangling, "new.bin")):
        check_writable(path, overwrite=True)
        put(path)
        assert path.is_symlink()
        assert (tmp_path / "store" / name).read_bytes() == b"after"
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"a.bin", "new.bin"}
    with pytest.raises(InputError, match="exists already"):
        put(link, overwrite=False)


def test_a_link_that_the_user_has_not_named_is_replaced_itself(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"before")
    (tmp_path / "link.bin").symlink_to("a.bin")
    put(tmp_path / "link.bin", follow_link=False)
    assert (tmp_path / "a.bin").read_bytes() == b"before"
    assert not (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "link.bin").read_bytes() == b"after"


def test_links_that_lead_nowhere_to_write_are_refused(tmp_path):
    (tmp_path / "circle.npz").symlink_to("circle.npz")
    (tmp_path / "far.npz").symlink_to("no folder/a.npz")
    for name, problem in (("circle.npz", "leads to itself"), ("far.npz", "there is no folder .*no folder: create it")):
        with pytest.raises(InputError, match=rf"{name}: .*{problem}"):
            check_writable(tmp_path / name, overwrite=True)
        with pytest.raises(InputError, match=name):
            put(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"circle.npz", "far.npz"}


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_only_files_are_overwritten(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match=f"{name}: isn't a regular file"):
            check_writable(tmp_path / name, overwrite=True)
        with pytest.raises(InputError, match=f"{name}: isn't a regular file"):
            put(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_overwriting_keeps_permissions(tmp_path, mode):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    path.chmod(mode)
    with whole_file(path, overwrite=True) as file:
        meanwhile = os.fstat(file.fileno()).st_mode  # nobody else reads it then, either
        file.write(b"after")
    assert path.read_bytes() == b"after"
    assert [stat.S_IMODE(found) for found in (meanwhile, path.stat().st_mode)] == [mode, mode]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("75600 requested and 15928 written")])
def test_a_full_disk_is_named_with_what_to_do(tmp_path, error):
    why = r"a\.npy: can't be written: .*(space|full).*: make room, or write to another disk"
    with pytest.raises(InputError, match=why), whole_file(tmp_path / "a.npy", overwrite=False):
        raise error
    assert not list(tmp_path.iterdir())
