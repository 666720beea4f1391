"""A picture in many sizes."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csc_cogd import InputError
from csc_cogd.page.pyramid import TILE, Pyramid


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 3))
def test_tiles_put_together_are_the_picture(height, width, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pyramid = Pyramid(picture)
    rows, columns = -(-height // TILE), -(-width // TILE)
    tiles = [[decoded(pyramid.tile(0, row, column)) for column in range(columns)] for row in range(rows)]
    assert (np.concatenate([np.concatenate(row, axis=1) for row in tiles]) == picture).all()
    assert max(pyramid.levels[-1].shape[:2]) <= TILE


@given(st.data())
def test_a_part_that_is_replaced_is_so_at_every_size(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 3)))
    picture = rng.integers(0, 256, (data.draw(st.integers(1, 600)), data.draw(st.integers(1, 600))), np.uint8)
    top, left = (data.draw(st.integers(0, length - 1)) for length in picture.shape)
    bottom, right = (data.draw(st.integers(start + 1, end)) for start, end in zip((top, left), picture.shape, strict=True))
    part = rng.integers(0, 256, (bottom - top, right - left), np.uint8)
    pyramid = Pyramid(picture.copy())
    pyramid.put(top, left, part)
    picture[top:bottom, left:right] = part
    assert [level.tolist() for level in pyramid.levels] == [level.tolist() for level in Pyramid(picture).levels]


@pytest.mark.parametrize("place", [(0, 1, 0), (0, 0, 2), (2, 0, 0), (-1, 0, 0), (0, -1, 0)])
def test_a_tile_that_is_not_there_is_refused(place):
    with pytest.raises(InputError, match="there is no tile"):
        Pyramid(np.zeros((200, 400), np.uint8)).tile(*place)
