"""Learning and coding as an estimator in the style of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.codes import SparseCodes, reconstruct_images, sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import learn_dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.locks import importing

if TYPE_CHECKING or find_spec("sklearn") is None:

    class BaseEstimator:
        """Stand-in for scikit-learn's class of this name, if scikit-learn isn't installed."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the arguments by name, whether or not `deep`."""
            return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

        def set_params(self, **params: Any) -> Self:
            """Change arguments, but not what was learned."""
            for name, value in params.items():
                if name not in self.get_params():
                    raise InputError(name, "is no argument", f"choose from {', '.join(self.get_params())}")
                setattr(self, name, value)
            return self

    class NotFittedError(ValueError, AttributeError):
        """Stand-in for scikit-learn's class of this name, if scikit-learn isn't installed."""

else:
    with importing:
        from sklearn.base import BaseEstimator
        from sklearn.exceptions import NotFittedError


@dataclass(eq=False, repr=False)
class ConvolutionalDictionaryLearner(BaseEstimator):
    """:func:`csc_cogd.learn_dictionary` and :func:`csc_cogd.sparse_code` as a scikit-learn transformer.

    `fit` learns filters from images, `transform` codes images over them, `inverse_transform` reconstructs images from codes.
    It can be cloned, tuned by grid search and put into pipelines; scikit-learn needn't be installed. Images are best
    without their smooth part, such as a local mean. Arguments are checked by the methods, not by the constructor.

    Parameters
    ----------
    n_filters : int, or sequence of int
        For `fit`; see :func:`csc_cogd.learn_dictionary`.
    filter_shape : int or (h, w), or sequence of these
        For `fit`; see :func:`csc_cogd.learn_dictionary`.
    lmbda : float
        Weight of the l1 term, >= 0.
    max_iter : int
        Rounds of `fit`.
    tol : float
        Stop `fit` when the objective falls by less than this fraction in a round.
    transform_max_iter : int
        Iterations of `transform` at most.
    transform_tol : float
        Stop `transform` at this relative duality gap; see :func:`csc_cogd.sparse_code`.
    zero_mean : bool
        Learn filters of mean zero in each channel.
    gradient_penalty : float
        See :func:`csc_cogd.sparse_code`.
    boundary : {"free", "circular"}
        See :func:`csc_cogd.sparse_code`.
    seed : int
        Random seed for the initial filters.
    start : Dictionary, optional
        Initial filters.
    cogd : CogradientRule, optional
        Learn with cogradient descent.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device : str
        See :func:`csc_cogd.backend.get_backend`, also for `threads` and `fft`.
    threads : int, optional
    fft : str, optional

    Attributes
    ----------
    dictionary_ : Dictionary
        Learned by `fit`, as are the others.
    objective_ : float
    history_ : list of OuterIteration
    n_iter_ : int
        Rounds of learning.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((2, 16, 16))
    >>> learner = ConvolutionalDictionaryLearner(3, 4, lmbda=0.5, max_iter=2).fit(images)
    >>> codes = learner.transform(images)
    >>> codes.shape, learner.inverse_transform(codes).shape
    ((2, 3, 19, 19), (2, 16, 16))
    """

    n_filters: Any = 32
    filter_shape: Any = 8
    _: KW_ONLY
    lmbda: float = 0.05
    max_iter: int = 30
    tol: float = 1e-4
    transform_max_iter: int = 200
    transform_tol: float = 1e-3
    zero_mean: bool = False
    gradient_penalty: float = 0.0
    boundary: str = "free"
    seed: int = 0
    start: Dictionary | None = None
    cogd: CogradientRule | None = None
    dtype: Any = "float32"
    device: str = "auto"
    threads: int | None = None
    fft: str | None = None

    def fit(
        self, X: Any, y: Any = None, *, weights: Any = None, callback: Callable[[OuterIteration], Any] | None = None
    ) -> Self:  # fmt: skip
        """Learn filters.

        Parameters
        ----------
        X : (N, H, W) or (N, C, H, W) array
            Images.
        y : object
            Ignored.
        weights : array, optional
            1 where observed, 0 where missing.
        callback : callable, optional
            Called after every round with an :class:`OuterIteration`; a true return value stops learning.
        """
        learned = learn_dictionary(
            X, self.n_filters, self.filter_shape, lmbda=self.lmbda, weights=weights, max_iter=self.max_iter, tol=self.tol,
            zero_mean=self.zero_mean, gradient_penalty=self.gradient_penalty, boundary=self.boundary, seed=self.seed,
            start=self.start, cogd=self.cogd, engine=self._engine(), callback=callback,
        )  # fmt: skip
        self.dictionary_, self.objective_, self.history_ = learned.dictionary, learned.objective, learned.history
        self.n_iter_ = len(learned.history)
        return self

    def transform(self, X: Any, *, weights: Any = None) -> Any:
        """Return the codes (N, K, H + h - 1, W + w - 1) of images, as :func:`csc_cogd.sparse_code` does.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        return self._coder(X, weights=weights).codes

    def fit_transform(self, X: Any, y: Any = None, *, weights: Any = None) -> Any:
        """Fit and transform the same images; the codes are closer to the optimum than those of learning."""
        return self.fit(X, weights=weights).transform(X, weights=weights)

    def inverse_transform(self, codes: Any) -> Any:
        """Reconstruct images (N, H, W) or (N, C, H, W) from codes."""
        return reconstruct_images(codes, self._fitted(), boundary=self.boundary, device=self.device, threads=self.threads)

    def score(self, X: Any, y: Any = None, *, weights: Any = None) -> float:
        """Return the share of the variance that the codes explain, at most 1; with `weights`, over the known values."""
        found = to_numpy(self._coder(X, weights=weights).reconstruction)
        images = to_numpy(X)
        known = np.broadcast_to(1.0 if weights is None else to_numpy(weights) > 0, images.shape).astype(bool)
        residual, varying = images[known] - found[known], images[known] - images[known].mean()
        return float(1 - (residual**2).sum() / max((varying**2).sum(), np.finfo(float).tiny))

    def set_output(self, *, transform: str | None = None) -> Self:
        """Accept only the default output, as codes, with four axes, don't fit into tables."""
        if transform not in (None, "default"):
            raise InputError("transform", f"must be 'default', as codes fit into no table, got {transform!r}")
        return self

    def __repr__(self) -> str:
        changed = (field for field in fields(self) if getattr(self, field.name) is not field.default)
        return f"ConvolutionalDictionaryLearner({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in changed)})"

    def __sklearn_tags__(self) -> Any:
        """Describe inputs and outputs to scikit-learn."""
        with importing:
            from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        images = InputTags(two_d_array=False, three_d_array=True)
        computed_in = TransformerTags(preserves_dtype=[str(np.dtype(self.dtype))])
        return Tags("transformer", TargetTags(required=False), transformer_tags=computed_in, input_tags=images)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "dictionary_")

    @property
    def _coder(self) -> Callable[..., SparseCodes]:
        """Code images, with these arguments, over what was learned."""
        return partial(
            sparse_code, dictionary=self._fitted(), lmbda=self.lmbda, max_iter=self.transform_max_iter,
            tol=self.transform_tol, gradient_penalty=self.gradient_penalty, boundary=self.boundary, engine=self._engine(),
        )  # fmt: skip

    def _engine(self) -> Engine:
        return Engine(self.dtype, self.device, self.threads, self.fft)

    def _fitted(self) -> Dictionary:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("there is no dictionary yet: call fit with images first")
        return self.dictionary_
