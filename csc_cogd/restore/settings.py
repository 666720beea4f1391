"""What a restoration is asked for: records that are checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_erosion

from csc_cogd.csc.settings import check_settings
from csc_cogd.errors import InputError

EFFORTS = ("fast", "default", "best")
FILLS = ("auto", "smooth", "texture")
MIN_TILE = 32
ROUNDS = {"fast": 4, "default": 4, "best": 8}  # of the code solve, by coordinate descent
LARGE_HOLE_SHARE = 0.09  # fraction of missing values inside of holes from which larger patches are better
ADAPT_ABOVE = 0.6  # fraction of missing values from which the dictionary is worth adapting,
CHECK_ABOVE = 0.8  # and from which biharmonic interpolation may be better still: on smooth images
STRONG_NOISE = 0.12  # more passes than two blur what is left under it


@dataclass(frozen=True)
class Solve:
    """How an image is restored.

    Attributes
    ----------
    effort : {"default", "fast", "best"}
        How much time to spend.
    learn : bool, optional
        Adapt the dictionary to the image; default: by the effort and the damage.
    lmbda : float >= 0, optional
        Weight of the l1 term for an image in [0, 1]; default: by the noise.
    max_iter : int >= 1, optional
        Iterations of the code solve (of coordinate descent, rounds); default: by effort and task.
    tol : float >= 0
        Relative residuals below which the code solve stops earlier.
    fill : {"auto", "smooth", "texture"}
        Whether holes are filled with what is most likely, which is smooth, or with texture from elsewhere, which is
        invented; ``"auto"``: with texture the large ones of photographs, where what is around has texture.

    Raises
    ------
    InputError
        If one isn't of these.
    """

    effort: str = "default"
    learn: bool | None = None
    lmbda: float | None = None
    max_iter: int | None = None
    tol: float = 0.0
    fill: str = "auto"

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise InputError("fill", f"must be one of {', '.join(map(repr, FILLS))}, got {self.fill!r}")
        if self.effort not in EFFORTS:
            raise InputError("effort", f"must be one of {', '.join(map(repr, EFFORTS))}, got {self.effort!r}")
        check_settings(self.lmbda or 0.0, 1 if self.max_iter is None else self.max_iter, self.tol)

    def of_science(self) -> Solve:
        """Return the settings for what is no photograph: nothing is invented unless it is asked for."""
        return replace(self, fill="smooth") if self.fill == "auto" else self


@dataclass(frozen=True)
class Tiling:
    """In which pieces an image is restored.

    Attributes
    ----------
    tile : "auto", or int
        Side of the tiles in pixels; 0 for all of the damage at once.
    max_memory : float, optional
        In bytes, of the whole program, or of a GPU's memory where that computes; default: 2e9, or most of what is free on
        the GPU.

    Raises
    ------
    InputError
        If `tile` isn't the side of a tile.
    """

    tile: int | str = "auto"
    max_memory: float | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.tile, (int, np.integer)) and not isinstance(self.tile, bool)
        if self.tile != "auto" and not (whole and (self.tile == 0 or int(self.tile) >= MIN_TILE)):
            raise InputError("tile", f"must be 'auto', 0 for all at once, or {MIN_TILE} or more pixels, got {self.tile!r}")


@dataclass(frozen=True)
class PatchModel:
    """Which patches are taken for similar, and how they are used.

    Attributes
    ----------
    size : int
        Side of a patch in pixels.
    step : int
        Distance between reference patches.
    radius : int
        How far away similar patches are looked for.
    n_similar : int
        Patches in a group.
    n_estimated : int
        How many of them are estimated: the most similar ones.
    shrinkage : float
        Weight of a multiple of the identity in a group's covariance.
    """

    size: int = 6
    step: int = 4
    radius: int = 15
    n_similar: int = 60
    n_estimated: int = 16
    shrinkage: float = 0.01


@dataclass(frozen=True)
class Effort:
    """How much is spent on an image.

    Attributes
    ----------
    max_iter : int
        Rounds of the code solve by coordinate descent, or twenties of iterations of ADMM. Stopping early is part of the
        regularization: many more don't improve the image.
    passes : int
        Over similar patches.
    patches : PatchModel
    learn : bool
        Adapt the dictionary to the image first.
    check : bool
        Measure the result against biharmonic interpolation.
    """

    max_iter: int
    passes: int
    patches: PatchModel
    learn: bool = False
    check: bool = True


def choose_effort(solve: Solve, missing: np.ndarray, noise_sigma: float) -> Effort:
    """Choose what suits the damage, (C, H, W) bool, and the noise, for values in [0, 1]; what `solve` says holds."""
    fast, best, channels = solve.effort == "fast", solve.effort == "best", len(missing)
    rounds = ROUNDS[solve.effort]
    if noise_sigma:
        size, step = 6 if channels == 1 else 5, 4 if fast else 2 if best else 3
        patches = PatchModel(size=size, step=step, n_estimated=60, shrinkage=0.0)
        effort = Effort(rounds, 3 if noise_sigma < STRONG_NOISE else 2, patches, check=not fast)
    else:
        large_holes, share = _inside_holes(missing) > LARGE_HOLE_SHARE, missing.mean()
        size = (8 if large_holes else 6) if channels == 1 else (6 if large_holes else 5)  # colors are estimated together
        n_estimated = 24 if best else 8 if fast and channels > 1 else 16
        passes = {"fast": 4, "default": 6, "best": 12}[solve.effort]
        if large_holes and not fast:
            passes += passes // 3
        effort = Effort(
            rounds,
            passes,
            PatchModel(size=size, step=3 if best else 4, n_estimated=n_estimated),
            learn=bool(best and share > ADAPT_ABOVE),
            check=bool(share > CHECK_ABOVE and not fast),
        )
    learn = effort.learn if solve.learn is None else solve.learn
    return replace(effort, learn=learn, max_iter=rounds if solve.max_iter is None else solve.max_iter)


def _inside_holes(missing: np.ndarray) -> float:
    """Return the fraction of missing values without a known neighbor: high for large holes, and where little is known."""
    inner = np.array([binary_erosion(plane, np.ones((3, 3), bool), border_value=1) for plane in missing])
    return float(inner.sum() / max(missing.sum(), 1))
