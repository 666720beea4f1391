"""Small sets of images, and the weights that come of them."""

import numpy as np

from csc_cogd.nn import (
    load_checkpoint,
)

FEW = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")
OUT = ("-o", "w.safetensors")


def save_set(path, **parts):
    """An npz file of sets by the names of their parts, or of one without."""
    arrays = {"class_names": np.array(next(iter(parts.values())).class_names)}
    for part, images in parts.items():
        prefix = "" if part == "whole" else f"{part}_"
        arrays |= {f"{prefix}images": images.images, f"{prefix}labels": images.labels}
    np.savez(path, **arrays)


def states(*paths):
    return [load_checkpoint(path)[0] for path in paths]


def same(first, second):
    return first.keys() == second.keys() and all((array == second[name]).all() for name, array in first.items())
