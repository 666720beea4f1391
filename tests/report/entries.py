"""Pictures for the tests of the report."""

import numpy as np

from csc_cogd import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.report.page import Entry, Point

HISTORY = [Iteration(i, i / 8, 100 / i, 90 / i, 10 / i, 1 / i, 0.5 / i, 1.0, 1000 - i) for i in range(1, 21)]
CURVE = [Point("code", 1, 0.1, 21.0), Point("code", 2, 0.2, 24.5), Point("similar patches", 1, 0.5, 27.0)]


def damaged(reference, share=0.3, seed=0):
    """An entry without more than its pictures: a share of the reference's pixels is zero, and restored with some error."""
    rng = np.random.default_rng(seed)
    missing = rng.random(reference.shape[:2]) < share
    gone = missing if reference.ndim == 2 else missing[..., None]
    before = np.where(gone, 0, reference).astype(reference.dtype)
    after = np.where(gone, reference * 0.9, reference).astype(reference.dtype)
    return Entry("picture", before, missing, after, reference)


def dictionary():
    rng = np.random.default_rng(1)
    return Dictionary(rng.standard_normal((6, 5, 5)))
