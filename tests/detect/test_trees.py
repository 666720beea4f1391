from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from csc_cogd.detect.context import Suspects, in_context
from csc_cogd.detect.features import Scene
from csc_cogd.detect.trees import Trees


@pytest.mark.parametrize("kernels", ["numba", "numpy"])
@pytest.mark.parametrize("leaves", [2, 12])
def test_trees_say_what_scikit_learn_says(rng, leaves, kernels, monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", kernels)
    sklearn = pytest.importorskip("sklearn.ensemble")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    learn_dust = import_module("learn_dust")
    features = rng.normal(0, 1, (800, 5)).astype(np.float32)
    target = features[:, 0] * features[:, 3] + features[:, 1] > 0.2
    model = sklearn.HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=leaves).fit(features, target)
    trees = Trees(**learn_dust.flattened(model))
    seen = rng.normal(0, 1, (300, 5)).astype(np.float32)
    expected = model.decision_function(seen)
    np.testing.assert_allclose(trees.logit(seen), expected, atol=1e-5)
    hasty = trees.logit(seen, give_up=-1.0)
    np.testing.assert_allclose(hasty[expected > 0], expected[expected > 0], atol=1e-5)
    assert (hasty[abs(hasty - expected) > 1e-4] < -1).all()


def test_the_trees_that_ship_fit_the_features(rng):
    first, second = Trees.load("dust"), Trees.load("dust_in_context")
    for sign, candidates, features in Scene.of(rng.random((3, 60, 60), np.float32)).candidates():
        n = candidates.count
        assert len(features) == n
        assert np.isfinite(features).all()
        assert first.feature.max() < features.shape[1]
        suspects = Suspects(features, first.logit(features), rng.random((n, 2)), np.full(n, sign))
        within = in_context(suspects, 0.1)
        assert second.feature.max() < within.shape[1]
        assert np.isfinite(second.logit(within)).all()
