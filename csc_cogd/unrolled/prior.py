"""Priors: unrolled networks with their weights, from files and for use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from csc_cogd.backend import beside, to_numpy
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.nn import load_checkpoint, save_checkpoint
from csc_cogd.unrolled.inference import code_planes, denoise_planes
from csc_cogd.unrolled.network import Network, Shape

FORMAT = 1
CHANNELS = (1, 3)
SHIPPED = ("gray", "color", "fill")
_NAMES = ("analysis", "synthesis", "dictionary", "threshold", "threshold_slope")


@dataclass(frozen=True, eq=False)
class Prior:
    """What images look like, learned from photographs: an unrolled convolutional sparse coder.

    It takes white Gaussian noise of any level off images. Called with an array and a standard deviation, it is the denoiser
    of plug-and-play methods. One that learned to fill what is missing, see `noise`, is for :func:`csc_cogd.inpaint` alone.

    Parameters
    ----------
    network : Network
        Whose weights are float32.
    provenance : mapping, optional
        What it was learned from, and how; anything that JSON can hold.

    Examples
    --------
    >>> import numpy as np
    >>> prior = Prior.default("gray")
    >>> clean = np.add.outer(np.arange(64.0), np.arange(64.0)) / 128
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> bool(abs(prior(noisy, 0.1) - clean).mean() < abs(noisy - clean).mean() / 2)
    True
    """

    network: Network
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape = self.network.shape
        return (
            f"Prior({self.kind}: {shape.n_iter} iterations, {shape.n_filters} filters of {shape.size} x {shape.size}, "
            f"stride {shape.stride})"
        )

    @property
    def kind(self) -> str:
        """``"gray"`` or ``"color"``."""
        return "gray" if self.network.shape.channels == 1 else "color"

    @property
    def noise(self) -> str:
        """What it learned to take off, ``"white"`` or ``"camera"`` noise; or ``"missing"``, if it learned to fill."""
        return str(self.provenance.get("noise", "white"))

    @property
    def dictionary(self) -> Dictionary:
        """The filters that images are made of: placed by the codes, every `stride` pixels, and added up."""
        shape = self.network.shape
        filters = self.network.weights.D.reshape(shape.n_filters, shape.channels, shape.size, shape.size)
        filters = filters[self.used]
        return Dictionary(filters[:, 0] if shape.channels == 1 else filters, provenance=self.provenance)

    @property
    def used(self) -> np.ndarray:
        """Which filters aren't zero, (M,) bool."""
        return self.network.weights.D.any(axis=1)

    def __call__(self, x: Any, sigma: Any) -> Any:
        """Denoise, as plug-and-play methods call it; on the GPU that holds `x`, or where one answers.

        Parameters
        ----------
        x : (H, W), (C, H, W) or (H, W, C) array of float
            With values in about [0, 1]. A gray prior takes any C, each channel by itself, the first axis; a color one 3.
        sigma : float >= 0, or (H, W) array
            Standard deviation of the noise.

        Returns
        -------
        float32 array of the same shape, of CuPy where `x` is on a GPU

        Raises
        ------
        InputError
            If one isn't such an array, or the prior is one that fills.
        """
        self._check_denoises()
        array = to_numpy(x, "x")
        if array.dtype.kind not in "f" or array.ndim not in (2, 3) or 0 in array.shape:
            raise InputError("x", f"must be floats of shape (H, W) or (C, H, W), got {array.shape} {array.dtype}")
        if not np.isfinite(array).all():
            raise InputError("x", "must be finite, but has NaN or infinite values")
        last = array.ndim == 3 and self.kind == "color" and array.shape[0] != 3
        planes = np.moveaxis(array, -1, 0) if last else array.reshape(-1, *array.shape[-2:])
        if self.kind == "color" and len(planes) != 3:
            raise InputError("x", f"must have 3 channels for a color prior, got shape {array.shape}", "use a gray prior")
        backend = Engine().beside(x, "x").backend
        result = denoise_planes(self.network, planes, _checked_sigma(sigma, planes.shape[1:]), backend)
        return beside(np.moveaxis(result, 0, -1) if last else result.reshape(array.shape), x)

    def denoise(
        self, image: Any, noise_sigma: Any, *, channel_axis: int | None = None, device: str = "auto",
        threads: int | None = None,
    ) -> Any:  # fmt: skip
        """Take white Gaussian noise off an image by this prior alone; :func:`csc_cogd.denoise` does more.

        Parameters
        ----------
        image : (H, W) array, or with channels along `channel_axis`
            Integers or floats of any range, all finite.
        noise_sigma : float >= 0, or (H, W) array
            Standard deviation of the noise in the image's units.
        channel_axis : int, optional
            A gray prior denoises each channel by itself.
        device : {"auto", "cpu", "cuda", "cuda:N"}
            ``"auto"`` is the GPU that holds the image, or one that answers, unless `threads` are given.
        threads : int, optional
            Of the CPU; default: all processors. The result doesn't depend on it.

        Returns
        -------
        array of the image's shape and dtype, of CuPy where the image is on a GPU

        Raises
        ------
        InputError
            If the image isn't one, or doesn't fit the prior, or the prior is one that fills.
        DeviceError
            If a GPU is asked for that can't be used.
        """
        self._check_denoises()
        planes = self._planes(image, channel_axis)
        scale, offset = _scale_of(planes)
        sigma = _checked_sigma(noise_sigma, planes.shape[1:], "noise_sigma") / scale
        backend = Engine(device=device, threads=threads).beside(image, "image").backend
        result = denoise_planes(self.network, (planes - offset) / scale, sigma, backend) * scale + offset
        if planes.dtype.kind in "iu":
            limits = np.iinfo(planes.dtype)
            result = np.clip(np.rint(result), limits.min, limits.max)
        result = result.astype(planes.dtype)
        whole = result[0] if channel_axis is None else np.ascontiguousarray(np.moveaxis(result, 0, channel_axis))
        return beside(whole, image)

    def code(self, image: Any, noise_sigma: Any = 0.0, *, channel_axis: int | None = None) -> np.ndarray:
        """Return the sparse code of an image.

        Parameters
        ----------
        image, noise_sigma, channel_axis
            As in :meth:`denoise`; a gray prior codes gray images only.

        Returns
        -------
        (M, h, w) float32 array
            Of M filters, at every `stride` pixels, for the image less its mean on the scale of [0, 1].
        """
        planes = self._planes(image, channel_axis)
        if len(planes) != self.network.shape.channels:
            raise InputError("image", f"has {len(planes)} channels, but the prior has {self.network.shape.channels}")
        scale, offset = _scale_of(planes)
        sigma = _checked_sigma(noise_sigma, planes.shape[1:], "noise_sigma") / scale
        return code_planes(self.network, (planes - offset) / scale, sigma)

    def _check_denoises(self) -> None:
        if self.noise == "missing":
            raise InputError("", "a prior that fills takes no noise off", "give it to inpaint, or take one for noise")

    def _planes(self, image: Any, channel_axis: int | None) -> np.ndarray:
        array = to_numpy(image, "image")
        if array.dtype.kind not in "iuf" or 0 in array.shape or array.ndim != (2 if channel_axis is None else 3):
            wanted = "(H, W)" if channel_axis is None else "three axes with channel_axis"
            raise InputError("image", f"must be numbers of shape {wanted}, got {array.shape} {array.dtype}")
        if not np.isfinite(array).all():
            raise InputError("image", "must be finite, but has NaN or infinite values", "fill them first, by inpaint")
        planes = array[None] if channel_axis is None else np.moveaxis(array, channel_axis, 0)
        if self.kind == "color" and len(planes) != 3:
            raise InputError("image", f"has {len(planes)} channels, but the prior is for 3", "use a gray prior")
        return planes

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a safetensors file, which appears whole.

        Raises
        ------
        InputError
            If the file exists and may not be replaced, or can't be written.
        """
        shape, weights = self.network.shape, self.network.weights
        filters = (shape.n_filters, shape.channels, shape.size, shape.size)
        arrays = {
            "analysis": weights.A.reshape(-1, *filters), "synthesis": weights.B.reshape(-1, *filters),
            "dictionary": weights.D.reshape(filters), "threshold": weights.t0, "threshold_slope": weights.t1,
        }  # fmt: skip
        about = {"kind": "prior", "format": FORMAT, "stride": shape.stride, "provenance": dict(self.provenance)}
        save_checkpoint(arrays, path, metadata=about, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Prior:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            If the file is missing, damaged, or isn't a prior.
        """
        arrays, about = load_checkpoint(path)
        try:
            return _from_arrays(arrays, about)
        except InputError as error:
            raise error.about(str(path)) from None

    @classmethod
    def default(cls, kind: str = "gray") -> Prior:
        """Return a prior that ships, the same one every time: ``"gray"`` or ``"color"``, or ``"fill"``, which fills.

        Raises
        ------
        InputError
            If none of that kind ships.
        """
        if kind not in SHIPPED:
            raise InputError("kind", f"must be one of {', '.join(map(repr, SHIPPED))}, got {kind!r}")
        return _shipped(kind)


