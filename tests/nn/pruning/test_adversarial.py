"""Adversarial learning of masks."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Tensor, build_network
from csc_cogd.nn.functions import mse
from csc_cogd.nn.pruning.adversarial import AdversarialLoss, AdversarialPruning, Discriminator
from csc_cogd.nn.pruning.masks import insert_masks, masks_of


@pytest.fixture
def teacher():
    return build_network("resnet20")


@pytest.fixture
def batch(rng):
    return Tensor(rng.standard_normal((4, 3, 8, 8)).astype(np.float32)), np.array([0, 3, 3, 9])


def followed(settings, network, teacher, batch, steps=1):
    """What a hook says after an epoch of steps on one batch, in which only masks and discriminator move."""
    pruning = AdversarialPruning(network, teacher, settings, 10)
    pruning.begin_epoch(network, 0)
    for _ in range(steps):
        network.zero_grad()
        loss, _ = pruning.loss(network, *batch)
        loss.backward()
        pruning.after_backward(network)
        pruning.after_step(network)
    return pruning, float(loss), pruning.end_epoch(network, 0)


def test_a_student_like_its_teacher_has_no_distance_to_it(teacher, batch):
    teacher.eval()
    _, loss, _ = followed(AdversarialLoss(adversarial=0.0), insert_masks(teacher).eval(), teacher, batch)
    assert loss == 0


def test_the_parts_of_the_loss_add_up(teacher, batch):
    student = insert_masks(teacher, mask_start="uniform").eval()
    parts = ({"mse": 2.0}, {"adversarial": 0.5}, {"label": 1.5}, {"distillation": 3.0})
    none = dict.fromkeys(("mse", "adversarial", "label", "distillation"), 0.0)
    losses = []
    for weights in (*parts, {name: value for part in parts for name, value in part.items()}):
        pruning = AdversarialPruning(student, teacher, AdversarialLoss(**none | weights), 10)
        losses.append(float(pruning.loss(student, *batch)[0]))
    assert losses[-1] == pytest.approx(sum(losses[:-1]), rel=1e-5)
    distance = mse(student(batch[0]), teacher.eval()(batch[0]))
    assert losses[0] == pytest.approx(2 * float(distance), rel=1e-5)


def test_on_a_gpu_it_is_the_same(cuda, teacher, rng):
    x, labels = rng.standard_normal((2, 3, 4, 4)).astype(np.float32), np.array([0, 9])
    found = []
    for xp, device in ((np, "cpu"), (cuda, "cuda")):
        there = teacher.to(device)
        student, given = insert_masks(there, mask_start="uniform").eval(), (Tensor(xp.asarray(x)), xp.asarray(labels))
        _, loss, told = followed(AdversarialLoss(label=1.0), student, there, given)
        found.append([loss, *told.values()])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_masks_of_no_use_go_to_zero_and_sgd_does_not_see_them(teacher, batch):
    student = insert_masks(teacher)
    for _, mask in masks_of(student).items():
        mask.array = np.where(np.arange(len(mask.array)) == 0, 1.0, 0.02).astype(np.float32)
    settings = AdversarialLoss(sparsity=5.0, mask_learning_rate=0.01)
    _, _, told = followed(settings, student, teacher, batch)
    assert told["masks_at_zero"] > 0.8
    assert all(mask.grad is None for mask in masks_of(student).values())
    assert all(mask.array.min() >= 0 for mask in masks_of(student).values())


def test_the_discriminator_learns_to_tell_them_apart(teacher, batch):
    student = insert_masks(teacher, mask_start="uniform")
    settings = AdversarialLoss(sparsity=0.0, mask_learning_rate=1e-6, discriminator_learning_rate=0.002)
    _, _, told_first = followed(settings, student, teacher, batch)
    last, _, told_last = followed(settings, student, teacher, batch, steps=40)
    assert told_last["discriminator_loss"] < told_first["discriminator_loss"]
    fake, real = student(batch[0]), teacher.eval()(batch[0])
    assert last.discriminator(real).array.mean() > last.discriminator(fake).array.mean()


def test_the_teacher_stays_as_it_is(teacher, batch):
    before = teacher.state_dict()
    followed(AdversarialLoss(), insert_masks(teacher), teacher, batch, steps=2)
    assert all((before[name] == array).all() for name, array in teacher.state_dict().items())
    assert teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_its_state_goes_on_where_it_was(teacher, batch):
    student = insert_masks(teacher, mask_start="uniform")
    pruning, _, _ = followed(AdversarialLoss(), student, teacher, batch, steps=3)
    again = AdversarialPruning(student, teacher, AdversarialLoss(), 10, seed=9)
    again.load_state_dict(pruning.state_dict())
    logits = Tensor(np.ones((1, 10), np.float32))
    np.testing.assert_array_equal(again.discriminator(logits).array, pruning.discriminator(logits).array)
    assert again.state_dict().keys() == pruning.state_dict().keys()


def test_the_discriminator_returns_logits(rng):
    """Not probabilities: the loss has the sigmoid."""
    values = Discriminator(10, rng)(Tensor(100 * rng.standard_normal((50, 10)).astype(np.float32))).array
    assert values.shape == (50, 1)
    assert values.min() < 0
    assert abs(values).max() > 1


@pytest.mark.parametrize(
    "bad", [{"sparsity": -1}, {"temperature": 0}, {"mask_interval": 0}, {"mask_learning_rate": float("nan")},
            {"mse": 0, "adversarial": 0}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        AdversarialLoss(**bad)


def test_a_student_without_masks_is_refused(teacher):
    with pytest.raises(InputError, match="network must have soft masks"):
        AdversarialPruning(teacher, teacher, AdversarialLoss(), 10)
