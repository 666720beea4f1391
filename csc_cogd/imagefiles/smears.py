"""Color of damage that JPEG has smeared over the pixels beside it.

JPEG stores chroma mostly at half the resolution of luma. So damage tints what is beside it, and a fill would go on from that
tint. There the picture's own chroma is interpolated from further outside; its luma is as good as any. A mask that is wider
than the damage has none of it at its edge, and nothing is done there.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, label

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.imagefiles.rims import squares

REACH = 2  # pixels: one of the chroma
TIGHT = 0.4  # of the damage in a hole, that which is at its edge
_SQUARE = np.ones((3, 3), bool)
_TO_CHROMA = np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]])  # ITU-R BT.601, as in JPEG
_FROM_CHROMA = np.array([[0.0, -0.344136, 1.772], [1.402, -0.714136, 0.0]])


def take_off_smeared_color(colors: np.ndarray, missing: np.ndarray, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Take the color of damage off the pixels beside it.

    Parameters
    ----------
    colors : (H, W, 3) array of uint8
        Red, green and blue.
    missing : (H, W) bool array
        The damage.
    exact : bool
        Nothing else is missing: no hole is wider than the damage.

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
        values = np.moveaxis(colors[place] / 255, -1, 0)
        beneath = fill_biharmonic(values, np.broadcast_to(unknown, values.shape))
        damage = np.moveaxis(values - beneath, 0, -1)
        tight = unknown[own] if exact else _tight_holes(damage, missing[place], unknown)[own]
        own_chroma = colors[place][own] - 255 * (damage[own] @ _TO_CHROMA) @ _FROM_CHROMA
        cleared[place][own][beside & tight] = np.clip(np.rint(own_chroma), 0, 255).astype(np.uint8)[beside & tight]
    return cleared, (cleared != colors).any(axis=2)


def _tight_holes(damage: np.ndarray, missing: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Return which holes and their rims, (h, w) bool, hold damage up to their edges.

    With the mean `c` of the damage (h, w, 3) in a hole and the mean `e` at its edge, that is where ``<e, c> / <c, c>`` is.
    """
    holes, count = label(unknown, _SQUARE)
    edge = missing & ~binary_erosion(missing, _SQUARE, border_value=1)

    def means(where: np.ndarray) -> np.ndarray:
        n_pixels = np.maximum(np.bincount(holes[where], minlength=count + 1), 1)
        sums = [np.bincount(holes[where], channel[where], count + 1) for channel in np.moveaxis(damage, -1, 0)]
        return np.stack(sums) / n_pixels

    of_holes, at_edges = means(missing), means(edge)
    tight = (of_holes * at_edges).sum(axis=0) > TIGHT * (of_holes**2).sum(axis=0)
    return np.asarray(tight[holes] & unknown)
