"""Evaluation: against plain NumPy, and real weights on real pictures."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Normalization, Tensor, build_network, evaluate, load_checkpoint, load_images, predict
from tests.nn.training.small import HALF, SmallNetwork, small_images


def test_logits_come_in_order_whatever_the_batches():
    network, images = SmallNetwork(), small_images(11)
    x = ((images.images / 255 - 0.5) / 0.5).astype(np.float32).transpose(0, 3, 1, 2)
    with network.evaluating():
        expected = np.concatenate([network(Tensor(np.ascontiguousarray(x[n : n + 1]))).array for n in range(11)])
    network.bn.training = False
    for batch_size in (1, 4, 250):
        logits = predict(network, images, normalization=HALF, batch_size=batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert (network.training, network.bn.training) == (True, False)


def test_pixels_need_no_labels_for_their_logits():
    network, images = SmallNetwork(), small_images(5)
    expected = predict(network, images, normalization=HALF)
    np.testing.assert_array_equal(predict(network, images.images, normalization=HALF), expected)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 6, 6, 3)), r"images must be uint8 of shape \(N, H, W, 3\), got float64 of \(2, 6, 6, 3\)"),
        (np.zeros((6, 6, 3), np.uint8), r"images must be uint8 .*got uint8 of \(6, 6, 3\)"),
        (np.zeros((2, 3, 6, 6), np.uint8), r"images must be uint8 .*got uint8 of \(2, 3, 6, 6\)"),
        (np.zeros((0, 6, 6, 3), np.uint8), "images must not be empty"),
        ("a.png", "images must be uint8 .*got <U5 of"),
        (None, "images must be uint8 .*got object of"),
    ],
)
def test_pixels_of_another_kind_are_refused(pixels, message):
    with pytest.raises(InputError, match=message):
        predict(SmallNetwork(), pixels, normalization=HALF)


def test_loss_and_accuracy_are_means_over_the_images():
    network, images = SmallNetwork(), small_images(30)
    logits = predict(network, images, normalization=HALF).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = [-np.log(shares[n, label]) for n, label in enumerate(images.labels)]
    right = [int(shares[n, label] == shares[n].max()) for n, label in enumerate(images.labels)]
    found = evaluate(network, images, normalization=HALF, batch_size=7)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.accuracy == sum(right) / 30


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_no_result(value):
    network = SmallNetwork()
    network.linear.bias.array[1] = value
    with pytest.raises(InputError, match=r"network must have a finite loss .*got (nan|inf): use other weights"):
        evaluate(network, small_images(5), normalization=HALF)


def test_a_network_on_a_gpu_answers_in_main_memory(cuda):
    network, images = SmallNetwork(), small_images(5)
    expected = predict(network, images, normalization=HALF)
    logits = predict(network.to("cuda"), images, normalization=HALF, batch_size=2)
    assert type(logits) is np.ndarray
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_pretrained_weights_predict_what_they_do_in_pytorch(research_data, pytorch):
    arrays, about = load_checkpoint(research_data / "weights" / "resnet20_cifar10.safetensors")
    network = build_network("resnet20")
    network.load_state_dict(arrays)
    images = load_images(research_data / "cifar10", "test").first(500)
    logits = predict(network, images, normalization=Normalization(about["norm_mean"], about["norm_std"]))
    np.testing.assert_array_equal(logits.argmax(axis=1), pytorch["resnet20 predictions"])
    np.testing.assert_allclose(logits[:64], pytorch["resnet20 logits"], rtol=0, atol=1e-4)
