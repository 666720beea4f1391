"""Averages of weights, and the end of a training that no longer improves."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import EpochHook, Recipe, evaluate, train
from tests.nn.training.small import HALF, SmallNetwork, small_images

RECIPE = Recipe(4, batch_size=8, learning_rate=0.1, average=0.5)


class Watching(EpochHook):
    """Keeps the weights of each step."""

    def __init__(self):
        self.seen = []

    def __repr__(self):
        return "Watching"

    def after_step(self, network):
        self.seen.append(network.state_dict())


def test_what_is_left_is_the_average_and_training_goes_on_with_the_weights():
    plain, averaged, watching = SmallNetwork(), SmallNetwork(), Watching()
    start = plain.state_dict()
    train(plain, small_images(), Recipe(4, batch_size=8, learning_rate=0.1), normalization=HALF, hooks=[watching])
    train(averaged, small_images(), RECIPE, normalization=HALF)
    for name, array in averaged.state_dict().items():
        expected = start[name]
        for step, state in enumerate(watching.seen, start=1):
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * state[name]
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("more", [{"average": 0.9}, {"patience": 5, "validation": 0.3}, {"optimizer": "adamw"}])
def test_a_run_that_is_cut_off_goes_on_to_the_same_weights(more, tmp_path):
    recipe = Recipe(4, batch_size=8, learning_rate=0.02, **more)

    def run(path, **others):
        network = SmallNetwork()
        train(network, small_images(), recipe, normalization=HALF, checkpoint=path, **others)
        return network.state_dict()

    expected = run(tmp_path / "whole.safetensors")
    run(tmp_path / "cut.safetensors", callback=lambda epoch: epoch.epoch == 2)
    found = run(tmp_path / "cut.safetensors", resume=True)
    assert all((expected[name] == array).all() for name, array in found.items())
    assert all((found[name] == array).all() for name, array in run(tmp_path / "cut.safetensors", resume=True).items())


def test_training_stops_when_nothing_improves_and_keeps_the_best_epoch(tmp_path):
    recipe = Recipe(30, batch_size=8, learning_rate=1.0, schedule="constant", patience=2, validation=0.25, seed=3)
    network, images = SmallNetwork(), small_images(40)
    path = tmp_path / "a.safetensors"
    history = train(network, images, recipe, normalization=HALF, checkpoint=path)
    losses = [epoch.figures["validation_loss"] for epoch in history]
    best = int(np.argmin(losses))
    assert len(history) == best + 3 < 30
    held_out = images.split(0.25, seed=3)[1]
    found = evaluate(network, held_out, normalization=HALF)
    assert found.loss == pytest.approx(losses[best], rel=1e-6)
    assert found.accuracy == history[best].figures["validation_accuracy"]

    again = SmallNetwork(seed=5)
    assert len(train(again, images, recipe, normalization=HALF, checkpoint=path, resume=True)) == len(history)
    assert all((again.state_dict()[name] == array).all() for name, array in network.state_dict().items())


def test_settings_out_of_range_are_refused():
    for bad, message in (
        ({"average": 1.0}, r"average must be in \[0, 1\)"), ({"patience": -1}, "patience must be an integer >= 0"),
        ({"validation": 1.0}, "validation must be between 0 and 1"), ({"optimizer": "lion"}, "optimizer must be one of sgd"),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov has no effect with optimizer 'adamw'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            Recipe(1, **bad)
