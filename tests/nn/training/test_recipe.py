"""Recipes and their learning rates."""

import json

import pytest

from csc_cogd import InputError
from csc_cogd.nn import Recipe


def rates(*epochs, **settings):
    recipe = Recipe(100, learning_rate=0.2, **settings)
    return [recipe.learning_rate_at(epoch) for epoch in epochs]


def test_cosine():
    assert rates(0, 25, 50, 75, 100) == pytest.approx([0.2, 0.17071068, 0.1, 0.02928932, 0])


def test_steps():
    assert rates(0, 49.9, 50, 74.9, 75, 99.9, schedule="step") == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002, 0.002])
    assert rates(29, 30, 60, 90, schedule="step", steps=(0.3, 0.6), step_factor=0.5) == pytest.approx([0.2, 0.1, 0.05, 0.05])


def test_constant_and_warm_up():
    assert rates(0, 99, schedule="constant") == [0.2, 0.2]
    assert rates(0, 1, 3, 4, 50, schedule="constant", warm_up=4) == pytest.approx([0, 0.05, 0.15, 0.2, 0.2])
    assert rates(2, warm_up=4) == pytest.approx([rates(2)[0] / 2])


def test_it_is_json():
    recipe = Recipe(3, steps=(0.25,), schedule="step")
    assert json.loads(json.dumps(recipe.as_json())) == recipe.as_json()
    assert recipe.as_json()["steps"] == [0.25]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"epochs": 2.5}, "epochs must be an integer >= 1, got 2.5"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number >= 0, got nan"),
        ({"momentum": 1}, r"momentum must be in \[0, 1\), got 1"),
        ({"schedule": "linear"}, "schedule must be one of cosine, step, constant, got 'linear'"),
        ({"steps": (0.5, 1.0)}, r"steps must be fractions .*got \(0.5, 1.0\)"),
        ({"step_factor": 0}, r"step_factor must be in \(0, 1\], got 0"),
        ({"warm_up": 6}, "warm_up must be from 0 to 5 epochs, got 6"),
        ({"label_smoothing": 1}, r"label_smoothing must be in \[0, 1\), got 1"),
    ],
)
def test_settings_outside_of_their_ranges_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe(**{"epochs": 5, **settings})
