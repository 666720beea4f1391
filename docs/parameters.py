"""Docstrings as the API reference shows them: each parameter gets a row, with its own type, and a description.

In the source, parameters that belong together share an entry, and those whose name and type say all have no description.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(
    r"^(Parameters|Attributes|Returns|Yields)\n-+\n(?P<entries>.*?)(?=^\S[^\n]*\n---|\Z)", re.MULTILINE | re.DOTALL
)
_ENTRY = re.compile(
    r"^(?P<names>\w+(?:,\s*\w+)+)(?P<type> : [^\n]*)?\n(?P<description>(?:[ \t]+[^\n]*\n|\n)*)", re.MULTILINE
)
_ALONE = re.compile(r"^(?P<name>\w+)(?P<type> : [^\n]*)?\n(?=\n*(?:\S|\Z))", re.MULTILINE)
_DESCRIPTIONS = {
    "adversarial": "Weight of the discriminator's judgment.",
    "after": "Costs of the smaller network.",
    "array": "The values.",
    "arrays": "What the file holds, by name.",
    "b2": "How slowly the second moments change.",
    "batch_size": "How many images are taken at a time.",
    "before": "Costs of the network as it was.",
    "bits_per_value": "Entropy of the codes, divided by the values of the image.",
    "boundary": "Whether codes reach beyond the border, or wrap around.",
    "callback": "Is told of each iteration; a true return value ends it.",
    "checkpoint": "Where learning is saved every few rounds, and goes on from if it is there.",
    "checkpoint_every": "Rounds from one checkpoint to the next.",
    "class_names": "Names of the classes, in the order of their labels.",
    "codes": "Sparse codes.",
    "detection": "What was found, and where.",
    "device": "Where to compute; see [`get_backend`][csc_cogd.backend.get_backend].",
    "dictionary": "The filters.",
    "discriminator_learning_rate": "Learning rate of the discriminator.",
    "distillation": "Weight of the distance to the softened outputs of the network as it was.",
    "dtype": "Precision of the computation.",
    "engine": "Device, precision, threads and FFT library in one record.",
    "epochs": "How often each image is seen.",
    "epsilon": "Is added to the root of the second moments, so that nothing is divided by 0.",
    "factor": "How many times finer the grid of the scene is.",
    "fft": "FFT library of the CPU; see [`get_backend`][csc_cogd.backend.get_backend].",
    "files": "Files of images.",
    "filter_shape": "Height and width of the filters.",
    "fine_tuning": "Course of the training of the smaller network.",
    "gradient_penalty": "Weight of the squared gradients of the codes.",
    "history": "What was recorded of each iteration.",
    "history_": "What was recorded of each round.",
    "image": "The image.",
    "image_path": "The image's file.",
    "image_shape": "Channels, height and width of the network's images.",
    "images": "The images.",
    "images_per_second": "Speed of the training.",
    "indices": "Which images.",
    "kept": "Numbers of the channels that stay, by the names of groups.",
    "l1_weights": "Factors of the l1 term.",
    "label_smoothing": "Share of each label that is spread over all classes.",
    "labels": "Numbers of the classes of the images.",
    "lmbda": "Weight of the l1 term.",
    "mapper": "Maps a function over shards.",
    "mask_learning_rate": "Learning rate of the masks.",
    "metadata": "What is kept in the file besides.",
    "model": "What counts the FLOPs of the network by the channels that stay.",
    "momentum": "How much of the last step, or of the mean of gradients, stays in the next.",
    "mse": "Weight of the squared distance between the outputs of both networks.",
    "n_channels": "How many channels the group has.",
    "n_classes": "Between how many classes the network tells.",
    "n_shards": "Into how many parts the images are divided, which are learned from at a time.",
    "network": "The network.",
    "networks": "The networks, which are measured in turn.",
    "noise": "What kind of noise it is.",
    "normalization": "Mean and standard deviation of the pixels.",
    "objective_": "Objective at the end.",
    "pages": "Images in the file.",
    "part": "Which of the sets.",
    "path": "Where the file is, or is to be.",
    "quality": "How well each image is reconstructed, and from how much.",
    "recipe": "How long and how to train.",
    "reference": "What it is compared with.",
    "relaxation": "Over-relaxation of ADMM.",
    "requires_grad": "Whether gradients are computed for it.",
    "restored": "What is judged.",
    "rho": "Penalty of ADMM.",
    "rho_data": "Penalty of ADMM's copy of the images.",
    "seconds": "Time since the beginning.",
    "seed": "Of the random numbers.",
    "sparsity": "Weight of the sum of the masks.",
    "start": "The filters to begin with.",
    "status": "What became of it.",
    "step": "Number of the last step.",
    "step_factor": "By which the learning rate is multiplied at each step of the schedule.",
    "task": "What is done to each file.",
    "temperature": "By which outputs are divided to soften them.",
    "threads": "Threads of the CPU; by default, all processors that this process may use.",
    "threshold": "Channels whose masks are at or below it go.",
    "weight_decay": "How fast parameters shrink by themselves.",
    "weights": "1 where observed, 0 where missing.",
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
