"""What is looked for in a scan, and how it is filled: a record that is checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from csc_cogd.errors import InputError

POLARITIES = ("both", "dark", "light")
GRAINS = ("auto", "off")
PRESETS = {"film": "light", "slide": "dark", "print": "both"}
"""What damage is to the picture: negatives show dust lighter once they are inverted, slides darker; prints have both."""


@dataclass(frozen=True)
class Cleaning:
    """What is looked for in a scan, and how it is filled.

    Attributes
    ----------
    sensitivity : float
        From 0 to 1: how faint damage is found, and how often the picture's own detail is taken for it.
    polarity : {"both", "dark", "light"}
        Damage is darker or lighter than the picture, or either.
    grain : {"auto", "off"}
        "auto" gives fills the grain of the picture, in photographs: unsigned integers of 1 or 3 channels.
    seed : int
        Of the grain.
    frames : bool
        The pages of a file are frames of a film whose scene stands still: what a frame has and its neighbors lack is dust.

    Raises
    ------
    InputError
        If one isn't of these.
    """

    sensitivity: float = 0.5
    polarity: str = "both"
    grain: str = "auto"
    seed: int = 0
    frames: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.sensitivity, bool) or not isinstance(self.sensitivity, Real) or not 0 <= self.sensitivity <= 1:
            raise InputError("sensitivity", f"must be a number from 0 to 1, got {self.sensitivity!r}")
        if self.polarity not in POLARITIES:
            raise InputError("polarity", f"must be one of {', '.join(map(repr, POLARITIES))}, got {self.polarity!r}")
        if self.grain not in GRAINS:
            raise InputError("grain", f"must be one of {', '.join(map(repr, GRAINS))}, got {self.grain!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise InputError("seed", f"must be an integer >= 0, got {self.seed!r}")
        if not isinstance(self.frames, bool):
            raise InputError("frames", f"must be True or False, got {self.frames!r}")
