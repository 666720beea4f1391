"""Dictionaries, codes and checkpoints by somebody else: what can't be true is refused, and nothing is taken up from it."""

import json
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from csc_cogd import (
    Dictionary,
    InputError,
    learn_dictionary,
    learn_dictionary_consensus,
    learn_dictionary_online,
    load_codes,
    save_codes,
)
from csc_cogd.cogd.rule import CogradientRule
from tests.imagefiles.making import claiming

IMAGES = np.random.default_rng(4).standard_normal((2, 16, 17))
SETTINGS = {"n_filters": 3, "filter_shape": 4, "lmbda": 0.4, "device": "cpu"}


def learn(path, **settings):
    return learn_dictionary(IMAGES, **SETTINGS, **{"max_iter": 3, "checkpoint": path, **settings})


@pytest.mark.parametrize("load", [Dictionary.load, load_codes, learn], ids=["dictionary", "codes", "checkpoint"])
def test_what_unpacks_to_gigabytes_is_refused(tmp_path, load):
    path = tmp_path / "a.npz"
    path.write_bytes(claiming(3 * 10**9, filters=np.ones((2, 3, 3))))
    with pytest.raises(
        InputError, match=r"a\.npz: claims arrays of 3 GB, in a file of \d+ bytes: if it is real, store them un"
    ):
        load(path)


def test_codes_that_are_nearly_all_zero_may_be_large_but_not_without_end(tmp_path):
    codes = np.zeros((1, 30, 1500, 1500), np.float32)  # 270 MB
    save_codes(codes, tmp_path / "a.npz")
    assert load_codes(tmp_path / "a.npz").shape == codes.shape
    about = np.frombuffer(b'{"format": 1}', np.uint8)
    huge = {"values": np.ones(1), "places": np.zeros(1, int), "shape": np.array([1, 100, 10**5, 10**5])}
    np.savez(tmp_path / "a.npz", **huge, about=about)
    with pytest.raises(
        InputError, match=r"a\.npz: claims codes of shape \(1, 100, 100000, 100000\), 8e\+03 GB, in a file of"
    ):
        load_codes(tmp_path / "a.npz")


