import numpy as np
import pytest

from csc_cogd import Dictionary, InputError, debias, learn_dictionary, reconstruct_images, solve_filters


def test_saves_and_loads_everything(tmp_path, rng):
    filters = rng.standard_normal((3, 2, 4, 5)).astype(np.float32)
    filters[0, :, 2:] = 0
    dictionary = Dictionary(filters, [[2, 5], [4, 5], [4, 5]], {"images": ["a.png"], "settings": {"lmbda": 0.1}})
    dictionary.save(tmp_path / "d.npz")
    loaded = Dictionary.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(loaded.filters, filters)
    np.testing.assert_array_equal(loaded.shapes, dictionary.shapes)
    assert loaded.filters.dtype == np.float32
    assert loaded.provenance == dictionary.provenance
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]


def test_reads_plain_arrays(tmp_path, rng):
    filters = rng.standard_normal((3, 4, 5))
    np.save(tmp_path / "d.npy", filters)
    np.savez(tmp_path / "d.npz", filters=filters)
    for name in ("d.npy", "d.npz"):
        np.testing.assert_array_equal(Dictionary.load(tmp_path / name).filters, filters)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    Dictionary(np.ones((1, 2, 2))).save(path)
    before = path.read_bytes()

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(InputError, match=r"d\.npz: can't be written: No space"):
        Dictionary(np.ones((2, 3, 3))).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_never_unpickles(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(tmp_path / "d.npy", np.array([Bomb()]), allow_pickle=True)
    np.savez(tmp_path / "d.npz", filters=np.array([Bomb()]))
    for name in ("d.npy", "d.npz"):
        with pytest.raises(InputError, match="without pickle"):
            Dictionary.load(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"d\.npz: not a dictionary file"):
        Dictionary.load(path)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such dictionary file"):
        Dictionary.load(tmp_path / "none.npz")
    np.savez(tmp_path / "about.npz", filters=np.ones((1, 2, 2)), about=np.frombuffer(b"[1]", np.uint8))
    with pytest.raises(InputError, match=r"about\.npz: not a dictionary"):
        Dictionary.load(tmp_path / "about.npz")
    np.savez(tmp_path / "other.npz", pixels=np.ones(3))
    with pytest.raises(InputError, match=r"other\.npz: no array 'filters'"):
        Dictionary.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("filters", "shapes", "message"),
    [
        (np.ones((3, 3)), None, r"filters must be of shape \(K, h, w\) or"),
        (np.ones((0, 3, 3)), None, r"filters must be of shape \(K, h, w\) or"),
        (np.array([["a"]]), None, "real numbers"),
        (np.full((1, 2, 2), np.nan), None, "NaN"),
        (np.zeros((1, 2, 2)), None, "must not be zero"),
        (np.ones((2, 3, 3)), [[3, 3]], "a .height, width. within"),
        (np.ones((1, 3, 3)), [[4, 3]], "within"),
        (np.ones((1, 3, 3)), [[2.5, 3]], "a .height, width. within"),
        (np.ones((1, 3, 3)), [[2, 3]], "zero outside their shapes, but filter 0"),
    ],
)
def test_what_is_no_dictionary_is_named(filters, shapes, message):
    with pytest.raises(InputError, match=message):
        Dictionary(filters, shapes)


def test_filters_can_not_be_changed_and_the_given_array_can():
    filters = np.ones((1, 2, 2))
    dictionary = Dictionary(filters)
    filters[0, 0, 0] = 5
    assert dictionary.filters[0, 0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        dictionary.filters[0, 0, 0] = 2


@pytest.mark.parametrize(("kind", "channels"), [("gray", 1), ("color", 3)])
def test_default_dictionaries(kind, channels):
    dictionary = Dictionary.default(kind)
    assert dictionary.n_channels == channels
    assert 80 <= dictionary.n_filters <= 150
    assert {tuple(shape) for shape in dictionary.shapes} == {(8, 8), (12, 12), (16, 16)}
    norms = np.linalg.norm(dictionary.filters.reshape(dictionary.n_filters, -1), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-3)
    assert dictionary.provenance["sources"]
    with pytest.raises(InputError, match=r"kind must be .* got 'sepia'"):
        Dictionary.default("sepia")


def test_center_frequencies_of_plane_waves():
    i, j = np.mgrid[:32, :32]
    waves = np.array([np.cos(2 * np.pi * (u * i + v * j)) for u, v in ((0.125, 0), (0, 0.25), (0.25, 0.25))])
    waves *= np.outer(np.hanning(32), np.hanning(32))
    np.testing.assert_allclose(Dictionary(waves).center_frequencies(), [0.125, 0.25, 0.25 * 2**0.5], rtol=0.1)


def test_mosaic_shows_every_filter(rng):
    gray = Dictionary(rng.standard_normal((5, 4, 3))).mosaic(columns=3)
    assert gray.shape == (2 * 5 + 1, 3 * 4 + 1)
    assert gray.dtype == np.uint8
    assert np.unique(gray[1:5, 1:4]).size > 6
    assert Dictionary(rng.standard_normal((5, 3, 4, 3))).mosaic().shape == (11, 13, 3)


def test_filters_of_sporco_are_taken_and_their_files_not_misread(tmp_path, rng):
    gray, color = rng.random((4, 4, 6)), rng.random((4, 5, 3, 6))
    np.testing.assert_array_equal(Dictionary.from_sporco(gray).filters[2], gray[:, :, 2])
    np.testing.assert_array_equal(Dictionary.from_sporco(color).filters[2, 1], color[:, :, 1, 2])
    np.save(tmp_path / "d.npy", gray)
    with pytest.raises(InputError, match=r"d\.npy: shape \(4, 4, 6\) looks like .*from_sporco"):
        Dictionary.load(tmp_path / "d.npy")
    with pytest.raises(InputError, match=r"filters must be of shape \(h, w, K\) or"):
        Dictionary.from_sporco(gray[0])


def test_is_told_in_a_line(rng):
    assert repr(Dictionary(rng.random((3, 3, 4, 5)))) == "Dictionary(3 of 4 x 5, 3 channels)"


@pytest.mark.parametrize("given", ["filters.npz", np.ones((2, 3, 3))], ids=["path", "array"])
def test_what_is_no_dictionary_is_refused_with_the_way_to_one(given):
    images, codes = np.zeros((1, 8, 8)), np.zeros((1, 2, 10, 10))
    way = r"load it, Dictionary\.load\(path\)" if isinstance(given, str) else r"make one: Dictionary\(D\) of \(K, h, w\)"
    for call, name in (
        (lambda: solve_filters(images, codes, given), "start"), (lambda: debias(images, codes, given), "dictionary"),
        (lambda: reconstruct_images(codes, given), "dictionary"),
        (lambda: learn_dictionary(images, 2, 3, lmbda=1, start=given), "start"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"{name} must be a csc_cogd.Dictionary, got .*: {way}"):
            call()
