"""What a picture's candidates say of each other.

By itself a candidate may look like dust, and yet be one of a hundred twigs. So those that a first look doesn't rule out are
looked at again, together: how many are likely in the picture, and near; what the same thing was taken for at other sizes;
and how likely those are that look most like it, wherever they are. If these are no dust, it is hardly any (auto-context, as
of Tu and Bai 2010).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from csc_cogd.detect.features import RADII, RADIUS

OWN_LOGITS, OTHER_LOGITS = (-2, 0, 2, 4, 6), (0, 4)
"""Candidates above these are counted, of the same polarity and of the other."""
LEAST_AREA = 0.1
"""Megapixels for which they are counted, at least."""
COUNT = 17
"""Features of the context."""
NEIGHBORS, REACH, SAME = 24, 60.0, 8.0
"""Candidates nearby that are looked at; pixels that they are away at most, and up to which they are the same thing."""
LIKE, SCALES = (0, 1, 2, 8, 16, 17, 39, 40), (0.7, 0.5, 0.4, 0.08, 0.12, 0.12, 0.3, 0.3)
"""Features that likeness is told by: form, contrast, tones and colors; and how much of each counts as a unit."""
LIKENESSES, ELSEWHERE, ALIKE, MOST_UNLIKE = 12, 12.0, 3.0, 50.0
"""Of those that are like a candidate: how many are looked at; pixels that they are away at least; units in which they
differ at most to be alike, and to be compared at all."""
APART = 100.0
"""Units by which candidates of different polarity or size differ."""
UNLIKELY, NONE = -6.0, -8.0
"""Logits that stand for those of nobody around, and for no other size."""


class Suspects(NamedTuple):
    """Candidates that a first look doesn't rule out.

    Attributes
    ----------
    features : (n, k) float32 array
    logit : (n,) float array
        Of the first look.
    places : (n, 2) float array
        Row and column of their middles.
    signs : (n,) int array
        1 of dark ones, -1 of light ones.
    """

    features: np.ndarray
    logit: np.ndarray
    places: np.ndarray
    signs: np.ndarray


def in_context(suspects: Suspects, megapixels: float) -> np.ndarray:
    """Return the features of all suspects of a picture with those of their context, (n, k + COUNT) float32."""
    n = len(suspects.logit)
    if not n:
        return np.zeros((0, suspects.features.shape[1] + COUNT), np.float32)
    columns = [suspects.logit, *_counts(suspects, megapixels), *_nearby(suspects), *_alike(suspects)]
    area = max(megapixels, LEAST_AREA)
    columns += [np.full(n, megapixels), np.full(n, np.log((n + 0.5) / area))]
    return np.hstack([suspects.features, np.stack(columns, axis=1).astype(np.float32)])


def _counts(suspects: Suspects, megapixels: float) -> Iterator[np.ndarray]:
    """How many are likely, by how much: logarithms of their density."""
    for logits, side in ((OWN_LOGITS, 1), (OTHER_LOGITS, -1)):
        for least in logits:
            count = {sign: np.count_nonzero(suspects.logit[suspects.signs == sign] > least) for sign in (1, -1)}
            density = {sign: np.log((count[side * sign] + 0.5) / max(megapixels, LEAST_AREA)) for sign in (1, -1)}
            yield np.where(suspects.signs > 0, density[1], density[-1])


def _nearby(suspects: Suspects) -> Iterator[np.ndarray]:
    """How many are near, and how likely these are: their sum, number and mean; and the largest at other sizes."""
    n, logit, radius = len(suspects.logit), suspects.logit, suspects.features[:, RADIUS]
    distance, index = _nearest(suspects.places, min(NEIGHBORS, n))
    others = (distance < REACH) & (distance > SAME)
    count = others.sum(axis=1)
    yield (others / (1 + np.exp(-logit[index]))).sum(axis=1)
    yield count
    yield _mean_or_unlikely(logit[index], others)
    same = (distance <= SAME) & (radius[index] != radius[:, None]) & (suspects.signs[index] == suspects.signs[:, None])
    yield np.where(same, logit[index], NONE).max(axis=1)


def _alike(suspects: Suspects) -> Iterator[np.ndarray]:
    """How likely those are that look alike: the mean, how unlike they are on average, and the largest."""
    n, logit = len(suspects.logit), suspects.logit
    look = np.clip(suspects.features[:, LIKE] / np.array(SCALES), -20, 20).astype(np.float64)
    size = np.searchsorted(RADII, suspects.features[:, RADIUS])
    look = np.column_stack([look, APART * suspects.signs, APART * size])
    unlike, index = (part[:, 1:] for part in _nearest(look, min(LIKENESSES + 1, n)))
    apart = np.hypot(*np.moveaxis(suspects.places[index] - suspects.places[:, None], 2, 0))
    elsewhere = (unlike < MOST_UNLIKE) & (apart > ELSEWHERE)
    yield _mean_or_unlikely(logit[index], elsewhere)
    count = elsewhere.sum(axis=1)
    yield np.where(count > 0, (unlike * elsewhere).sum(axis=1) / np.maximum(count, 1), 9.0)
    yield np.where(elsewhere & (unlike < ALIKE), logit[index], UNLIKELY).max(axis=1, initial=UNLIKELY)


def _nearest(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances and indices of the nearest points of each, itself the first, (n, count)."""
    distance, index = cKDTree(points).query(points, count)
    return distance.reshape(len(points), count), index.reshape(len(points), count)


def _mean_or_unlikely(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    count = where.sum(axis=1)
    return np.where(count > 0, (values * where).sum(axis=1) / np.maximum(count, 1), UNLIKELY)
