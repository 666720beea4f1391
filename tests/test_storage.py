import os

import numpy as np
import pytest

from csc_cogd.errors import InputError
from csc_cogd.storage import check_distinct, check_writable, read_arrays, write_arrays, write_whole


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

    def broken(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, broken, overwrite=True)
    assert path.read_bytes() == b"before"
    with pytest.raises(InputError, match="exists already"):
        write_whole(path, lambda file: file.write(b"after"), overwrite=False)
    write_whole(path, lambda file: file.write(b"after"), overwrite=True)
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
        write_whole(tmp_path / "a.bin", lambda file: file.write(b"a"), overwrite=False)
    finally:
        os.umask(previous)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_a_link_and_its_target_are_one_output(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="two outputs"):
        check_distinct(tmp_path / "a", tmp_path / "link")
