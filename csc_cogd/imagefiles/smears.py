"""Color of damage that JPEG has smeared over the pixels beside it.

JPEG stores chroma mostly at half the resolution of luma. So damage tints what is beside it, and a fill would go on from that
tint. There the picture's own chroma is interpolated from further outside; its luma is as good as any.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.imagefiles.rims import squares

REACH = 2  # pixels: one of the chroma
_SQUARE = np.ones((3, 3), bool)
_TO_CHROMA = np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]])  # ITU-R BT.601, as in JPEG
_FROM_CHROMA = np.array([[0.0, -0.344136, 1.772], [1.402, -0.714136, 0.0]])


def take_off_smeared_color(colors: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the color of damage off the pixels beside it.

    Parameters
    ----------
    colors : (H, W, 3) array of uint8
        Red, green and blue.
    missing : (H, W) bool array
        The damage.

    Returns
    -------
    cleared : (H, W, 3) array of uint8
        Differs from `colors` by chroma, within two pixels of the damage.
    changed : (H, W) bool array
        Where it does.
    """
    tinted, cleared = binary_dilation(missing, _SQUARE, iterations=REACH), colors.copy()
    for place, own in squares(missing):
        unknown, beside = tinted[place], (tinted[place] & ~missing[place])[own]
        if unknown.all():
            continue
        values = colors[place] / 255
        chroma = np.moveaxis(values @ _TO_CHROMA, -1, 0)
        filled = fill_biharmonic(chroma, np.broadcast_to(unknown, chroma.shape))
        own_chroma = values + np.moveaxis(filled - chroma, 0, -1) @ _FROM_CHROMA
        pixels = np.clip(np.rint(255 * own_chroma), 0, 255).astype(np.uint8)
        cleared[place][own][beside] = pixels[own][beside]
    return cleared, (cleared != colors).any(axis=2)
