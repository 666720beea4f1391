"""Pruning from beginning to end."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    AdversarialLoss,
    ImageSet,
    Normalization,
    PruningRecipe,
    Recipe,
    build_network,
    predict,
    prune,
)  # fmt: skip
from csc_cogd.nn.pruning.masks import masks_of
from tests.nn.training.small import HALF, small_images

MASKS = Recipe(2, batch_size=6, learning_rate=0.01)
TUNING = Recipe(1, batch_size=6, learning_rate=0.01)


@pytest.fixture(scope="module")
def images():
    return small_images()


@pytest.fixture(scope="module")
def network(images):
    return build_network("resnet20", len(images.class_names), seed=3)


def recipe(method, **others):
    masks = MASKS if method in ("cogd", "gal") else None
    return PruningRecipe(method, **{"budget": 0.5, "masks": masks} | others)


@pytest.mark.parametrize("method", ["cogd", "gal", "l1", "group", "taylor"])
def test_a_budget_is_kept_and_the_network_stays_as_it_was(method, network, images):
    before = network.state_dict()
    stages = []
    done = prune(
        network, images, recipe(method, fine_tuning=TUNING), normalization=HALF,
        progress=lambda progress: stages.append(progress.stage),
    )  # fmt: skip
    assert 0.45 * done.before.flops < done.after.flops <= 0.5 * done.before.flops
    assert done.after.parameters < done.before.parameters
    assert not masks_of(done.network)
    assert len(done.fine_tuning) == 1
    assert (done.masks is None) == (method in ("l1", "group", "taylor"))
    assert list(dict.fromkeys(stages)) == ["fine-tuning"] if done.masks is None else ["masks", "fine-tuning"]
    assert all((before[name] == array).all() for name, array in network.state_dict().items())


def test_masks_that_are_off_are_removed_with_equal_outputs(network, images):
    """By a threshold of 0, without a budget: what is left computes what the masked network did."""
    loss = AdversarialLoss(sparsity=3.0, mask_learning_rate=0.1)
    rough = recipe("gal", budget=None, threshold=0.0, loss=loss)
    done = prune(network, images, rough, normalization=HALF)
    assert done.masks[-1].figures["masks_at_zero"] > 0.1
    assert done.after.flops < done.before.flops
    assert min(map(len, done.kept.values())) >= 1
    assert np.isfinite(predict(done.network, images, normalization=HALF)).all()


def test_cogradient_descent_moves_masks_and_nothing_else_differs(network, images):
    loss = AdversarialLoss(sparsity=1.0, mask_learning_rate=0.3)
    plain = prune(network, images, recipe("gal", loss=loss), normalization=HALF)
    moved = prune(network, images, recipe("cogd", loss=loss), normalization=HALF)
    assert moved.masks[0].loss == plain.masks[0].loss
    assert moved.masks[0].figures["masks_backtracked"] > 0
    assert moved.masks[1].loss != plain.masks[1].loss


def test_a_run_that_is_cut_off_goes_on_to_the_same_network(network, images, tmp_path):
    how = recipe("cogd", fine_tuning=Recipe(2, batch_size=6, learning_rate=0.01))
    expected = prune(network, images, how, normalization=HALF).network.state_dict()

    class CutOffError(Exception):
        pass

    for wanted in (("masks", 2), ("fine-tuning", 2)):

        def watch(progress, wanted=wanted):
            if (progress.stage, progress.epoch) == wanted:
                raise CutOffError

        with pytest.raises(CutOffError):
            prune(
                network, images, how, normalization=HALF, checkpoint=tmp_path / "run", resume=wanted[0] != "masks",
                progress=watch,
            )  # fmt: skip
    found = prune(network, images, how, normalization=HALF, checkpoint=tmp_path / "run", resume=True).network.state_dict()
    assert found.keys() == expected.keys()
    assert all((expected[name] == array).all() for name, array in found.items())


def test_without_a_discriminator_none_is_told_of(network, images):
    alone = prune(network, images, recipe("gal", loss=AdversarialLoss(adversarial=0)), normalization=HALF)
    assert [sorted(epoch.figures) for epoch in alone.masks] == [["mask_mean", "masks_at_zero"]] * MASKS.epochs


def test_a_teacher_alone_needs_no_labels(network, images):
    """What is fine-tuned by the teacher's predictions only comes to the same weights whatever the labels are."""
    wrong = ImageSet(images.images, 1 - images.labels, images.class_names)
    ends = []
    for share, seen in ((1.0, images), (1.0, wrong), (0.5, images), (0.5, wrong), (0.0, images)):
        done = prune(network, seen, recipe("group", fine_tuning=TUNING, teacher=share), normalization=HALF)
        ends.append(done.network.state_dict()["linear.weight"])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert abs(ends[2] - ends[3]).max() > 1e-4
    assert abs(ends[2] - ends[4]).max() > 1e-4


def test_another_teacher_is_another_run(network, images, tmp_path):
    def run(share):
        how = recipe("l1", fine_tuning=TUNING, teacher=share)
        prune(network, images, how, normalization=HALF, checkpoint=tmp_path / "run", resume=True)

    run(0.5)
    with pytest.raises(InputError, match=r"another run \(its teacher is 0.5, not 0.25\)"):
        run(0.25)


def test_residual_paths_may_be_pruned_too(network, images):
    inside = prune(network, images, recipe("group"), normalization=HALF)
    everywhere = prune(network, images, recipe("group", include_residual=True), normalization=HALF)
    assert len(everywhere.kept) > len(inside.kept)
    assert len(everywhere.network.state_dict()["conv1.weight"]) < 16


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"method": "magic"}, "method must be one of .*got 'magic'"),
        ({"threshold": 0.1}, "budget can't be combined with a threshold"),
        ({"budget": None}, "budget is needed: add budget, or threshold"),
        ({"budget": -1}, "budget must be .*got -1"),
        ({"budget": None, "threshold": -1}, "threshold must be a finite number >= 0, got -1"),
        ({"teacher": 1.5}, r"teacher must be in \[0, 1\], got 1.5"),
        ({"teacher": 0.5}, "teacher is for fine-tuning, which is off"),
        ({"masks": None}, "masks must be a recipe for the masks that method 'cogd' trains"),
        ({"method": "l1"}, "masks has no effect with method 'l1'"),
        ({"method": "gal", "reset_value": 0.75}, "reset_value has no effect with method 'gal'"),
        ({"include_residual": True}, "include_residual has no effect"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        PruningRecipe(**{"method": "cogd", "budget": 0.5, "masks": MASKS} | bad)


def test_a_budget_that_is_too_small_is_refused_before_anything_is_measured(network, images):
    with pytest.raises(InputError, match="budget"):
        prune(network, images, recipe("l1", budget=1000.0), normalization=HALF)


@pytest.mark.parametrize("method", ["l1", "gal"])
def test_a_network_that_is_not_finite_is_refused(method, images):
    network = build_network("resnet20", 2)
    network.linear.weight.array[1, 7] = np.inf  # belongs to no group inside of blocks
    with pytest.raises(InputError, match=r"network must be finite, but linear.weight holds NaN or infinity"):
        prune(network, images, recipe(method), normalization=HALF)


def test_other_classes_than_the_networks_are_refused(images):
    with pytest.raises(InputError, match="labels"):
        prune(
            build_network("resnet20", 1),
            images,
            recipe("l1", fine_tuning=TUNING),
            normalization=Normalization((0.5,) * 3, (0.5,) * 3),
        )
