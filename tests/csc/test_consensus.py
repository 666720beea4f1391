"""One dictionary from shards: as good as from all images together, and the same wherever the shards are worked on."""

import pickle

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import Dictionary, InputError, learn_dictionary, learn_dictionary_consensus
from csc_cogd.csc.consensus import SerialMapper

RUN = {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "max_iter": 5, "tol": 0, "threads": 1, "fft": "scipy"}


@pytest.fixture
def shards(rng):
    return [rng.standard_normal((n, *shape)) for n, shape in ((3, (20, 22)), (1, (20, 22)), (2, (17, 30)))]


class Hostile:
    """A mapper that does what is allowed to one: other orders, repetitions, and everything through pickle."""

    def start(self, function, shards, *arguments):
        self.states, self.travelled = [pickle.dumps(shard) for shard in shards], 0
        return self.step(function, *arguments)

    def step(self, function, *arguments):
        arguments = pickle.dumps(arguments)
        reports = [b""] * len(self.states)
        for m in reversed(range(len(self.states))):
            state = pickle.loads(self.states[m])
            function(state, *pickle.loads(arguments))
            after, report = function(state, *pickle.loads(arguments))
            self.states[m], reports[m] = pickle.dumps(after), pickle.dumps(report)
        self.travelled += len(self.states) * len(arguments) + sum(map(len, reports))
        return [pickle.loads(report) for report in reports]


def test_reaches_the_objective_of_learning_from_all_images_together():
    from skimage.data import camera

    smooth = camera() / 255 - gaussian_filter(camera() / 255, 3)
    images = np.stack([smooth[top : top + 32, 200:236] for top in (60, 120, 180)])
    run = RUN | {"n_filters": 8, "lmbda": 0.03, "max_iter": 30}
    whole = learn_dictionary(images, **run)
    together = learn_dictionary_consensus([images], **run)
    divided = learn_dictionary_consensus([images[:1], images[1:]], **run)
    start = learn_dictionary_consensus([images], **run | {"max_iter": 1})
    assert start.objective > 1.3 * whole.objective
    assert together.objective < 1.01 * whole.objective
    assert divided.objective < 1.015 * whole.objective
    assert divided.history[-1].consensus_residual < 0.05 < divided.history[2].consensus_residual
    assert together.history[-1].consensus_residual < 1e-6


def test_the_result_depends_neither_on_order_nor_on_place_and_only_filters_travel(shards):
    mapper = Hostile()
    here = learn_dictionary_consensus(shards, **RUN)
    there = learn_dictionary_consensus(shards, **RUN, mapper=mapper)
    np.testing.assert_array_equal(here.dictionary.filters, there.dictionary.filters)
    assert [r._replace(seconds=0) for r in here.history] == [r._replace(seconds=0) for r in there.history]
    filters = here.dictionary.filters.size * 8
    assert mapper.travelled < RUN["max_iter"] * len(shards) * (2 * filters + 2000)


def test_reads_shards_where_they_are_worked_on(shards, tmp_path):
    names = [tmp_path / f"{m}.npy" for m in range(3)]
    for name, shard in zip(names, shards, strict=True):
        np.save(name, shard)
    read = learn_dictionary_consensus(names, **RUN, load=np.load)
    given = learn_dictionary_consensus(shards, **RUN)
    np.testing.assert_array_equal(read.dictionary.filters, given.dictionary.filters)


def test_the_objective_is_that_of_the_dictionary_and_the_codes_improve_it(shards):
    """Codes from scratch over the returned filters come close to the objective of those that the shards have."""
    from csc_cogd import sparse_code

    learned = learn_dictionary_consensus(shards, **RUN | {"max_iter": 20})
    settings = {"lmbda": 0.4, "max_iter": 100, "threads": 1, "fft": "scipy"}
    best = sum(sparse_code(shard, learned.dictionary, **settings).objective for shard in shards)
    assert best * (1 - 1e-3) < learned.objective < 1.02 * best


@pytest.mark.parametrize("zero_mean", [False, True])
def test_masked_color_images_give_feasible_filters(rng, zero_mean):
    shards = []
    for shape in ((2, 3, 18, 20), (1, 3, 22, 15)):
        images, weights = rng.standard_normal(shape), rng.random(shape) < 0.7
        shards.append((np.where(weights, images, np.nan), weights))
    run = RUN | {"n_filters": (2, 3), "filter_shape": (3, 5), "zero_mean": zero_mean}
    dictionary = learn_dictionary_consensus(shards, **run).dictionary  # which refuses filters that leave their shapes
    assert dictionary.filters.shape == (5, 3, 5, 5)
    assert dictionary.shapes.tolist() == [[3, 3]] * 2 + [[5, 5]] * 3
    assert np.linalg.norm(dictionary.filters.reshape(5, -1), axis=1).max() <= 1 + 1e-6
    assert (np.abs(dictionary.filters.sum(axis=(2, 3))).max() < 1e-5) == zero_mean
    assert dictionary.provenance["masked"] is True
    assert dictionary.provenance["images"] == 3


