"""Color of damage that JPEG has smeared over what is beside it."""

import io

import numpy as np
import pytest
from imageio.v3 import imread, imwrite
from PIL import Image
from skimage.data import astronaut
from skimage.morphology import dilation

from csc_cogd import psnr
from csc_cogd.batch import restore_batch
from csc_cogd.imagefiles import read_image
from csc_cogd.imagefiles.smears import take_off_smeared_color


@pytest.fixture(scope="module")
def truth():
    return astronaut()[20:180, 150:310]


@pytest.fixture(scope="module")
def mask(truth):
    generator, mask = np.random.default_rng(0), np.zeros(truth.shape[:2], bool)
    mask[tuple(generator.integers(4, 156, (2, 40)))] = True
    return dilation(mask, np.ones((4, 4)))


def jpeg(pixels, subsampling):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=subsampling)
    return file.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def luma(colors):
    return colors @ [0.299, 0.587, 0.114]


def test_chroma_beside_damage_comes_back_and_luma_stays(truth, mask):
    whole, damaged = (
        decoded(jpeg(np.where(hidden[..., None], 0, truth).astype(np.uint8), 2)) for hidden in (mask & False, mask)
    )
    cleared, changed = take_off_smeared_color(damaged, mask)
    beside = dilation(mask, np.ones((5, 5))) & ~mask
    assert not (changed & ~beside).any()
    np.testing.assert_array_equal(cleared[~changed], damaged[~changed])
    inside = (cleared > 0) & (cleared < 255)  # of what is clipped, luma moves
    whole_colors = inside.all(axis=2)
    assert abs(luma(cleared) - luma(damaged))[whole_colors].max() < 1.5
    before, after = (((each.astype(float) - whole)[beside] ** 2).mean() for each in (damaged, cleared))
    assert after < 0.6 * before


def test_nothing_is_known_where_all_is_missing(truth):
    cleared, changed = take_off_smeared_color(truth, np.ones(truth.shape[:2], bool))
    np.testing.assert_array_equal(cleared, truth)
    assert not changed.any()


@pytest.mark.parametrize(("subsampling", "coarse"), [(0, False), (1, True), (2, True)])
def test_files_tell_how_coarse_their_color_is(truth, tmp_path, subsampling, coarse):
    (tmp_path / "a.jpg").write_bytes(jpeg(truth, subsampling))
    assert read_image(tmp_path / "a.jpg").coarse_color == coarse
    (tmp_path / "gray.jpg").write_bytes(jpeg(truth[..., 0], -1))
    assert not read_image(tmp_path / "gray.jpg").coarse_color


@pytest.mark.parametrize("tone", [0, 255])
def test_fills_of_common_jpegs_keep_the_color_of_what_is_around(truth, mask, tmp_path, tone):
    damaged = np.where(mask[..., None], tone, truth).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg(damaged, 2))
    imwrite(tmp_path / "mask.png", mask.astype(np.uint8) * 255)
    found = {}
    for dilate in ("auto", 0):
        (result,) = restore_batch(
            tmp_path / "a.jpg", tmp_path / f"{dilate}.png", mask=tmp_path / "mask.png", mask_dilate=dilate, effort="fast"
        )
        assert result.status == "done"
        found[dilate] = psnr(imread(tmp_path / f"{dilate}.png"), truth, data_range=255, where=mask)
        assert any("compression has smeared" in note for note in result.notes) == (dilate == "auto")
        assert result.changed == 0
    assert found["auto"] > found[0] + 1


def test_beside_a_mask_that_is_wider_than_the_damage_nothing_changes(truth):
    mask = np.zeros(truth.shape[:2], bool)
    for row, column in ((30, 40), (70, 110), (100, 20)):
        mask[row : row + 5, column : column + 5] = True
    damaged = decoded(jpeg(np.where(mask[..., None], 0, truth).astype(np.uint8), 2))
    assert take_off_smeared_color(damaged, mask)[1].sum() > 100
    assert not take_off_smeared_color(damaged, dilation(mask, np.ones((9, 9))))[1].any()
