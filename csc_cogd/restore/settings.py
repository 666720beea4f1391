"""What a restoration is asked for: records that are checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from csc_cogd.csc.settings import check_settings
from csc_cogd.engine import take_numbers
from csc_cogd.errors import InputError
from csc_cogd.restore.extents import clusters, share_of, shared_plane, widened, within

EFFORTS = ("fast", "default", "best")
FILLS = ("auto", "smooth", "texture")
MIN_TILE = 32
ROUNDS = {"fast": 4, "default": 4, "best": 8}  # of the code solve, by coordinate descent
LARGE_HOLE_SHARE = 0.09  # fraction of missing values inside of holes from which larger patches are better
ADAPT_ABOVE = 0.6  # fraction of missing values from which the dictionary is worth adapting,
CHECK_ABOVE = 0.8  # and from which biharmonic interpolation may be better still: on smooth images
SHRINK_ABOVE = 0.42  # of what surrounds known values beside missing ones: from there on, covariances are shrunk more
PASSES = {"gray": {"fast": 3, "default": 8, "best": 12}, "color": {"fast": 2, "default": 4, "best": 6}}
"""Over similar patches; as in gray where channels miss other values each, which then tell of each other step by step."""
PASSES_AFTER_PRIOR = {"gray": {"fast": 2, "default": 4, "best": 8}, "color": {"fast": 2, "default": 3, "best": 6}}
STILL = 0.5 / 255  # where no value moves by more, gray is as good after fewer passes, and color isn't,
STILL_BELOW = 0.4  # if a smaller fraction of the missing values is inside of holes: thin scratches and small specks
TOGETHER_AFTER_PRIOR = 8  # patches of a group that are estimated where channels tell of each other after a prior
PRIOR_ABOVE = 0.42  # of what surrounds known values beside missing ones: from there on, the prior that ships helps,
DENSE = 0.7  # fraction of missing values from which codes are better pilots than a prior
CODE_ABOVE = {"gray": 0.42, "color": 0.6}  # of what surrounds known values beside missing ones: from there on, codes help
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
        take_numbers(self)
        if self.fill not in FILLS:
            raise InputError("fill", f"must be one of {', '.join(map(repr, FILLS))}, got {self.fill!r}")
        if self.effort not in EFFORTS:
            raise InputError("effort", f"must be one of {', '.join(map(repr, EFFORTS))}, got {self.effort!r}")
        check_settings(self.lmbda or 0.0, 1 if self.max_iter is None else self.max_iter, self.tol)

    @property
    def of_the_code(self) -> str:
        """Name of the first setting given, but `learn`, that belongs to the sparse code; empty if none is."""
        return "lmbda" if self.lmbda is not None else "max_iter" if self.max_iter is not None else "tol" if self.tol else ""

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
        take_numbers(self)
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
        How many of them are estimated: the most similar ones;
    n_together : int, optional
        of channels that are estimated together. Default: as many.
    shrinkage : float
        Weight of a multiple of the identity in a group's covariance.
    together : int
        Last passes in which channels that miss the same are estimated together, and tell of each other.
    still : float
        Patches wait for the last pass where no missing value has moved by more than this in the pass before.
    """

    size: int = 6
    step: int = 4
    radius: int = 15
    n_similar: int = 60
    n_estimated: int = 16
    n_together: int | None = None
    shrinkage: float = 0.01
    together: int = 0
    still: float = 0.0


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
    pilot : {"code", "prior", "biharmonic"}
        What similar patches begin with: a sparse code, a prior that fills, or biharmonic interpolation.
    """

    max_iter: int
    passes: int
    patches: PatchModel
    learn: bool = False
    check: bool = True
    pilot: str = "code"


def choose_effort(
    solve: Solve, missing: np.ndarray, noise_sigma: float, *, own_dictionary: bool = False, prior: str = "none"
) -> Effort:
    """Choose what suits the damage, (C, H, W) bool, and the noise, for values in [0, 1]; what `solve` says holds.

    Where it says anything of the code, or the dictionary isn't the one that ships, there is a code. `prior` tells of one
    that fills: ``"none"``; ``"default"``, in place of a code but where nearly all is missing, or channels miss other values
    each, as the code knows all of them together; or ``"own"``, whatever the damage.
    """
    fast, best, channels = solve.effort == "fast", solve.effort == "best", len(missing)
    rounds = ROUNDS[solve.effort]
    if noise_sigma:
        size, step = 6 if channels == 1 else 5, 4 if fast else 2 if best else 3
        patches = PatchModel(size=size, step=step, n_estimated=60, shrinkage=0.0)
        effort = Effort(rounds, 3 if noise_sigma < STRONG_NOISE else 2, patches, check=not fast)
    else:
        damage = Damage.of(missing)
        kind = "color" if channels > 1 and damage.shared else "gray"
        large_holes = damage.inside > LARGE_HOLE_SHARE
        size = 8 if large_holes and channels == 1 else 6 if large_holes or damage.shared or channels == 1 else 5
        step, n_estimated = {"fast": (4, 24), "default": (4, 16), "best": (3, 24)}[solve.effort]
        joint = channels > 1 and damage.shared
        together = (2 if best else int(not fast)) if joint else 0
        little = joint and (fast or not (best or damage.scattered > SHRINK_ABOVE))
        pilot, passes = "biharmonic", PASSES[kind][solve.effort]
        serves = damage.scattered > PRIOR_ABOVE and damage.share < DENSE and (damage.shared or channels == 1)
        if own_dictionary or solve.learn or solve.of_the_code:
            pilot = "code"
        elif prior == "own" or (prior == "default" and serves):
            pilot = "prior"
        elif damage.scattered > CODE_ABOVE[kind]:
            pilot = "code"
        if pilot == "prior":
            passes = PASSES_AFTER_PRIOR[kind][solve.effort]
        calm = kind == "gray" and pilot == "biharmonic" and damage.inside < STILL_BELOW
        sure = pilot == "prior" and not best
        effort = Effort(
            rounds,
            passes + (large_holes and not fast),
            PatchModel(
                size,
                step,
                n_estimated=n_estimated,
                n_together=TOGETHER_AFTER_PRIOR if sure else None,
                shrinkage=0.003 if little else 0.01,
                together=together,
                still=STILL if solve.effort == "default" and calm else 0.0,
            ),
            learn=best and pilot == "code" and damage.share > ADAPT_ABOVE,
            check=damage.share > CHECK_ABOVE and not fast,
            pilot=pilot,
        )
    learn = effort.learn if solve.learn is None else solve.learn
    return replace(effort, learn=learn, max_iter=rounds if solve.max_iter is None else solve.max_iter)


class Damage(NamedTuple):
    """How damage lies.

    Attributes
    ----------
    share : float
        Of the values that are missing.
    inside : float
        Share of the missing values without a known neighbor: high for large holes, and where little is known.
    scattered : float
        Share of what surrounds known values beside missing ones that is missing: less than half beside holes and lines,
        whatever their size; as much as is missing, where values are missing one by one.
    shared : bool
        Whether all channels miss the same.
    """

    share: float
    inside: float
    scattered: float
    shared: bool

    @classmethod
    def of(cls, missing: np.ndarray) -> Damage:
        """Look at what is missing, (C, H, W) bool."""
        shared = shared_plane(missing)
        inside = beside = around = count = 0
        for plane in missing if shared is None else shared[None]:
            for window in clusters(plane):
                near = widened(window, 1, plane.shape)
                outer = widened(near, 1, plane.shape)
                place = within(near, outer)
                gone, neighbors = plane[near], _missing_neighbors(plane[outer])[place]
                touching = neighbors[(_missing_neighbors(plane[outer], outside=False)[place] > 0) & ~gone]
                inside += int((neighbors[gone] == 8).sum())
                beside, around = beside + touching.size, around + int(touching.sum())
                count += int(np.count_nonzero(gone))
        return cls(share_of(missing), inside / max(count, 1), around / max(8 * beside, 1), shared is not None)


def _missing_neighbors(missing: np.ndarray, outside: bool = True) -> np.ndarray:
    """Return how many of the eight neighbors of every pixel are missing, as may be those `outside`, (H, W) of uint8."""
    padded = np.pad(missing, 1, constant_values=outside).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - missing
