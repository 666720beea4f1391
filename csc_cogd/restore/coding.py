"""What the tasks share that restore by a code: engine, progress, channels that are coded together, weights of filters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from csc_cogd.csc.alternation import Round
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.errors import InputError


class Progress(NamedTuple):
    """What the callback of a task is told.

    Attributes
    ----------
    stage : str
        Such as "base layer", "codes", "patches", "tiles" or "learning".
    done, total : int
        How far the stage is, from 0 to `total`.
    record : Iteration, Round, or None
        The solver's, where there is one.
    """

    stage: str
    done: int
    total: int
    record: Iteration | Round | None


def engine_settings(dtype: Any, device: str, threads: int | None, fft: str | None) -> dict[str, Any]:
    """The engine's arguments for a task. Few transforms are done of any one size, so FFT plans aren't measured."""
    fft = "estimated" if fft in (None, "auto") else fft
    return {"dtype": dtype, "device": device, "threads": threads, "fft": fft}


def frequency_weights(dictionary: Dictionary) -> np.ndarray:
    """l1 weights proportional to the filters' frequencies, geometric mean one.

    Natural images have little power at high frequencies, so a fine filter needs more evidence than a coarse one. With equal
    weights, fine filters fit the pixels that happen to be known and ring in the gaps between them.
    """
    frequencies = np.maximum(dictionary.center_frequencies(), 1e-3)
    return frequencies / np.exp(np.log(frequencies).mean())


def channel_groups(n_channels: int, dictionary: Dictionary | None) -> list[tuple[slice, Dictionary]]:
    """Which channels are coded together, and over which dictionary."""
    if dictionary is not None:
        check_dictionary(dictionary)
    if dictionary is not None and dictionary.n_channels not in (1, 3, n_channels):
        have = f"{dictionary.n_channels} channels, the image {n_channels}"
        raise InputError(f"dictionary: its filters have {have}: use a grey one, or one with the image's channels")
    if dictionary is not None and dictionary.n_channels == n_channels:
        return [(slice(0, n_channels), dictionary)]
    if n_channels not in (3, 4) or (dictionary is not None and dictionary.n_channels == 1):
        gray = Dictionary.default("gray") if dictionary is None else dictionary
        if gray.n_channels != 1:
            raise InputError(f"dictionary: its filters have 3 channels, the image {n_channels}: use a grey one")
        return [(slice(c, c + 1), gray) for c in range(n_channels)]
    color = Dictionary.default("color") if dictionary is None else dictionary
    groups = [(slice(0, 3), color)]
    if n_channels == 4:
        groups.append((slice(3, 4), Dictionary.default("gray")))
    return groups
