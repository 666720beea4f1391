"""The loop: against plain NumPy, its determinism, hooks, losses, devices, failures."""

import weakref

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import EpochHook, Module, Recipe, evaluate, load_checkpoint, train
from csc_cogd.nn.functions import cross_entropy, global_avg_pool2d, max_pool2d
from csc_cogd.nn.layers import Identity, Linear
from tests.nn.training.small import HALF, SmallNetwork, small_images


def trained(recipe, images=None, network=None, **settings):
    """State and history of a training."""
    network = network or SmallNetwork()
    history = train(network, images or small_images(), recipe, normalization=HALF, **settings)
    return network.state_dict(), history


def assert_equal_states(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


class Regression(Module):
    """Softmax regression on the mean color."""

    def __init__(self):
        self.linear = Linear(3, 2, np.random.default_rng(5))

    def forward(self, x):
        return self.linear(global_avg_pool2d(x))


def softmax_regression(x, labels, weight, bias, recipe):
    """Weights and losses of Nesterov's method with the batch of all images, by the formulas."""
    velocity_of_weight, velocity_of_bias, losses = 0, 0, []
    targets = np.eye(2)[labels] * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
    for epoch in range(recipe.epochs):
        logits = x @ weight.T + bias
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-(targets * np.log(shares)).sum() / len(x))
        slopes = (shares - targets) / len(x)
        g_weight, g_bias = slopes.T @ x + recipe.weight_decay * weight, slopes.sum(axis=0) + recipe.weight_decay * bias
        velocity_of_weight = recipe.momentum * velocity_of_weight + g_weight
        velocity_of_bias = recipe.momentum * velocity_of_bias + g_bias
        rate = recipe.learning_rate * (1 + np.cos(np.pi * epoch / recipe.epochs)) / 2
        weight = weight - rate * (g_weight + recipe.momentum * velocity_of_weight)
        bias = bias - rate * (g_bias + recipe.momentum * velocity_of_bias)
    return weight, bias, losses


def test_it_does_what_the_formulas_say():
    images, network = small_images(), Regression()
    recipe = Recipe(12, batch_size=24, nesterov=True, weight_decay=0.01, label_smoothing=0.1)
    x = (images.images.reshape(24, -1, 3).mean(axis=1) / 255 - 0.5) / 0.5
    start = {name: array.astype(float) for name, array in network.state_dict().items()}
    weight, bias, losses = softmax_regression(x, images.labels, start["linear.weight"], start["linear.bias"], recipe)
    state, history = trained(recipe, images, network)
    np.testing.assert_allclose(state["linear.weight"], weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state["linear.bias"], bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([epoch.loss for epoch in history], losses, rtol=1e-5)


def test_it_learns_and_says_how_it_went():
    seen, network = [], SmallNetwork()
    recipe = Recipe(8, batch_size=10, learning_rate=0.2)
    _, history = trained(recipe, network=network, test=small_images(60, seed=1), progress=seen.append)
    assert [epoch.epoch for epoch in history] == list(range(1, 9))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].test_accuracy > 0.9
    found = evaluate(network, small_images(60, seed=1), normalization=HALF)
    assert (history[-1].test_loss, history[-1].test_accuracy, 1.0) == found
    assert all(epoch.seconds > 0 for epoch in history)
    assert [(p.epoch, p.batch) for p in seen] == [(epoch, batch) for epoch in range(1, 9) for batch in (1, 2, 3)]
    assert {(p.epochs, p.batches) for p in seen} == {(8, 3)}
    assert [p.learning_rate for p in seen] == pytest.approx([recipe.learning_rate_at(n / 3) for n in range(24)])
    for epoch, last in zip(history, seen[2::3], strict=True):
        assert (epoch.loss, epoch.accuracy, epoch.learning_rate) == (last.loss, last.accuracy, last.learning_rate)
    assert network.training


def test_the_seed_decides():
    recipe = Recipe(2, batch_size=7)
    first, _ = trained(recipe)
    assert_equal_states(first, trained(recipe)[0])
    other, _ = trained(Recipe(2, batch_size=7, seed=1))
    assert (first["conv.weight"] != other["conv.weight"]).any()


