"""An interrupted learning run goes on to the same result."""

import numpy as np
import pytest

from csc_cogd import InputError, learn_dictionary, learn_dictionary_online
from csc_cogd.cogd.rule import CogradientRule


@pytest.fixture
def images(rng):
    return rng.standard_normal((3, 20, 22))


def interrupt_at(number):
    def callback(record):
        if record.iteration == number:
            raise KeyboardInterrupt

    return callback


RUNS = {
    "plain": (learn_dictionary, {"tol": 0}),
    "cogradient": (learn_dictionary, {"tol": 0, "cogd": CogradientRule(degree=2, eta=0.1)}),
    "online": (learn_dictionary_online, {"batch_size": 2, "crop": 16}),
}


@pytest.mark.parametrize("kind", RUNS)
def test_an_interrupted_run_resumes_to_the_same_result(images, tmp_path, kind):
    learn, settings = RUNS[kind]
    settings = settings | {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "max_iter": 9, "seed": 3}
    whole = learn(images, **settings)
    path = tmp_path / "run.npz"
    for stop in (5, 8):  # in the middle between two saves
        with pytest.raises(KeyboardInterrupt):
            learn(images, **settings, checkpoint=path, checkpoint_every=2, callback=interrupt_at(stop))
    resumed = learn(images, **settings, checkpoint=path, checkpoint_every=2)
    np.testing.assert_array_equal(resumed.dictionary.filters, whole.dictionary.filters)
    assert [r._replace(seconds=0) for r in resumed.history] == [r._replace(seconds=0) for r in whole.history]
    if learn is learn_dictionary:
        np.testing.assert_array_equal(resumed.codes, whole.codes)
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_run_comes_back_from_its_checkpoint_and_can_be_continued(images, tmp_path):
    run = {
        "n_filters": 4,
        "filter_shape": 5,
        "lmbda": 0.4,
        "tol": 0,
        "checkpoint": tmp_path / "run.npz",
        "checkpoint_every": 1,
    }
    first = learn_dictionary(images, **run, max_iter=3)
    again = learn_dictionary(images, **run, max_iter=3, callback=interrupt_at(1))
    np.testing.assert_array_equal(again.dictionary.filters, first.dictionary.filters)
    assert len(learn_dictionary(images, **run, max_iter=5).history) == 5


def test_a_checkpoint_of_another_run_is_refused_by_name(images, tmp_path):
    path = tmp_path / "run.npz"
    run = {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "max_iter": 2, "checkpoint": path, "checkpoint_every": 1}
    learn_dictionary(images, **run)
    before = path.read_bytes()
    for change, name in (
        ({"lmbda": 0.3}, "lmbda"), ({"cogd": CogradientRule()}, "cogd"), ({"seed": 1}, "seed, start"),
        ({"dtype": "float64"}, "dtype"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rf"run\.npz: a checkpoint of another run \(.*{name}.* differ"):
            learn_dictionary(images, **run | change)
    with pytest.raises(InputError, match=r"another run \(images differ"):
        learn_dictionary(images + 1, **run)
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused(images, tmp_path):
    run = {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "max_iter": 2}
    damaged, other = tmp_path / "damaged.npz", tmp_path / "other.npz"
    damaged.write_bytes(b"PK\x03\x04 nothing")
    np.savez(other, filters=np.ones(3))
    with pytest.raises(InputError, match=r"damaged\.npz: not a checkpoint"):
        learn_dictionary(images, **run, checkpoint=damaged)
    with pytest.raises(InputError, match=r"other\.npz: not a checkpoint of this version"):
        learn_dictionary(images, **run, checkpoint=other)
    with pytest.raises(InputError, match="there is no folder"):
        learn_dictionary(images, **run, checkpoint=tmp_path / "none" / "run.npz")
    with pytest.raises(InputError, match="checkpoint_every"):
        learn_dictionary(images, **run, checkpoint=tmp_path / "run.npz", checkpoint_every=0)


def test_a_full_disk_leaves_the_last_checkpoint(images, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    run = {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "tol": 0, "checkpoint": path, "checkpoint_every": 1}
    learn_dictionary(images, **run, max_iter=2)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"PK\x03\x04 half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"run\.npz: can't be written: No space"):
        learn_dictionary(images, **run, max_iter=4)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
