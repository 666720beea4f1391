"""Figures of merit against a reference, over all pixels and over the missing ones, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from csc_cogd.locks import importing

REACH = 5  # of the window of SSIM, a Gaussian of sigma 1.5
BAND = 1 << 22  # values that are compared at a time


def data_range_of(reference: np.ndarray) -> float:
    """Return the data range for PSNR and SSIM; NaN for a constant image of floats.

    It is the range of the type for unsigned 8 and 16 bits and for bilevel pictures, else that of the reference's values.
    """
    if reference.dtype == bool:
        return 1.0
    if reference.dtype in (np.uint8, np.uint16):
        return float(np.iinfo(reference.dtype).max)
    values = reference[np.isfinite(reference)]
    span = float(values.max()) - float(values.min()) if values.size else 0.0
    return span or float("nan")


def compare(restored: np.ndarray, reference: np.ndarray, missing: np.ndarray, *, data_range: float) -> dict[str, float]:
    """Compute PSNR, SSIM, mean and largest absolute error; those over the missing pixels end in ``_missing``.

    SSIM is that of :func:`csc_cogd.ssim`; over the missing pixels, its map is averaged there. SSIM is NaN for
    pictures below 11 x 11, and for those with NaN. Pixels where the reference is NaN don't count for the other figures.

    Parameters
    ----------
    restored, reference : (H, W, C) arrays
    missing : (H, W, C) bool array
    data_range : float
    """
    H, W, _ = reference.shape
    inside = np.zeros((H, W, 1), bool)
    inside[REACH : H - REACH, REACH : W - REACH] = True
    totals = {"": _Totals(data_range), "_missing": _Totals(data_range)}
    for outer, inner in _bands(reference.shape):
        given, truth = restored[outer].astype(np.float64), reference[outer].astype(np.float64)
        similarity = _similarity(given / data_range, truth / data_range)[inner]
        error = np.abs(given[inner] - truth[inner])
        known, gone = np.isfinite(truth[inner]), missing[outer][inner]
        totals[""].add(error[known], similarity[np.broadcast_to(inside[outer][inner], gone.shape)])
        totals["_missing"].add(error[known & gone], similarity[gone])
    return {name + end: value for end, total in totals.items() for name, value in total.figures().items()}


class _Totals:
    """Sums over bands."""

    def __init__(self, data_range: float) -> None:
        self.data_range = data_range
        self.count = self.similar_count = 0
        self.absolute = self.squares = self.largest = self.similar = 0.0

    def add(self, error: np.ndarray, similarity: np.ndarray) -> None:
        self.count += error.size
        self.absolute += float(error.sum())
        self.squares += float(np.square(error / self.data_range).sum())
        self.largest = float(np.maximum(self.largest, error.max(initial=0)))  # NaN stays NaN
        self.similar_count += similarity.size
        self.similar += float(similarity.sum())

    def figures(self) -> dict[str, float]:
        nan = float("nan")
        mean_square = self.squares / self.count if self.count else nan
        return {
            "psnr": float("inf") if mean_square == 0 else float(-10 * np.log10(mean_square)),
            "ssim": self.similar / self.similar_count if self.similar_count else nan,
            "mae": self.absolute / self.count if self.count else nan,
            "max_error": self.largest if self.count else nan,
        }


def _similarity(restored: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the map of SSIM, (H, W, C), for a data range of one."""
    with importing:
        from skimage.metrics import structural_similarity

    if min(reference.shape[:2]) < 2 * REACH + 1:
        return np.full(reference.shape, np.nan)
    return structural_similarity(
        restored, reference, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )[1]  # fmt: skip


def _bands(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield bands of rows with the rows around them that SSIM needs, and where in these the band itself is."""
    height = shape[0]
    rows = max(BAND // (shape[1] * shape[2]), 64)
    margin = 2 * REACH + 1  # twice what is needed, lest the last band be smaller than the window
    for start in range(0, height, rows):
        top, stop = max(start - margin, 0), min(start + rows, height)
        yield slice(top, min(stop + margin, height)), slice(start - top, stop - top)