def test_loss_and_accuracy_count_each_image_once():
    """The batches are of 16 and of 8 images; nothing moves."""
    network = SmallNetwork()
    _, history = trained(Recipe(1, batch_size=16, learning_rate=0.0), network=network, loss=in_inference)
    assert (history[0].loss, history[0].accuracy) == pytest.approx(
        evaluate(SmallNetwork(), small_images(), normalization=HALF)[:2]
    )


def test_a_step_forgets_its_tape_before_the_next_one_is_recorded():
    """Or two of them are in memory at a time."""
    recorded = []

    def loss(network, x, labels):
        assert [logits() for logits in recorded] == [None] * len(recorded)
        logits = network(x)
        recorded.append(weakref.ref(logits.array))
        return cross_entropy(logits, labels), logits

    trained(Recipe(2, batch_size=8), loss=loss)
    assert len(recorded) == 6


class Watched(SmallNetwork):
    """Notes how many images it is given at a time, in training and in the test."""

    def __init__(self):
        super().__init__()
        self.sizes = {True: [], False: []}

    def forward(self, x):
        self.sizes[self.training].append(len(x.array))
        return super().forward(x)


def test_the_test_takes_no_more_images_at_a_time_than_training():
    network = Watched()
    trained(Recipe(1, batch_size=10), network=network, test=small_images(24, seed=1))
    assert network.sizes == {True: [10, 10, 4], False: [10, 10, 4]}


def test_an_image_left_over_alone_takes_part_in_the_last_step():
    """Batch norm of a single value knows no variance."""

    class Deep(Watched):
        """Its batch norm sees one pixel of an image."""

        def forward(self, x):
            self.sizes[self.training].append(len(x.array))
            y = self.bn(self.conv(max_pool2d(x, 6)))
            return self.linear(global_avg_pool2d(y))

    seen, network, recipe = [], Deep(), Recipe(2, batch_size=8)
    trained(recipe, small_images(25), network, progress=seen.append)
    assert network.sizes[True] == [8, 8, 9] * 2
    assert recipe.batches(25) == 3
    assert [(p.batch, p.batches) for p in seen] == [(1, 3), (2, 3), (3, 3)] * 2
    assert [p.learning_rate for p in seen] == pytest.approx([recipe.learning_rate_at(n / 3) for n in range(6)])
    with pytest.raises(InputError, match="train with a larger batch"):
        trained(Recipe(1, batch_size=1), network=Deep())


def in_inference(network, x, labels):
    with network.evaluating():
        logits = network(x)
    return cross_entropy(logits, labels), logits


class Diary(EpochHook):
    def __init__(self):
        self.lines = []

    def begin_epoch(self, network, epoch):
        self.lines.append(f"begin {epoch}")
        self.before = network.conv.weight.array.copy()

    def after_backward(self, network):
        assert network.conv.weight.grad is not None
        self.lines.append("backward")

    def after_step(self, network):
        assert (network.conv.weight.array != self.before).any()
        self.lines.append("step")

    def end_epoch(self, network, epoch):
        self.lines.append(f"end {epoch}")
        return {"lines": len(self.lines)}


class Silent(EpochHook):
    """Wants nothing."""


def test_hooks_are_called_around_epochs_and_steps():
    diary = Diary()
    _, history = trained(Recipe(2, batch_size=12), hooks=[diary, Silent()])
    steps = ["backward", "step"] * 2
    assert diary.lines == ["begin 0", *steps, "end 0", "begin 1", *steps, "end 1"]
    assert [epoch.figures for epoch in history] == [{"lines": 6}, {"lines": 12}]


def test_a_hook_may_change_gradients():
    class Frozen(EpochHook):
        def after_backward(self, network):
            network.conv.weight.grad = None

    state, _ = trained(Recipe(1), hooks=[Frozen()])
    start = SmallNetwork().state_dict()
    np.testing.assert_array_equal(state["conv.weight"], start["conv.weight"])
    assert (state["linear.weight"] != start["linear.weight"]).any()


