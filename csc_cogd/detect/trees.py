"""Gradient-boosted decision trees (Friedman 2001), as arrays of their nodes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources

import numpy as np

from csc_cogd.backend.dispatch import kernels_for

FIRST = 50  # trees


@dataclass(frozen=True, eq=False)
class Trees:
    """A classifier: the sum of what a leaf of each tree says is the logit.

    Attributes
    ----------
    feature : (n,) int array
        Which feature a node looks at; -1 for leaves.
    threshold : (n,) float array
        Candidates whose feature is at most this go on to node `left`, others to `right`.
    left, right : (n,) int arrays
    value : (n,) float array
        Of leaves.
    roots : (m,) int array
        Of the trees.
    baseline : float
        Logit to which the trees add.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    roots: np.ndarray
    baseline: float

    @classmethod
    def load(cls, name: str) -> Trees:
        """Read trees that are shipped with the package."""
        with resources.as_file(resources.files("csc_cogd.data") / f"{name}.npz") as path, np.load(path) as stored:
            return cls(*(stored[field.name] for field in fields(cls)))

    def logit(self, features: np.ndarray, give_up: float = -np.inf) -> np.ndarray:
        """Return the logit of the probability of the class for each row of features (n, k), (n,).

        Rows whose logit is below `give_up` after the first :data:`FIRST` trees aren't looked at by the others.
        """
        logit = np.full(len(features), self.baseline, np.float64)
        self._add_leaves(features, np.arange(len(features)), self.roots[:FIRST], logit)
        self._add_leaves(features, np.flatnonzero(logit >= give_up), self.roots[FIRST:], logit)
        return logit

    def _add_leaves(self, features: np.ndarray, rows: np.ndarray, roots: np.ndarray, logit: np.ndarray) -> None:
        """Add what some trees say of some rows to their logits, in place."""
        kernels = kernels_for("trees", features)
        if kernels is not None:
            nodes = (self.feature, self.threshold, self.left, self.right, self.value)
            kernels.add_leaves(np.ascontiguousarray(features), rows, *nodes, roots, logit)
            return
        of_rows = features[rows]
        for root in roots:
            logit[rows] += self.value[self._leaves(of_rows, int(root))]

    def _leaves(self, features: np.ndarray, root: int) -> np.ndarray:
        """Return the leaf of one tree that each row falls into."""
        nodes = np.full(len(features), root)
        moving = np.arange(len(features))
        while moving.size:
            here = nodes[moving]
            moving, here = moving[self.feature[here] >= 0], here[self.feature[here] >= 0]
            low = features[moving, self.feature[here]] <= self.threshold[here]
            nodes[moving] = np.where(low, self.left[here], self.right[here])
        return nodes
