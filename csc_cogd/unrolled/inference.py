"""A network on images of any size: tile by tile, each with the surroundings that its result depends on.

So memory is bounded. How an image is cut depends on its size alone, so the result is the same, bit for bit, whatever number
of threads works on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import Backend, array_module, single_threaded_blas
from csc_cogd.engine import Engine
from csc_cogd.unrolled.network import Network

SIDE = 512
"""Of the tiles' cores, in pixels."""
TURNS = 8
"""Of the image, mirrored and by right angles, whose estimates are averaged: strided filters see each in another way."""


class Piece(NamedTuple):
    """A tile: what is computed, where its core is in that, and where it is in the image."""

    window: tuple[slice, slice]
    inside: tuple[slice, slice]
    core: tuple[slice, slice]


def denoise_planes(
    network: Network, planes: np.ndarray, sigma: Any, backend: Backend, *, means: Any = None, missing: Any = None,
    side: int = SIDE,
) -> np.ndarray:  # fmt: skip
    """Take white Gaussian noise off planes.

    Parameters
    ----------
    network : Network
        Of C channels, or of one: then each plane is denoised by itself.
    planes : (C, H, W) array of float
        In about [0, 1].
    sigma : float, or (H, W) array
        Standard deviation of the noise.
    backend : Backend
        Computes, piece by piece; the planes stay in main memory.
    means : (C,) array, optional
        Of the planes, if they are pieces of larger ones; default: their own.
    missing : (C, H, W) bool array, optional
        Where the planes are a first guess.
    side : int
        Of the tiles' cores; the result depends on it only in its last bits.

    Returns
    -------
    (C, H, W) float32 array
    """
    groups = planes.astype(np.float32)
    groups = groups[:, None] if network.shape.channels == 1 else groups[None]
    gone = None if missing is None else np.broadcast_to(missing, planes.shape).reshape(groups.shape)
    sigmas = np.broadcast_to(np.asarray(sigma, np.float32), planes.shape[1:])
    means = np.asarray(groups.mean(axis=(2, 3), dtype=np.float64) if means is None else means)
    means = means.reshape(len(groups), -1).mean(axis=1).astype(np.float32)
    result, network = np.empty_like(groups), network.on(backend)

    def work(task: tuple[int, Piece]) -> None:
        number, piece = task
        rows, columns = piece.window
        known = None if gone is None else ~gone[number][:, rows, columns]
        centered = groups[number][:, rows, columns] - means[number]
        estimate = backend.to_host(_denoise(network, centered, sigmas[rows, columns], known))
        result[number][:, piece.core[0], piece.core[1]] = estimate[:, piece.inside[0], piece.inside[1]] + means[number]

    pieces = list(cut(planes.shape[1:], side, network.shape.halo, network.shape.stride))
    with single_threaded_blas():
        for _ in backend.each(work, product(range(len(groups)), pieces)):
            pass
    return result.reshape(planes.shape)


def turned_mean(
    network: Network, planes: np.ndarray, sigma: Any, engine: Engine, means: Any, turns: int = TURNS
) -> np.ndarray:
    """Return the mean of a network's estimates of planes (C, H, W), turned and mirrored in so many ways, at most 8.

    `sigma` is a number, or (H, W); the planes are of an image with means (C,).
    """
    within = engine.single_threaded().backend
    sigmas = np.broadcast_to(np.asarray(sigma, np.float32), planes.shape[1:])

    def estimate(turn: int) -> np.ndarray:
        estimate = denoise_planes(network, _turned(planes, turn), _turned(sigmas, turn), within, means=means)
        return np.rot90(estimate[:, :, ::-1] if turn >= 4 else estimate, -(turn % 4), axes=(1, 2))

    ways = [turn * TURNS // turns for turn in range(turns)]
    return np.stack(list(engine.backend.each(estimate, ways))).mean(axis=0, dtype=np.float64)


def _turned(planes: np.ndarray, turn: int) -> np.ndarray:
    """Return planes (..., H, W) turned by so many right angles, and from four on mirrored, too."""
    turned = np.rot90(planes, turn % 4, axes=(-2, -1))
    return turned[..., ::-1] if turn >= 4 else turned


def code_planes(network: Network, planes: np.ndarray, sigma: Any) -> np.ndarray:
    """Return the codes (M, h, w) of planes (C, H, W) in about [0, 1], less their mean; all at once."""
    centered = planes.astype(np.float32) - np.float32(planes.mean(dtype=np.float64))
    codes, size = _encode(network, centered, np.broadcast_to(np.asarray(sigma, np.float32), planes.shape[1:]))
    return codes.reshape(-1, *size)


def cut(shape: tuple[int, ...], side: int, halo: int, stride: int) -> Iterator[Piece]:
    """Yield tiles of an image; their windows begin at multiples of the stride."""
    side = -(-side // stride) * stride

    def along(length: int) -> Iterator[tuple[slice, slice, slice]]:
        starts = range(0, max(length - side // 2, 1), side)  # what is left of less than half a side joins its neighbor
        for number, start in enumerate(starts):
            stop = length if number + 1 == len(starts) else start + side
            first, last = max(start - halo, 0), min(stop + halo, length)
            yield slice(first, last), slice(start - first, stop - first), slice(start, stop)

    for rows, columns in product(along(shape[0]), along(shape[1])):
        yield Piece(*zip(rows, columns, strict=True))


def _denoise(network: Network, planes: np.ndarray, sigmas: np.ndarray, known: np.ndarray | None = None) -> Any:
    """Return the estimate of planes less their mean, where the network's weights are."""
    codes, size = _encode(network, planes, sigmas, known)
    return network.from_phases(network.decode(codes, size), (planes.shape[1], planes.shape[2]))


def _encode(
    network: Network, planes: np.ndarray, sigmas: np.ndarray, known: np.ndarray | None = None
) -> tuple[Any, tuple[int, int]]:
    """Return the codes (M, h w) of planes less their mean, where the network's weights are, and (h, w)."""
    xp, stride = array_module(network.vector), network.shape.stride
    mask = np.ones_like(planes) if known is None else known.astype(planes.dtype)
    image, mask = (network.to_phases(xp.asarray(each)) for each in (planes, mask))
    h, w = network.code_shape(image)
    rows, columns = (
        np.minimum(np.arange(n) * stride + stride // 2, L - 1) for n, L in ((h, len(sigmas)), (w, sigmas.shape[1]))
    )
    return network.encode(image, mask, xp.asarray(sigmas[np.ix_(rows, columns)].ravel())), (h, w)