def test_the_loss_and_what_is_trained_can_be_chosen():
    def doubled(network, x, labels):
        logits = network(x)
        return cross_entropy(logits, labels) * 2.0, logits

    network = SmallNetwork()
    parameters = {"linear.weight": network.linear.weight}
    half = Recipe(1, batch_size=24, learning_rate=0.05, weight_decay=0)
    state, _ = trained(half, network=network, loss=doubled, parameters=parameters)
    whole = SmallNetwork()
    expected, _ = trained(Recipe(1, batch_size=24, weight_decay=0), network=whole)
    np.testing.assert_allclose(state["linear.weight"], expected["linear.weight"], rtol=1e-6)
    np.testing.assert_array_equal(state["conv.weight"], SmallNetwork().state_dict()["conv.weight"])


def test_a_true_return_value_of_the_callback_stops_it():
    seen = []
    _, history = trained(Recipe(5), callback=lambda epoch: seen.append(epoch) or epoch.epoch == 2)
    assert list(history) == seen
    assert [epoch.epoch for epoch in seen] == [1, 2]


def test_on_a_gpu_it_is_the_same(cuda):
    seen, expected = [], []
    recipe = Recipe(2, batch_size=10, weight_decay=0.01)
    on_cpu, _ = trained(recipe, progress=expected.append, test=small_images(9))
    network = SmallNetwork().to("cuda")
    state, _ = trained(recipe, network=network, progress=seen.append, test=small_images(9))
    assert type(network.conv.weight.array) is cuda.ndarray
    for name, array in on_cpu.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-4, atol=1e-5)
    assert [(p.epoch, p.batch) for p in seen] == [(p.epoch, p.batch) for p in expected]
    assert [p.loss for p in seen] == pytest.approx([p.loss for p in expected], rel=1e-4)


def test_it_trains_in_double_precision():
    state, _ = trained(Recipe(1), network=SmallNetwork().to("cpu", dtype="float64"))
    assert {array.dtype for array in state.values()} == {np.dtype("float64")}


class Spoiler(EpochHook):
    """Spoils the weights after the third batch."""

    def __init__(self):
        self.steps = 0

    def after_step(self, network):
        self.steps += 1
        if self.steps == 3:
            network.linear.bias.array[:] = np.inf


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.filterwarnings("ignore:.*(overflow|invalid).*:RuntimeWarning")
def test_a_loss_that_is_not_finite_ends_it_with_epoch_batch_and_remedy(device, request):
    network = SmallNetwork()
    if device == "gpu":
        request.getfixturevalue("cuda")
        network.to("cuda")
    message = r"learning_rate may be too high, as the loss is nan in epoch 2, batch 2: use less than 0.1, or add warm_up"
    with pytest.raises(InputError, match=message):
        trained(Recipe(3, batch_size=12), network=network, hooks=[Spoiler()])


def test_weights_that_the_last_step_spoils_are_not_saved(tmp_path):
    """Without a test, no loss would tell of it."""

    class Last(EpochHook):
        def end_epoch(self, network, epoch):
            if epoch:
                network.bn.running_var[2] = np.nan
            return {}

    path = tmp_path / "run.safetensors"
    with pytest.raises(
        InputError, match=r"learning_rate may be too high, as the array bn.running_var holds NaN .*after epoch 2"
    ):
        trained(Recipe(2), hooks=[Last()], checkpoint=path)
    assert load_checkpoint(path)[1]["epoch"] == 1


def test_a_network_without_parameters_is_refused():
    with pytest.raises(InputError, match="network must have parameters"):
        trained(Recipe(1), network=Identity())


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid).*:RuntimeWarning")
def test_a_test_that_is_not_finite_ends_it_before_anything_is_saved(tmp_path):
    class Spoiler(EpochHook):
        def end_epoch(self, network, epoch):
            network.linear.bias.array[:] = np.inf if epoch else 0
            return {}

    path = tmp_path / "run.safetensors"
    with pytest.raises(InputError, match=r"learning_rate may be too high, as the test loss is nan after epoch 2: use less"):
        trained(Recipe(3), hooks=[Spoiler()], test=small_images(9), checkpoint=path)
    assert load_checkpoint(path)[1]["epoch"] == 1
