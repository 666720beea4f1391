"""Priors: files checked at the door, tiles without seams, and what they make of images."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from skimage.data import astronaut, camera

from csc_cogd import Engine, InputError, Prior, psnr
from csc_cogd.unrolled.inference import cut, denoise_planes
from csc_cogd.unrolled.network import Network, Shape
from tests.conftest import read_only

BACKEND = Engine(device="cpu", threads=2).backend


@pytest.fixture(scope="module")
def prior():
    return Prior.default("gray")


@pytest.fixture(scope="module")
def tiny():
    return Prior(Network.random(Shape(1, 6, 5, 2, 3), np.random.default_rng(0)), {"of": "a test"})


@pytest.fixture(scope="module")
def color():
    return Prior(Network.random(Shape(3, 6, 5, 2, 2), np.random.default_rng(0)))


def noisy(image, sigma, seed=0):
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


@pytest.mark.parametrize(("sigma", "gain"), [(5, 1.5), (15, 6), (25, 7.5), (50, 10)])
def test_the_shipped_prior_takes_off_noise_of_any_level(prior, sigma, gain):
    clean = camera()[128:256, 200:328].astype(float)
    damaged = noisy(clean, sigma)
    restored = prior.denoise(damaged, sigma)
    assert psnr(restored, clean, data_range=255) > psnr(damaged, clean, data_range=255) + gain


def test_it_leaves_the_type_and_the_image_alone(prior):
    clean = camera()[100:150, 200:260]
    eight = prior.denoise(read_only(clean), 4.0)
    sixteen = prior.denoise(clean.astype(np.uint16) * 257, 4.0 * 257)
    assert (eight.dtype, eight.shape, sixteen.dtype) == (np.uint8, clean.shape, np.uint16)
    assert abs(eight.astype(float) - sixteen / 257).max() < 4
    assert prior.denoise(np.full((20, 20), 7, np.uint8), 10).tolist() == [[7] * 20] * 20


def test_a_map_of_sigmas_is_one_sigma_where_it_is_constant(prior):
    image = noisy(camera()[:40, :60] / 255.0, 0.1)
    np.testing.assert_array_equal(prior(image, np.full(image.shape, 0.1)), prior(image, 0.1))
    half = np.where(np.arange(60) < 30, 0.02, 0.2) * np.ones((40, 1))
    smooth = [abs(np.diff(prior(image, half)[:, part], axis=1)).mean() for part in (slice(22), slice(38, None))]
    assert smooth[1] < smooth[0] / 2


def test_tiles_leave_no_seam(tiny, prior):
    for each, side in ((tiny, 16), (tiny, 50), (prior, 64)):
        planes = noisy(camera()[:150, :131] / 255.0, 0.1)[None]
        tiled, whole = (denoise_planes(each.network, planes, 0.1, BACKEND, side=n) for n in (side, 1000))
        np.testing.assert_allclose(tiled, whole, atol=2e-6)


def test_the_halo_is_not_too_small_nor_much_too_large(tiny):
    """What is further away than the halo changes nothing; half of it isn't enough."""
    planes = noisy(camera()[:80, :80] / 255.0, 0.1)[None].astype(np.float32)
    planes -= planes.mean()
    network, halo = tiny.network, tiny.network.shape.halo
    mask, sigma = network.to_phases(np.ones_like(planes)), np.full(1600, 0.01, np.float32)

    def middle(rim):
        changed = planes.copy()
        changed[:, : 40 - rim] += 1
        return network.from_phases(
            network.decode(network.encode(network.to_phases(changed), mask, sigma), (40, 40)), (80, 80)
        )[0, 40]

    unchanged = network.from_phases(
        network.decode(network.encode(network.to_phases(planes), mask, sigma), (40, 40)), (80, 80)
    )[0, 40]
    np.testing.assert_array_equal(middle(halo), unchanged)
    assert not np.array_equal(middle(halo // 2), unchanged)


@pytest.mark.parametrize("shape", [(1, 1), (37, 200), (129, 64), (64, 96)])
def test_pieces_cover_an_image_once(shape):
    covered = np.zeros(shape, int)
    for piece in cut(shape, 64, 10, 2):
        covered[piece.core] += 1
        assert covered[piece.window][piece.inside].shape == covered[piece.core].shape
        assert all(part.start % 2 == 0 for part in piece.window)
    assert (covered == 1).all()


def test_threads_change_no_bit(tiny):
    image = noisy(camera()[:, :300], 20.0)
    np.testing.assert_array_equal(*(tiny.denoise(image, 20, threads=threads) for threads in (1, 2)))


def test_it_is_a_denoiser_of_arrays_in_any_layout(prior, color):
    image = noisy(astronaut()[100:140, 100:150] / 255, 0.1)
    first = np.moveaxis(image, -1, 0)
    apart = prior(first, 0.1)
    np.testing.assert_array_equal(apart[1], prior(first[1], 0.1))
    np.testing.assert_array_equal(color(image, 0.1), np.moveaxis(color(first, 0.1), 0, -1))
    assert prior(image[..., 0].astype(np.float32), 0.1).dtype == np.float32


def test_codes_and_dictionary_are_the_image_it_makes(tiny):
    image = noisy(camera()[:30, :40] / 255.0, 0.1).astype(np.float32)
    codes, filters = tiny.code(image, 0.05), tiny.dictionary.filters
    low, high = np.quantile(image.astype(float), (0.001, 0.999))
    total = np.zeros((40, 50))
    for (m, i, j), value in np.ndenumerate(codes):
        total[2 * i : 2 * i + 5, 2 * j : 2 * j + 5] += value * filters[m]
    first = (5 - 2) // 2
    made = total[first : first + 30, first : first + 40] * (high - low) + image.mean(dtype=np.float64)
    np.testing.assert_allclose(made, tiny.denoise(image, 0.05), atol=1e-4)


def test_files_hold_all_of_it(tiny, color, tmp_path):
    for number, one in enumerate((tiny, color)):
        path = tmp_path / f"{number}.safetensors"
        one.save(path)
        read = Prior.load(path)
        assert read.network.shape == one.network.shape
        assert read.provenance == one.provenance
        np.testing.assert_array_equal(read.network.vector, one.network.vector)
        with pytest.raises(InputError, match="exists"):
            one.save(path)


def changed(**changes):
    def change(arrays, about):
        arrays |= {name: value for name, value in changes.items() if name in arrays}
        about |= {name: value for name, value in changes.items() if name not in arrays}

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, about: arrays.pop("threshold"),
        lambda arrays, about: about.pop("kind"),
        changed(stride="two"),
        changed(stride="0"),
        changed(stride="9"),
        changed(format="99"),
        changed(threshold=np.full((3, 6), np.nan, np.float32)),
        changed(threshold=np.full((3, 6), -1, np.float32)),
        changed(threshold=np.zeros((3, 7), np.float32)),
        changed(dictionary=np.zeros((6, 2, 5, 5), np.float32)),
        changed(analysis=np.zeros((3, 6, 1, 5, 4), np.float32)),
        changed(analysis=np.zeros((3, 6), np.float32)),
    ],
)
def test_files_that_are_no_prior_are_refused(tiny, tmp_path, change):
    from csc_cogd.nn import load_checkpoint

    path = tmp_path / "prior.safetensors"
    tiny.save(path)
    arrays, _ = load_checkpoint(path)
    about = {"kind": "prior", "format": "1", "stride": "2"}
    save_file(arrays, path, about)
    Prior.load(path)
    change(arrays, about)
    save_file(arrays, path, about)
    with pytest.raises(InputError, match=r"prior\.safetensors"):
        Prior.load(path)


