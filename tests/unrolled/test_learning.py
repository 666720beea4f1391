"""Learning a prior: exact resume, divergence, what is drawn, and what is refused."""

import sys

import numpy as np
import pytest
from skimage.data import camera, coffee

from csc_cogd import DeviceError, InputError, Prior, learn_prior
from csc_cogd.backend import get_backend
from csc_cogd.unrolled import training
from csc_cogd.unrolled.network import Network, Shape
from csc_cogd.unrolled.photographs import Photographs, as_planes

TINY = {"n_iter": 2, "crop": 24, "batch_size": 2}


@pytest.fixture(scope="module")
def photos():
    return [camera()[100:220, 200:330], camera()[150:250, 40:160]]


def learn(photos, steps, **options):
    return learn_prior(photos, n_filters=6, filter_size=5, steps=steps, **TINY | options)


def test_it_learns_to_take_off_noise(photos):
    held_out, told = [camera()[100:400, 100:400]], []
    prior = learn_prior(
        photos,
        n_filters=16,
        filter_size=5,
        n_iter=3,
        crop=32,
        batch_size=4,
        steps=400,
        held_out=held_out,
        callback=told.append,
    )
    assert told[-1].step == 400
    assert told[-1].loss < 0.6 * told[0].loss
    psnr = prior.provenance["psnr"]["sigma 15, 25, 50"]
    before = [20 * np.log10(255 / sigma) for sigma in (15, 25, 50)]
    assert all(after > noisy + 2 for after, noisy in zip(psnr, before, strict=True))


def test_it_learns_to_fill_what_is_missing(photos):
    told = []
    prior = learn_prior(
        photos, noise="missing", n_filters=16, filter_size=5, n_iter=3, crop=32, batch_size=4, steps=300,
        held_out=[camera()[100:400, 100:400]], callback=told.append,
    )  # fmt: skip
    assert prior.noise == "missing"
    assert told[-1].loss < 0.9 * told[0].loss
    ((about, psnr),) = prior.provenance["psnr"].items()
    assert about == "share 0.5, 0.8, 0"
    assert psnr[0] > psnr[1] > 15


def test_a_photograph_held_out_of_which_no_line_or_block_is_drawn_misses_a_pixel_all_the_same(photos):
    small = [camera()[100 + i : 130 + i, 100:130] for i in range(4)]  # at half their size, 15 x 15
    prior = learn(photos, 1, noise="missing", held_out=small)
    assert np.isfinite(prior.provenance["psnr"]["share 0.5, 0.8, 0"]).all()


def test_color_is_not_learned_to_be_filled(photos):
    with pytest.raises(InputError, match="color isn't learned to be filled"):
        learn([coffee()[:60, :60]], 1, color=True, noise="missing")


@pytest.mark.parametrize("noise", ["white", "missing"])
def test_a_run_that_goes_on_gives_the_same_bits_as_one_that_was_not_interrupted(photos, tmp_path, noise):
    whole = learn(photos, 130, noise=noise)
    path, until = tmp_path / "run.npz", lambda progress: progress.step == 100
    interrupted = learn(photos, 130, noise=noise, checkpoint=path, checkpoint_every=10, callback=until)
    assert interrupted.provenance["steps"] == 100
    resumed = learn(photos, 130, noise=noise, checkpoint=path)
    np.testing.assert_array_equal(resumed.network.vector, whole.network.vector)
    assert not np.array_equal(interrupted.network.vector, whole.network.vector)


def test_a_run_cut_off_by_force_goes_on_from_its_last_checkpoint(photos, tmp_path):
    def interrupt(progress):
        raise KeyboardInterrupt

    path, whole = tmp_path / "run.npz", learn(photos, 110)
    with pytest.raises(KeyboardInterrupt):
        learn(photos, 110, checkpoint=path, checkpoint_every=30, callback=interrupt)
    np.testing.assert_array_equal(learn(photos, 110, checkpoint=path).network.vector, whole.network.vector)


