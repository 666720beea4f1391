"""Which channels stay within a budget."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    FlopsModel,
    build_network,
    channel_groups,
    channel_scores,
    count_flops,
    keep_share,
    keep_within,
    remove_channels,
)  # fmt: skip

SCORES = {"a": np.array([5.0, 1.0, 4.0, 2.0, 3.0]), "b": np.array([0.1, 9.0, 0.3, 0.2])}


def widths(kept):
    return {name: len(channels) for name, channels in kept.items()}


def inner_scores(model, kind="l1"):
    return {name: np.arange(group.n_channels, 0.0, -1) for name, group in model.groups.items() if group.inner}


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2", "resnet50"])
def test_flops_are_foretold(name, rng):
    network = build_network(name)
    model = FlopsModel(network)
    assert model.flops() == count_flops(network)
    kept = {name: rng.permutation(group.n_channels)[: 1 + group.n_channels // 3] for name, group in model.groups.items()}
    assert model.flops(widths(kept)) == count_flops(remove_channels(network, kept))


@pytest.mark.parametrize(
    ("name", "millions", "share"),
    [
        ("resnet18", 276.3, 0.49), ("resnet18", 426.8, 0.765), ("resnet56", 49.8, 0.395), ("resnet56", 83.0, 0.66),
        ("resnet110", 93.8, 0.37), ("resnet110", 135.5, 0.535), ("mobilenetv2", 49.96, 0.495),
    ],
)  # fmt: skip
def test_the_share_of_first_convolutions_decides_the_flops(name, millions, share):
    model = FlopsModel(build_network(name))
    scores = inner_scores(model)
    assert model.flops(widths(keep_share(scores, share))) == pytest.approx(1e6 * millions, rel=0.02)
    kept = keep_within(model, scores, 1e6 * millions)
    assert sum(widths(kept).values()) / sum(map(len, scores.values())) == pytest.approx(share, abs=0.01)


def test_resnet56_keeps_the_paper_s_budget():
    model = FlopsModel(build_network("resnet56"))
    for ranking in ("uniform", "global"):
        flops = model.flops(widths(keep_within(model, inner_scores(model), 48.90e6, ranking=ranking)))
        assert 48.6e6 < flops <= 48.90e6
        fraction = model.flops(widths(keep_within(model, inner_scores(model), 48.90 / 125.485696, ranking=ranking)))
        assert fraction == flops


def test_the_best_stay_in_each_group_or_of_all():
    uniform = keep_share(SCORES, 0.5)
    assert {name: list(channels) for name, channels in uniform.items()} == {"a": [0, 2, 4], "b": [1, 2]}
    best = keep_share(SCORES, 0.5, ranking="global")  # 9, 5, 4, 3, 2
    assert {name: list(channels) for name, channels in best.items()} == {"a": [0, 2, 3, 4], "b": [1]}
    assert widths(keep_share(SCORES, 1)) == {"a": 5, "b": 4}


def test_no_group_is_left_empty_or_narrower_than_asked():
    for ranking in ("uniform", "global"):
        assert widths(keep_share(SCORES, 0, ranking=ranking)) == {"a": 1, "b": 1}
        assert widths(keep_share(SCORES, 0, ranking=ranking, at_least=3)) == {"a": 3, "b": 3}
        assert widths(keep_share(SCORES, 0.2, ranking=ranking, at_least=7)) == {"a": 5, "b": 4}


def test_widths_are_multiples_unless_the_group_is_narrower():
    scores = {"a": np.arange(64.0), "b": np.arange(10.0), "c": np.arange(5.0)}
    assert widths(keep_share(scores, 0.33, multiple_of=8)) == {"a": 24, "b": 8, "c": 5}
    assert widths(keep_share(scores, 1, multiple_of=8)) == {"a": 64, "b": 10, "c": 5}
    model = FlopsModel(build_network("resnet56"))
    kept = keep_within(model, inner_scores(model), 0.5, multiple_of=8)
    assert all(width % 8 == 0 for width in widths(kept).values())
    assert 0.45 < model.flops(widths(kept)) / model.flops() <= 0.5


def test_a_budget_that_is_large_enough_removes_nothing():
    model = FlopsModel(build_network("resnet20"))
    assert model.flops(widths(keep_within(model, inner_scores(model), 1))) == model.flops()
    assert model.flops(widths(keep_within(model, inner_scores(model), 1e12))) == model.flops()


def test_all_groups_go_further_than_inner_ones():
    network = build_network("resnet20")
    model, groups = FlopsModel(network), channel_groups(network)
    with pytest.raises(InputError, match=r"budget must be at least \d+ FLOPs \(4.8 %\), .*got 0.02"):
        keep_within(model, inner_scores(model), 0.02)
    kept = keep_within(model, channel_scores(network, groups, "group"), 0.02, ranking="global")
    assert count_flops(remove_channels(network, kept)) == model.flops(widths(kept)) <= 811021


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
        ({"share": 0.5, "ranking": "best"}, "ranking must be 'uniform' or 'global', got 'best'"),
        ({"share": 0.5, "at_least": 0}, "at_least must be 1 or more, got 0"),
        ({"share": 0.5, "multiple_of": 0}, "multiple_of must be 1 or more, got 0"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        keep_share(SCORES, **options)
