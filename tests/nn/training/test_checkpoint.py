"""Runs that are cut off and go on: to the last bit, from whole files, and never as another run."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import EpochHook, load_checkpoint, save_checkpoint, train
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.saving import network_arrays
from tests.nn.training.small import HALF, RECIPE, SmallNetwork, small_images


class Enough(Exception):  # noqa: N818  # it isn't an error
    pass


def run(path, *, stop=None, network=None, images=None, recipe=RECIPE, normalization=HALF, **settings):
    """Train, and stop after the batch (epoch, batch)."""

    def progress(p):
        if (p.epoch, p.batch) == stop:
            raise Enough

    network = network or SmallNetwork()
    history = train(
        network,
        images or small_images(),
        recipe,
        normalization=normalization,
        checkpoint=path,
        progress=progress,
        **settings,
    )
    return network.state_dict(), history


def assert_equal_runs(first, second):
    (state, history), (other_state, other_history) = first, second
    assert state.keys() == other_state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, other_state[name])
    assert [replace(epoch, seconds=0) for epoch in history] == [replace(epoch, seconds=0) for epoch in other_history]


@pytest.mark.parametrize(
    ("stop", "every", "saved"), [((1, 2), 1, None), ((2, 1), 1, 1), ((3, 4), 1, 2), ((4, 2), 2, 2), ((2, 4), 2, None)]
)
def test_a_run_that_stops_goes_on_to_the_same_weights(tmp_path, stop, every, saved):
    path, test = tmp_path / "run.safetensors", small_images(9, seed=3)
    whole = run(tmp_path / "whole.safetensors", test=test)
    with pytest.raises(Enough):
        run(path, stop=stop, checkpoint_every=every, test=test)
    assert (load_checkpoint(path)[1]["epoch"] if path.exists() else None) == saved
    resumed = run(path, resume=True, network=SmallNetwork(seed=0 if saved is None else 9), test=test)
    assert_equal_runs(resumed, whole)


@pytest.mark.parametrize("when", ["before the rename", "after the rename", "in an epoch"])
def test_a_run_that_is_killed_goes_on_to_the_same_weights(tmp_path, when):
    path = tmp_path / "run.safetensors"
    killed = subprocess.run([sys.executable, "-m", "tests.nn.training.killed", path, when], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(path)[1]["epoch"] == (1 if when == "before the rename" else 2)
    whole = run(tmp_path / "whole.safetensors")
    assert_equal_runs(run(path, resume=True, network=SmallNetwork(seed=9)), whole)


def test_the_last_checkpoint_is_a_file_of_weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    state, history = run(path, metadata={"network": "small", "n": 3})
    arrays, about = load_checkpoint(path)
    assert arrays.keys() == state.keys()
    network = SmallNetwork(seed=9)
    network.load_state_dict(arrays)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert (about["network"], about["n"], about["epoch"]) == ("small", 3, 4)
    assert about["class_names"] == ["upright", "lying"]
    assert (about["norm_mean"], about["norm_std"]) == ([0.5] * 3, [0.5] * 3)
    assert about["run"]["recipe"] == RECIPE.as_json()
    assert about["history"] == json.loads(json.dumps(history.as_json()))


def test_a_run_that_is_over_is_only_loaded(tmp_path):
    path = tmp_path / "weights.safetensors"
    done = run(path)
    before = path.read_bytes()
    assert_equal_runs(run(path, resume=True, network=SmallNetwork(seed=9)), done)
    assert path.read_bytes() == before


def test_in_the_course_of_a_run_there_are_other_arrays_beside_the_weights(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Enough):
        run(path, stop=(2, 1))
    arrays, _ = load_checkpoint(path)
    state = SmallNetwork().state_dict()
    assert network_arrays(arrays).keys() == state.keys()
    assert {"optimizer.conv.weight", "optimizer.linear.bias"} < arrays.keys() - state.keys()


class Count(EpochHook):
    """Adds to a bias how many epochs it has seen."""

    def __init__(self):
        self.seen = np.zeros(2, np.float32)

    def end_epoch(self, network, epoch):
        self.seen = self.seen + 1
        network.linear.bias.array += self.seen
        return {"seen": float(self.seen[0])}

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def test_hooks_keep_their_state(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = run(tmp_path / "whole.safetensors", hooks=[Count()])
    with pytest.raises(Enough):
        run(path, stop=(3, 2), hooks=[Count()])
    resumed = run(path, resume=True, hooks=[Count()])
    assert_equal_runs(resumed, whole)
    assert [epoch.figures["seen"] for epoch in resumed[1]] == [1, 2, 3, 4]
    assert load_checkpoint(path)[0].keys() == SmallNetwork().state_dict().keys()


@dataclass(frozen=True)
class Settings(EpochHook):
    degree: int = 1


IMAGES = small_images()
RELABELLED = ImageSet(IMAGES.images, 1 - IMAGES.labels, IMAGES.class_names)
RENAMED = ImageSet(IMAGES.images, IMAGES.labels, ("a", "b"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": replace(RECIPE, learning_rate=0.2)}, r"its learning_rate is 0.1, not 0.2"),
        ({"recipe": replace(RECIPE, epochs=9, seed=2)}, "its epochs is 4, not 9, its seed is 0, not 2"),
        ({"network": SmallNetwork(channels=5)}, "its network is different"),
        ({"network": SmallNetwork().to("cpu", "float64")}, "its network is different"),
        ({"images": RELABELLED}, "its images are different"),
        ({"images": small_images(25)}, "its images are different"),
        ({"images": RENAMED}, r"its class_names is \['upright', 'lying'\], not \['a', 'b'\]"),
        ({"normalization": Normalization((0.4, 0.5, 0.5), (0.5, 0.5, 0.5))}, "its norm_mean is"),
        ({"hooks": []}, "its hooks are different"),
        ({"hooks": [Settings(2)]}, "its hooks are different"),
        ({"metadata": {"weights": "b"}}, "its weights is a, not b"),
    ],
)
def test_another_run_is_refused(tmp_path, settings, message):
    path = tmp_path / "run.safetensors"
    given = {"hooks": [Settings()], "metadata": {"weights": "a"}}
    with pytest.raises(Enough):
        run(path, stop=(2, 1), **given)
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"run.safetensors: is a checkpoint of another run \({message}.*repeat"):
        run(path, resume=True, **{**given, **settings})
    assert path.read_bytes() == before


EPOCH = {"epoch": 1, "learning_rate": 0.1, "loss": 1.0, "accuracy": 0.5, "test_loss": None, "test_accuracy": None,
         "seconds": 1.0, "figures": {}}  # fmt: skip


@pytest.mark.parametrize(
    "history",
    [
        None, "none", 7, [7], [{"epoch": 1}], [EPOCH | {"more": 1}], [EPOCH | {"loss": "low"}], [EPOCH | {"figures": [1]}],
        [EPOCH | {"figures": {"seen": "many"}}], [EPOCH | {"seconds": None}], [EPOCH | {"epoch": 2}], [EPOCH, EPOCH],
    ],
)  # fmt: skip
def test_a_history_that_is_none_is_refused(tmp_path, history):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Enough):
        run(path, stop=(2, 1))
    arrays, about = load_checkpoint(path)
    save_checkpoint(arrays, path, metadata=about | {"history": history}, overwrite=True)
    with pytest.raises(InputError, match=r"run.safetensors: history must list the epochs of a run"):
        run(path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn.running_mean": np.full(4, np.nan, np.float32)}, "state must be finite, but bn.running_mean holds NaN"),
        ({"more": np.zeros(2)}, "state holds more, which this network hasn't"),
        ({"optimizer.linear.bias": np.zeros(3)}, r"state of the optimizer holds linear.bias, of shape \(3,\) instead of"),
        ({"optimizer.more": np.zeros(3)}, "state of the optimizer holds more, which isn't a parameter"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_the_name_of_the_file(tmp_path, change, message):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Enough):
        run(path, stop=(2, 1))
    arrays, about = load_checkpoint(path)
    save_checkpoint(arrays | change, path, metadata=about, overwrite=True)
    with pytest.raises(InputError, match=f"run.safetensors: {message}"):
        run(path, resume=True)


def test_velocities_that_are_no_real_numbers_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Enough):
        run(path, stop=(3, 1))
    arrays, about = load_checkpoint(path)
    for kind in (bool, np.complex64):
        changed = arrays | {"optimizer.conv.weight": arrays["optimizer.conv.weight"].astype(kind)}
        save_checkpoint(changed, path, metadata=about, overwrite=True)
        with pytest.raises(InputError, match=r"holds conv\.weight of \w+, not of real numbers"):
            run(path, resume=True)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    save_checkpoint(SmallNetwork().state_dict(), path, metadata={"network": "small"})
    with pytest.raises(InputError, match="isn't a checkpoint of training by this version: name another file"):
        run(path, resume=True)
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="can't be read as safetensors"):
        run(path, resume=True)
    with pytest.raises(InputError, match="exists already: add resume, or name another file"):
        run(path)
    with pytest.raises(InputError, match="there is no folder"):
        run(tmp_path / "none" / "run.safetensors")
    with pytest.raises(InputError, match="checkpoint_every must be an integer >= 1, got 0"):
        run(path, checkpoint_every=0)
    assert path.read_bytes() == b"mine"
    assert run(path, overwrite=True)[1][-1].epoch == 4
    assert load_checkpoint(path)[1]["epoch"] == 4