def test_files_that_are_damaged_are_refused(tiny, tmp_path):
    path = tmp_path / "prior.safetensors"
    tiny.save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"prior\.safetensors"):
        Prior.load(path)
    with pytest.raises(InputError, match="nowhere"):
        Prior.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((np.ones((4, 4), int), 0.1), "x"), ((np.full((4, 4), np.nan), 0.1), "x"), ((np.ones(4), 0.1), "x"),
        ((np.ones((4, 4)), -0.1), "sigma"), ((np.ones((4, 4)), np.ones(3)), "sigma"), ((np.ones((4, 4)), np.inf), "sigma"),
    ],
)  # fmt: skip
def test_what_cannot_be_denoised_is_refused_by_name(tiny, arguments, name):
    with pytest.raises(InputError, match=name):
        tiny(*arguments)


def test_images_that_do_not_fit_are_refused(tiny, color):
    with pytest.raises(InputError, match="3"):
        color.denoise(np.ones((8, 8)), 0.1)
    with pytest.raises(InputError, match="channels"):
        tiny.code(np.ones((8, 8, 3)), channel_axis=-1)
    with pytest.raises(InputError, match="NaN"):
        tiny.denoise(np.full((8, 8), np.nan), 0.1)
    with pytest.raises(InputError, match="infrared"):
        Prior.default("infrared")


def test_the_shipped_prior_cannot_be_changed_by_accident(prior):
    with pytest.raises(ValueError, match="read-only"):
        prior.network.weights.D[0, 0] = 1
    assert Prior.default("gray") is prior


def test_one_that_fills_takes_no_noise_off():
    prior, image = Prior.default("fill"), np.zeros((16, 16))
    for denoise in (lambda: prior(image, 0.1), lambda: prior.denoise(image, 0.1)):
        with pytest.raises(InputError, match="takes no noise off: give it to inpaint"):
            denoise()
