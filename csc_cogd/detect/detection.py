"""What a search for dust, hairs and scratches found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from csc_cogd.errors import Remark, percent

KINDS = ("speck", "hair", "scratch")
POLARITIES = {"both": (1, -1), "dark": (1,), "light": (-1,)}
"""Signs of what is looked for: 1 of dark things, -1 of light ones."""
PLURALS = {"speck": "specks", "hair": "hairs", "scratch": "scratches"}


@dataclass(frozen=True)
class Component:
    """One speck, hair or scratch.

    Attributes
    ----------
    label : int
        Its value in :attr:`DustDetection.labels`, from 1.
    kind : {"speck", "hair", "scratch"}
        A scratch is long and straight; a hair is thin and curved.
    confidence : float
        Estimated probability, from 0 to 1, that it is damage and not part of the scene.
    area : int
        In pixels.
    box : tuple of int
        Top, left, bottom and right; bottom and right lie just outside.
    polarity : {"dark", "light"}
        Darker or lighter than its surroundings.
    """

    label: int
    kind: str
    confidence: float
    area: int
    box: tuple[int, int, int, int]
    polarity: str


@dataclass(frozen=True, eq=False)
class DustDetection:
    """What :func:`csc_cogd.find_dust` found.

    Attributes
    ----------
    mask : (H, W) bool array
        What is damaged, as `mask` of :func:`csc_cogd.inpaint`.
    labels : (H, W) int32 array
        The label of the component each pixel belongs to, 0 where there is none.
    components : tuple of Component
        The largest and most conspicuous first.
    transmission : (H, W) float32 array, optional
        Share of the light, from 0 to 1, that came through; known only if an infrared channel was given.
    remarks : tuple of Remark
        What should be known of the search, such as an infrared channel that couldn't be used.
    """

    mask: np.ndarray
    labels: np.ndarray
    components: tuple[Component, ...]
    transmission: np.ndarray | None = None
    remarks: tuple[Remark, ...] = ()

    def __repr__(self) -> str:
        return f"DustDetection({self.summary()})"

    def counts(self) -> dict[str, int]:
        """Return how many components of each kind there are."""
        found = Counter(component.kind for component in self.components)
        return {kind: found[kind] for kind in KINDS}

    def summary(self) -> str:
        """Say what was found, such as ``"112 specks, 3 hairs and 1 scratch, 0.21% of the area"``."""
        parts = [f"{n} {kind if n == 1 else PLURALS[kind]}" for kind, n in self.counts().items() if n]
        if not parts:
            return "nothing"
        listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
        return f"{listed}, {percent(self.mask.mean(), 2)} of the area"