@lru_cache
def _shipped(kind: str) -> Prior:
    with resources.as_file(resources.files("csc_cogd.data") / f"prior_{kind}.safetensors") as path:
        prior = Prior.load(path)
    prior.network.vector.setflags(write=False)
    return replace(prior, network=replace(prior.network))  # whose weights are views that can't be written to


def _from_arrays(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Prior:
    """Return the prior of a file, after checking everything that it says."""
    if about.get("kind") != "prior" or sorted(arrays) != sorted(_NAMES):
        raise InputError("", "isn't a prior", "make one by learn_prior")
    if about.get("format") != FORMAT:
        raise InputError("", "written by a newer version of csc-cogd", "upgrade to read it")
    analysis, stride = arrays["analysis"], about.get("stride")
    if analysis.ndim != 5 or analysis.shape[3] != analysis.shape[4] or not isinstance(stride, int):
        raise InputError("", "isn't a prior: its arrays don't fit together")
    K, M, C, P, _ = analysis.shape
    shape = Shape(C, M, P, stride, K)
    wanted = ((K, M, C, P, P), (K - 1, M, C, P, P), (M, C, P, P), (K, M), (K, M))
    if C not in CHANNELS or any(arrays[name].shape != size for name, size in zip(_NAMES, wanted, strict=True)):
        raise InputError("", "isn't a prior: its arrays don't fit together")
    vector = np.concatenate([arrays[name].astype(np.float32).ravel() for name in _NAMES])
    prior = Prior(Network(shape, vector), about.get("provenance") or {})
    weights = prior.network.weights
    if not np.isfinite(vector).all() or min(weights.t0.min(), weights.t1.min()) < 0:
        raise InputError("", "isn't a prior that can be used: it has infinite weights, or thresholds below zero")
    return prior


def _checked_sigma(sigma: Any, shape: tuple[int, ...], name: str = "sigma") -> np.ndarray:
    array = to_numpy(sigma, name).astype(np.float64)
    if array.shape not in ((), shape) or not np.isfinite(array).all() or (array < 0).any():
        raise InputError(name, f"must be finite and zero or more: one number, or an array of shape {shape}")
    return array


def _scale_of(planes: np.ndarray) -> tuple[float, float]:
    """Return what 1 and 0 of the network's scale are in an image: the range of 8 bits, or of the values."""
    if planes.dtype == np.uint8:
        return 255.0, 0.0
    low, high = (float(value) for value in np.quantile(planes.astype(np.float64), (0.001, 0.999)))
    return (high - low if high > low else max(abs(low), 1.0)), low
