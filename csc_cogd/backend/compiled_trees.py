"""The sums of decision trees, compiled by Numba; the plain ones are in `csc_cogd.detect.trees`."""

from __future__ import annotations

from csc_cogd.backend.compiled import compile_kernel


@compile_kernel
def add_leaves(features, rows, feature, threshold, left, right, value, roots, logit):
    """Add what trees say of some rows of features (n, k) to their logits (n,)."""
    for row in rows:
        total = logit[row]
        for root in roots:
            node = root
            while feature[node] >= 0:
                node = left[node] if features[row, feature[node]] <= threshold[node] else right[node]
            total += value[node]
        logit[row] = total