def test_threads_change_no_bit(photos):
    one, two = (learn(photos, 5, threads=threads).network.vector for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_a_seed_is_a_run(photos):
    first, again, other = (learn(photos, 3, seed=seed).network.vector for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_run_that_diverges_steps_back_and_goes_on(photos, monkeypatch):
    told, gradient = [], training._batch_gradient

    def wild(network, photographs, recipe, step, backend):
        loss, direction = gradient(network, photographs, recipe, step, backend)
        return (np.nan if step == 150 else loss), direction

    monkeypatch.setattr(training, "_batch_gradient", wild)
    prior = learn(photos, 200, callback=told.append)
    assert [progress.setbacks for progress in told] == [0, 1, 1]
    assert np.isfinite(prior.network.vector).all()
    assert told[-1].loss < 1.5 * told[0].loss


def test_a_large_rate_does_not_end_in_ruin(photos):
    prior = learn(photos, 300, learning_rate=3.0)
    image = camera()[100:164, 200:264] / 255.0
    assert np.isfinite(prior(image, 0.1)).all()


def test_it_goes_on_from_another_prior(photos):
    first = learn(photos, 5)
    second = learn_prior(photos, start=first, steps=5, **TINY)
    assert second.network.shape == first.network.shape
    assert second.provenance["start"]["steps"] == 5
    with pytest.raises(InputError, match="start"):
        learn_prior(photos, n_filters=8, start=first, steps=5, **TINY)


def test_a_checkpoint_of_another_run_is_refused(photos, tmp_path):
    path = tmp_path / "run.npz"
    learn(photos, 2, checkpoint=path)
    with pytest.raises(InputError, match="seed"):
        learn(photos, 2, checkpoint=path, seed=5)
    with pytest.raises(InputError, match="photographs"):
        learn(photos[:1], 2, checkpoint=path)
    np.savez(path, vector=np.ones(3))
    with pytest.raises(InputError, match="not a checkpoint"):
        learn(photos, 2, checkpoint=path)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"run\.npz"):
        learn(photos, 2, checkpoint=path)


def test_minutes_end_it(photos):
    prior = learn(photos, None, minutes=0.01)
    assert prior.provenance["steps"] > 0
    assert prior.provenance["minutes"] < 1


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"steps": 0}, "steps"), ({"minutes": -1.0}, "minutes"), ({"batch_size": 0}, "batch_size"), ({"crop": 4}, "crop"),
        ({"learning_rate": np.inf}, "learning_rate"), ({"seed": -1}, "seed"), ({"noise": "impulse"}, "noise"),
        ({"n_iter": 0}, "n_iter"), ({"crop": 500}, "images"), ({"color": True}, "images"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(photos, options, argument):
    with pytest.raises(InputError, match=argument):
        learn(photos, **{"steps": 1} | options)


@pytest.mark.parametrize("noise", ["white", "missing", "camera"])
def test_a_gpu_learns_the_same(cuda, photos, noise, tmp_path, monkeypatch):
    path, options = tmp_path / "run.npz", {"noise": noise, "learning_rate": 0.5, "held_out": [camera()[100:160, 100:160]]}
    cpu, gpu = (learn(photos, 3, device=device, **options) for device in ("cpu", "cuda"))
    psnr, same = (next(iter(prior.provenance["psnr"].values())) for prior in (cpu, gpu))
    np.testing.assert_allclose(same, psnr, atol=0.02)
    cpu, gpu, start = (one.network.vector for one in (cpu, gpu, learn(photos, 1, device="cpu", **options)))
    moved = abs(cpu - start)
    assert moved.max() > 5e-3
    assert abs(gpu - cpu).mean() < 0.01 * moved.mean()  # Adam takes whole steps by gradients that are next to nothing
    monkeypatch.setattr(training, "CHECK_EVERY", 2)
    learn(photos, 3, device="cuda", checkpoint=path, callback=lambda progress: True, **options)
    np.testing.assert_array_equal(learn(photos, 3, device="cuda", checkpoint=path, **options).network.vector, gpu)


@pytest.mark.parametrize("noise", ["white", "missing"])
def test_pieces_together_have_the_gradient_of_all_of_them(cuda, photos, noise):
    recipe, rng = training.Recipe(1, crop=24, noise=noise), np.random.default_rng(3)
    photographs = Photographs(photos, 1, 24)
    pieces = [training.draw_piece(photographs, recipe, rng) for _ in range(3)]
    network = Network.random(Shape(1, 6, 5, 2, 3), rng)
    loss, gradient = training.pieces_gradient(network, pieces)
    losses, gradients = zip(*(training.pieces_gradient(network, [piece]) for piece in pieces), strict=True)
    assert loss == pytest.approx(sum(losses), rel=1e-5)
    np.testing.assert_allclose(gradient, sum(gradients), atol=1e-5 * abs(sum(gradients)).max())
    there = network.on(get_backend("cuda"))
    loss, gradient = training.pieces_gradient(there, pieces)
    assert loss == pytest.approx(sum(losses), rel=1e-5)
    np.testing.assert_allclose(gradient.get(), sum(gradients), atol=1e-5 * abs(sum(gradients)).max())


def test_a_gpu_that_is_not_there_is_refused_not_ignored(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="CuPy isn't installed"):
        learn(photos, 1, device="cuda")


def test_images_that_are_none_are_refused():
    for image, problem in [
        (np.ones((3, 3, 4)), "must be"),
        (np.full((40, 40), 2.0), "0, 1"),
        (np.ones((40, 40), bool), "must be"),
    ]:
        with pytest.raises(InputError, match=problem):
            learn_prior([image], steps=1, **TINY)
    with pytest.raises(InputError, match="at least one"):
        learn_prior([], steps=1)


def test_pieces_are_drawn_by_their_detail():
    image = np.full((200, 200), 128, np.uint8)
    image[:100] = np.random.default_rng(0).integers(0, 255, (100, 200))
    photographs, rng = Photographs([image], 1, 32), np.random.default_rng(1)
    detailed = [photographs.draw(rng)[0].std() > 0.05 for _ in range(200)]
    assert 0.75 < np.mean(detailed) < 1


def test_the_mean_of_the_whole_photograph_comes_with_a_piece():
    image = np.full((64, 64), 51, np.uint8)
    image[:, 32:] = 153
    photographs, rng = Photographs([image], 1, 16), np.random.default_rng(1)
    pieces = [photographs.draw(rng) for _ in range(20)]
    np.testing.assert_allclose([mean for _, mean in pieces], 0.4, atol=1e-3)
    assert len({float(piece.mean()) for piece, _ in pieces}) > 1


def test_pieces_are_turned_and_mirrored():
    ramp = np.add.outer(np.arange(40) * 3, np.arange(40)).astype(np.uint8)
    photographs, rng = Photographs([ramp], 1, 40), np.random.default_rng(1)
    assert len({photographs.draw(rng)[0].tobytes() for _ in range(100)}) == 8


def test_gray_is_the_luminance_of_color_whatever_the_type():
    color = coffee()[:40, :40]
    eight, sixteen, fraction = (as_planes(each, 1) for each in (color, color.astype(np.uint16) * 257, color / 255))
    np.testing.assert_allclose(sixteen, fraction, atol=1e-3)
    np.testing.assert_allclose(eight, fraction, atol=0.51)
    assert as_planes(color, 3).shape == (3, 40, 40)


def test_color_is_learned(photos):
    prior = learn_prior([coffee()[:100, :100]], color=True, n_filters=6, filter_size=5, steps=3, **TINY)
    assert isinstance(prior, Prior)
    assert prior.kind == "color"
    assert prior.dictionary.n_channels == 3


@pytest.mark.parametrize("color", [False, True])
def test_a_camera_s_noise_is_learned_and_the_run_goes_on_to_the_same_bits(color, tmp_path):
    photographs, path = [coffee()[:120, :120]], tmp_path / "run.npz"
    options = {"color": color, "noise": "camera", "n_filters": 8, "filter_size": 5, **TINY}
    whole = learn_prior(photographs, steps=110, held_out=[coffee()[100:300, 100:300]], **options)
    assert len(whole.provenance["psnr"]["shot 0.0003, 0.001, 0.003"]) == 3
    learn_prior(photographs, steps=110, checkpoint=path, callback=lambda progress: progress.step == 100, **options)
    resumed = learn_prior(photographs, steps=110, checkpoint=path, **options)
    np.testing.assert_array_equal(resumed.network.vector, whole.network.vector)
    with pytest.raises(InputError, match="noise"):
        learn_prior(photographs, steps=110, checkpoint=path, **options | {"noise": "white"})
