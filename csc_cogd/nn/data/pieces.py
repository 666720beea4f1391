"""Pieces of pictures, resized: how a picture of any size comes to the size that a network wants."""

from __future__ import annotations

import numpy as np
from PIL import Image

MARGIN = 256 / 224
"""For tests, the central piece is cut from a picture made this much larger than the piece [Krizhevsky et al. 2012]."""


def resized(picture: Image.Image, shape: tuple[int, int], piece: np.ndarray | None = None) -> np.ndarray:
    """A piece of an RGB picture as (H, W, 3) uint8 pixels of this `shape`, by bilinear interpolation, antialiased.

    `piece` holds a share of the picture's area, in (0, 1]; a ratio of width to height; and where it lies, from 0, the top,
    to 1, the bottom, and from 0, left, to 1, right. Sides that would be longer than the picture's are cut to them.

    Without one, pictures of this shape are taken as they are; of others the centre is: what is left of the picture if it is
    resized to cover `shape` with a margin of 256 to 224 and cropped to it.
    """
    if piece is None and (picture.height, picture.width) == shape:
        return np.array(picture)
    if piece is None:
        scale = MARGIN * max(shape[0] / picture.height, shape[1] / picture.width)
        height, width, down, right = shape[0] / scale, shape[1] / scale, 0.5, 0.5
    else:
        share, ratio, down, right = piece
        area = share * picture.height * picture.width
        height, width = min(picture.height, (area / ratio) ** 0.5), min(picture.width, (area * ratio) ** 0.5)
    top, left = down * (picture.height - height), right * (picture.width - width)
    box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
    return np.array(picture.resize(shape[::-1], Image.Resampling.BILINEAR, box))


def cut_pieces(images: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """A piece of each image (n, H, W, 3), resized to their size: see :func:`resized`."""
    shape = images.shape[1:3]
    return np.stack([resized(Image.fromarray(image), shape, piece) for image, piece in zip(images, pieces, strict=True)])