def test_members_that_are_no_arrays_are_not_taken_for_some(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name in ("filters", "values", "places", "shape", "about"):
            file.writestr(name, b"hello")
    with pytest.raises(InputError, match=r"a\.npz: no array 'filters' in it"):
        Dictionary.load(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz: not a codes file"):
        load_codes(tmp_path / "a.npz")
    Dictionary(np.ones((2, 3, 3))).save(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as file:
        file.writestr("README.txt", b"by me")
    assert Dictionary.load(tmp_path / "b.npz").n_filters == 2


@pytest.mark.parametrize("about", ["[" * 10**5, "[1]", "1", '"text"', "{", '{"provenance": [1, 2]}', '{"format": {}}'])
def test_what_is_said_of_a_dictionary_is_a_table(tmp_path, about):
    np.savez(tmp_path / "a.npz", filters=np.ones((2, 3, 3)), about=np.frombuffer(about.encode(), np.uint8))
    with pytest.raises(InputError, match=r"a\.npz: [^\n]+$"):
        Dictionary.load(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [(2**16 + 1, 1, 1), (2, 1, 600), (1, 3, 600, 2)])
def test_filters_beyond_all_use_are_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with pytest.raises(InputError, match=r"a\.npy: \d+ filters of \d+ x \d+: 65536 of 512 x 512 at most can be worked with"):
        Dictionary.load(tmp_path / "a.npy")


RUNS = {
    "plain": (learn_dictionary, {"tol": 0}),
    "cogradient": (learn_dictionary, {"tol": 0, "cogd": CogradientRule(degree=2, eta=0.1)}),
    "online": (learn_dictionary_online, {"batch_size": 2, "crop": 12}),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """Goes on from what a checkpoint holds, changed."""
    function, settings = RUNS[request.param]
    path = tmp_path_factory.mktemp(request.param) / "run.npz"

    def go_on():
        return function(IMAGES, **SETTINGS, **settings, max_iter=3, checkpoint=path, checkpoint_every=1)

    function(IMAGES, **SETTINGS, **settings, max_iter=2, checkpoint=path, checkpoint_every=1)
    with np.load(path) as file:
        return go_on, path, dict(file)


CHANGES = {
    "missing": lambda array: None,
    "shape": lambda array: array[..., None],
    "empty": lambda array: array[:0] if array.ndim else np.zeros(0),
    "NaN": lambda array: np.where(True, np.nan, array),
    "infinite": lambda array: np.where(True, np.inf, array),
    "text": lambda array: array.astype(str),
    "complex": lambda array: array.astype(complex),
    "true": lambda array: array.astype(bool),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_whose_arrays_can_not_be_true_is_refused(run, change):
    go_on, path, arrays = run
    for name in arrays.keys() - {"about"}:
        changed = arrays | {name: change(arrays[name])}
        np.savez(path, **{key: array for key, array in changed.items() if array is not None})
        with pytest.raises(InputError, match=rf"run\.npz: a damaged checkpoint: its {name} .+: delete it, or name another"):
            go_on()


def test_penalties_counts_and_energies_have_a_range(run):
    go_on, path, arrays = run
    for name in arrays.keys() & {"code_penalties", "filter_penalties", "energy", "batches"}:
        np.savez(path, **arrays | {name: -arrays[name]})
        with pytest.raises(InputError, match=rf"its {name} is out of range"):
            go_on()


@pytest.mark.parametrize("value", ["a text", {}, True, [], [None], [1] * 99, ["x"] * 8, float("nan"), 10**400], ids=str)
def test_a_checkpoint_whose_history_can_not_be_true_is_refused(run, value):
    go_on, path, arrays = run
    about = json.loads(bytes(arrays["about"]))
    first, *rest = about["history"]
    changed = [[[*first[:place], value, *first[place + 1 :]], *rest] for place in range(len(first))]
    for history in (value if value != [] else None, [value], [first, value], [first, first], *changed):
        text = json.dumps(about | {"history": history}).encode()
        np.savez(path, **arrays | {"about": np.frombuffer(text, np.uint8)})
        with pytest.raises(InputError, match=r"run\.npz: a damaged checkpoint: its history isn't one"):
            go_on()


@pytest.mark.parametrize("text", [b"[" * 10**5, b"{}", b"[]", b'{"format": 2}', b'{"format": 2, "identity": 1}'])
def test_a_checkpoint_that_does_not_say_of_which_run_is_refused(run, text):
    go_on, path, arrays = run
    np.savez(path, **arrays | {"about": np.frombuffer(text, np.uint8)})
    with pytest.raises(InputError, match=r"run\.npz: not a checkpoint"):
        go_on()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_beyond_all_bounds_are_survived_or_refused(run):
    go_on, path, arrays = run
    for name in sorted(arrays.keys() & {"code_penalties", "filter_penalties", "code_p", "filters", "energy"}):
        for factor in (1e30, 1e-30):
            np.savez(path, **arrays | {name: arrays[name].astype(np.float64) * factor})
            with suppress(InputError):
                go_on()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_checkpoint_of_a_shard_is_looked_at_too(tmp_path, change):
    settings = {**SETTINGS, "checkpoint": tmp_path / "run.npz", "checkpoint_every": 1}
    learn_dictionary_consensus([IMAGES, IMAGES[:1]], **settings, max_iter=1)
    (path,) = tmp_path.glob("*.shard-1.npz")
    with np.load(path) as file:
        arrays = dict(file)
    for name in arrays.keys() - {"about"}:
        changed = arrays | {name: change(arrays[name])}
        np.savez(path, **{key: array for key, array in changed.items() if array is not None})
        with pytest.raises(InputError, match=rf"shard-1\.npz: a damaged checkpoint: its {name} "):
            learn_dictionary_consensus([IMAGES, IMAGES[:1]], **settings, max_iter=2)
