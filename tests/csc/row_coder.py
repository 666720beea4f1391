"""The rows of a table coded as signals: an adapter by which scikit-learn's checks, which know tables only, can be run."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from csc_cogd import ConvolutionalDictionaryLearner

DTYPES = ["float64", "float32"]


class RowCoder(TransformerMixin, BaseEstimator):
    def __init__(self, lmbda=0.5):
        self.lmbda = lmbda

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=DTYPES)
        few = {"max_iter": 2, "transform_max_iter": 8, "threads": 1}
        learner = ConvolutionalDictionaryLearner(2, (1, 2), lmbda=self.lmbda, dtype=X.dtype, **few)
        self.learner_ = learner.fit(X[:, None])
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.ascontiguousarray(self.learner_.transform(X[:, None]).reshape(len(X), -1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = DTYPES
        return tags
