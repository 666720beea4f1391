import numpy as np
import pytest

from csc_cogd import InputError, load_codes, save_codes


@pytest.fixture
def codes(rng):
    return np.where(rng.random((2, 3, 7, 5)) < 0.1, rng.standard_normal((2, 3, 7, 5)), 0).astype(np.float32)


def test_codes_come_back_as_they_were(codes, tmp_path):
    path = tmp_path / "codes.npz"
    save_codes(codes, path)
    loaded = load_codes(path)
    np.testing.assert_array_equal(loaded, codes)
    assert loaded.dtype == codes.dtype
    save_codes(np.zeros((1, 2, 3, 3)), path, overwrite=True)
    assert load_codes(path).shape == (1, 2, 3, 3)


def test_sparse_codes_take_little_room(tmp_path):
    codes = np.zeros((4, 50, 64, 64), np.float32)
    codes[:, ::5, ::16, ::16] = 1.5
    save_codes(codes, tmp_path / "codes.npz")
    assert (tmp_path / "codes.npz").stat().st_size < codes.nbytes / 100


def test_an_existing_file_is_kept(codes, tmp_path):
    path = tmp_path / "codes.npz"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"codes\.npz: exists already"):
        save_codes(codes, path)
    assert path.read_bytes() == b"mine"


def test_what_are_no_codes_is_not_pickled(tmp_path):
    with pytest.raises(InputError, match="codes must be real numbers, got object"):
        save_codes(np.array([[None]]), tmp_path / "codes.npz")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(codes, tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(InputError, match=r"codes\.npz: can't be written: No space"):
        save_codes(codes, tmp_path / "codes.npz")
    assert not list(tmp_path.iterdir())


def test_what_holds_no_codes_is_refused(codes, tmp_path):
    path = tmp_path / "codes.npz"
    with pytest.raises(InputError, match="no such codes file"):
        load_codes(path)
    np.savez(path, filters=np.ones(3))
    with pytest.raises(InputError, match="not a codes file"):
        load_codes(path)
    np.savez(path, values=np.ones(2), places=np.array([0, 99]), shape=np.array([2, 2]))
    with pytest.raises(InputError, match="not a codes file"):
        load_codes(path)
    save_codes(codes, path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a codes file"):
        load_codes(path)
    np.save(path.with_suffix(".npy"), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="without pickle"):
        load_codes(path.with_suffix(".npy"))


def tables(**change):
    """What a codes file holds, with some of it changed; None leaves it out."""
    about = np.frombuffer(b'{"format": 1}', np.uint8)
    whole = {"values": np.ones(2), "places": np.array([0, 3]), "shape": np.array([2, 2]), "about": about} | change
    return {name: table for name, table in whole.items() if table is not None}


def test_a_file_by_hand_is_read(tmp_path):
    np.savez(tmp_path / "codes.npz", **tables())
    np.testing.assert_array_equal(load_codes(tmp_path / "codes.npz"), np.eye(2))


@pytest.mark.parametrize(
    "change",
    [
        {"values": None},
        {"places": None},
        {"shape": None},
        {"about": None},
        {"about": np.frombuffer(b'{"format": 2}', np.uint8)},
        {"about": np.frombuffer(b'{"form', np.uint8)},
        {"shape": np.array([-1, 2])},
        {"places": np.array([0, -1])},
        {"places": np.array([0, 4])},
        {"places": np.array([0, 1, 3])},
        {"values": np.float64(1)},
        {"values": np.array(["a", "b"])},
    ],
    ids=str,
)
def test_tables_that_are_missing_or_do_not_fit_are_refused(tmp_path, change):
    np.savez(tmp_path / "codes.npz", **tables(**change))
    with pytest.raises(InputError, match=r"codes\.npz: not a codes file"):
        load_codes(tmp_path / "codes.npz")


def test_a_flipped_byte_is_refused_or_does_no_harm(codes, tmp_path):
    path = tmp_path / "codes.npz"
    save_codes(codes, path)
    raw, refused = path.read_bytes(), 0
    for place in range(0, len(raw), 5):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 255]) + raw[place + 1 :])
        try:
            np.testing.assert_array_equal(load_codes(path), codes)
        except InputError:
            refused += 1
    assert refused > len(raw) / 10
