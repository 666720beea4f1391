"""Crops of pictures, resized to the input size of a network."""

from __future__ import annotations

import numpy as np
from PIL import Image

MARGIN = 256 / 224
"""Factor by which a picture is larger than the center that is cropped for tests [Krizhevsky et al. 2012]."""


def resized_crop(picture: Image.Image, shape: tuple[int, int], crop: np.ndarray | None = None) -> np.ndarray:
    """Crop an RGB picture, and resize the crop by antialiased bilinear interpolation.

    Parameters
    ----------
    picture : PIL.Image.Image
    shape : (int, int)
        Height and width of the result.
    crop : (4,) array, optional
        Share of the picture's area, in (0, 1]; ratio of width to height; and where the crop lies, from 0, the top, to 1, the
        bottom, and from 0, left, to 1, right. Sides that would be longer than the picture's are cut to them. Default: the
        picture itself where it has this shape; else the center, which is what is left of a picture that is resized to cover
        `shape` with a margin of 256 to 224 and cropped.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    if crop is None and (picture.height, picture.width) == shape:
        return np.array(picture)
    if crop is None:
        scale = MARGIN * max(shape[0] / picture.height, shape[1] / picture.width)
        height, width, down, right = shape[0] / scale, shape[1] / scale, 0.5, 0.5
    else:
        share, ratio, down, right = crop
        area = share * picture.height * picture.width
        height, width = min(picture.height, (area / ratio) ** 0.5), min(picture.width, (area * ratio) ** 0.5)
    top, left = down * (picture.height - height), right * (picture.width - width)
    box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
    return np.array(picture.resize(shape[::-1], Image.Resampling.BILINEAR, box))


def needed_share(size: tuple[int, int], shape: tuple[int, int], crop: np.ndarray | None = None) -> float:
    """Return how much smaller, in each direction, a picture may be decoded for :func:`resized_crop` to reduce it by 2 still.

    Parameters
    ----------
    size : (int, int)
        Height and width of the picture.
    shape, crop
        As for :func:`resized_crop`.

    Returns
    -------
    float in (0, 1]
        1 for a picture that has to be decoded whole.

    Examples
    --------
    >>> needed_share((3000, 4000), (224, 224)) < 1 / 4
    True
    """
    height, width = size
    if crop is None:
        share = MARGIN * max(shape[0] / height, shape[1] / width)
    else:
        area, ratio = crop[0] * height * width, crop[1]
        share = max(shape[0] / min(height, (area / ratio) ** 0.5), shape[1] / min(width, (area * ratio) ** 0.5))
    return min(2 * share, 1.0)


def random_resized_crop(images: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Crop each image (n, H, W, 3), and resize it to its size: see :func:`resized_crop`."""
    shape = images.shape[1:3]
    return np.stack([resized_crop(Image.fromarray(image), shape, crop) for image, crop in zip(images, crops, strict=True)])