def test_a_larger_shard_has_a_larger_say(rng):
    """An empty shard, all of which is zero, doesn't change what the other wants."""
    images = rng.standard_normal((3, 20, 22))
    alone = learn_dictionary_consensus([images], **RUN | {"max_iter": 20})
    beside = learn_dictionary_consensus([images, np.zeros((2, 20, 22))], **RUN | {"max_iter": 20})
    assert beside.objective == pytest.approx(alone.objective, rel=0.01)


def test_a_gpu_learns_the_same(shards, cuda):
    run = {name: RUN[name] for name in ("n_filters", "filter_shape", "lmbda", "tol")} | {"max_iter": 3, "dtype": "float64"}
    run |= {"boundary": "circular"}
    there = learn_dictionary_consensus(shards[:2], **run, device="cuda", mapper=Hostile())
    here = learn_dictionary_consensus(shards[:2], **run, device="cpu")
    np.testing.assert_allclose(there.dictionary.filters, here.dictionary.filters, atol=1e-6)


def test_stops_when_settled_or_asked(shards):
    settled = learn_dictionary_consensus(shards, **RUN | {"tol": 0.05, "max_iter": 50})
    assert 2 < len(settled.history) < 50
    asked = learn_dictionary_consensus(shards, **RUN, callback=lambda record: record.iteration == 2)
    assert [record.iteration for record in asked.history] == [1, 2]
    again = learn_dictionary_consensus(shards, **RUN | {"max_iter": 2})
    np.testing.assert_array_equal(again.dictionary.filters, asked.dictionary.filters)
    more = learn_dictionary_consensus(shards, **RUN | {"max_iter": 1}, start=asked.dictionary)
    np.testing.assert_array_equal(more.dictionary.filters, asked.dictionary.filters)  # a round's record is of its start


def interrupt_at(number):
    def callback(record):
        if record.iteration == number:
            raise KeyboardInterrupt

    return callback


def test_an_interrupted_run_resumes_to_the_same_result_and_leaves_few_files(shards, tmp_path):
    run = RUN | {"max_iter": 9, "gradient_penalty": 0.1}
    whole = learn_dictionary_consensus(shards, **run)
    saved = {"checkpoint": tmp_path / "run[1].npz", "checkpoint_every": 2}
    for stop in (5, 8):
        with pytest.raises(KeyboardInterrupt):
            learn_dictionary_consensus(shards, **run, **saved, callback=interrupt_at(stop))
    resumed = learn_dictionary_consensus(shards, **run, **saved, mapper=Hostile())
    np.testing.assert_array_equal(resumed.dictionary.filters, whole.dictionary.filters)
    assert [r._replace(seconds=0) for r in resumed.history] == [r._replace(seconds=0) for r in whole.history]
    expected = {f"run[1].npz.round-{r}.shard-{m}.npz" for r in (4, 6, 8) for m in range(3)}
    assert {path.name for path in tmp_path.iterdir()} == {"run[1].npz"} | expected


def test_a_checkpoint_that_does_not_fit_is_refused(shards, tmp_path):
    path = tmp_path / "run.npz"
    run = RUN | {"max_iter": 2, "checkpoint": path, "checkpoint_every": 1}
    learn_dictionary_consensus(shards, **run)
    for change, name in (({"lmbda": 0.3}, "lmbda"), ({"seed": 1}, "seed, start")):
        with pytest.raises(InputError, match=rf"run\.npz: a checkpoint of another run \({name}"):
            learn_dictionary_consensus(shards, **run | change)
    with pytest.raises(InputError, match=r"\(images differ"):
        learn_dictionary_consensus(shards[::-1], **run)
    with pytest.raises(InputError, match=r"\(.*shards.* differ"):
        learn_dictionary(shards[0], **run)
    (tmp_path / "run.npz.round-2.shard-1.npz").unlink()
    with pytest.raises(InputError, match=r"round-2\.shard-1\.npz: no such checkpoint file"):
        learn_dictionary_consensus(shards, **run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": []}, "shards must be one or more"),
        ({"shards": [np.ones((1, 9, 9)), np.ones((9, 9))]}, "shard 1: images must be of shape"),
        ({"shards": [np.ones((1, 9, 9)), np.ones((1, 3, 9, 9))]}, "got 1 in shard 0, 3 in shard 1"),
        ({"shards": [np.ones((1, 9, 9)), np.ones((1, 4, 9))]}, "shard 1: filter_shape must not be larger than the images"),
        ({"shards": [np.full((1, 9, 9), np.nan)]}, "shard 0: images have NaN"),
        ({"shards": [(np.ones((1, 9, 9)), np.zeros((1, 9, 9)))]}, "shard 0: weights must not all be zero"),
        ({"lmbda": -1}, "lmbda"),
        ({"code_iterations": 0}, "code_iterations must be .* got 0"),
        ({"dtype": "int8"}, "dtype"),
        ({"start": Dictionary(np.ones((1, 3, 3)))}, "start must"),
        ({"device": "gpu"}, "device must be .* got 'gpu'"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = RUN | {"shards": [np.ones((1, 9, 9))], "mapper": SerialMapper()} | change
    with pytest.raises(InputError, match=message):
        learn_dictionary_consensus(arguments.pop("shards"), **arguments)
