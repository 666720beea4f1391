"""Docstrings as the API reference shows them: each parameter gets a row, with its own type, and a description.

In the source, parameters that belong together share an entry, and those whose name and type say all have no description.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n(?P<entries>.*?)(?=^\S[^\n]*\n---|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(
    r"^(?P<names>\w+(?:,\s*\w+)+)(?P<type> : [^\n]*)?\n(?P<description>(?:[ \t]+[^\n]*\n|\n)*)", re.MULTILINE
)
_ALONE = re.compile(r"^(?P<name>\w+)(?P<type> : [^\n]*)?\n(?=\S|\Z)", re.MULTILINE)
_DESCRIPTIONS = {
    "batch_size": "How many images are taken at a time.",
    "boundary": "Whether codes reach beyond the border, or wrap around.",
    "checkpoint": "Where learning is saved every few rounds, and goes on from if it is there.",
    "checkpoint_every": "Rounds from one checkpoint to the next.",
    "codes": "Sparse codes.",
    "device": "Where to compute; see [`get_backend`][csc_cogd.backend.get_backend].",
    "dictionary": "The filters.",
    "dtype": "Precision of the computation.",
    "engine": "Device, precision, threads and FFT library in one record.",
    "epochs": "How often each image is seen.",
    "fft": "FFT library of the CPU; see [`get_backend`][csc_cogd.backend.get_backend].",
    "filter_shape": "Height and width of the filters.",
    "gradient_penalty": "Weight of the squared gradients of the codes.",
    "history": "What was recorded of each iteration.",
    "image": "The image.",
    "image_shape": "Channels, height and width of the network's images.",
    "images": "The images.",
    "network": "The network.",
    "noise": "What kind of noise it is.",
    "path": "Where the file is, or is to be.",
    "recipe": "How long and how to train.",
    "relaxation": "Over-relaxation of ADMM.",
    "rho": "Penalty of ADMM.",
    "rho_data": "Penalty of ADMM's copy of the images.",
    "seed": "Of the random numbers.",
    "start": "The filters to begin with.",
    "threads": "Threads of the CPU; by default, all processors that this process may use.",
    "zero_mean": "Whether the filters have mean zero.",
}


class SharedEntries(griffe.Extension):
    """Divides entries such as ``low, high : float`` into one for each parameter."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _SECTION.sub(_divided, obj.docstring.value + "\n").rstrip()


def _divided(section: re.Match[str]) -> str:
    entries = _ALONE.sub(_described, _ENTRY.sub(_one_each, section["entries"]))
    return section[0].replace(section["entries"], entries)


def _one_each(entry: re.Match[str]) -> str:
    names = re.split(r",\s*", entry["names"])
    return "".join(f"{name}{entry['type'] or ''}\n{entry['description'].rstrip()}\n" for name in names)


def _described(entry: re.Match[str]) -> str:
    description = _DESCRIPTIONS.get(entry["name"])
    return entry[0] + (f"    {description}\n" if description else "")
