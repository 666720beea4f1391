"""Learn the dictionaries that ship: ``python data/learn_dictionaries.py gray|color [--output FILE]``.

Needs scikit-image and scikit-learn, whose sample photographs it reads (terms: README.md beside this file). The pictures
are turned, mirrored and scaled down, slightly low-passed (grain and JPEG blocks would be learned as texture otherwise),
and their smooth part is taken off as in inpainting. The gray filters start from windowed patches, the color filters from
the gray ones.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.fft
import skimage.data
import sklearn.datasets
from skimage.transform import rescale

from csc_cogd import Dictionary, learn_dictionary
from csc_cogd.restore.stages.base_layer import base_layer

COUNTS, SIZES = (16, 32, 48), (8, 12, 16)
PIECE = 100
PIECES = 40
ROUNDS = {"gray": 80, "color": 30}
SETTINGS = {"lmbda": 0.02, "gradient_penalty": 0.1, "code_iterations": 6, "filter_iterations": 4}
SHARES = {  # of the pieces, before scaling
    "china": 8, "flower": 5, "coffee": 4, "chelsea": 4, "rocket": 4, "brick": 0.5, "grass": 0.5, "gravel": 0.5,
}  # fmt: skip
CHROMATIC = 24
OPPONENT = ((1, 1, 1), (1, 0, -1), (1, -2, 1))
COLORED = ("china", "flower", "coffee", "chelsea", "rocket")
LUMINANCE = (0.299, 0.587, 0.114)


def photographs(color: bool):
    """(share, planes (C, H, W) in [0, 1]) of every picture at three scales."""
    for name, share in SHARES.items():
        if color and name not in COLORED:
            continue
        picture = (
            sklearn.datasets.load_sample_image(f"{name}.jpg")
            if name in ("china", "flower")
            else getattr(skimage.data, name)()
        ) / 255
        if not color:
            picture = picture @ LUMINANCE if picture.ndim == 3 else picture
        for scale in (1, 0.7, 0.5):
            scaled = rescale(picture, scale, anti_aliasing=True, channel_axis=-1 if color else None)
            planes = np.moveaxis(scaled, -1, 0) if color else scaled[None]
            if min(planes.shape[1:]) > PIECE:
                planes = without_grain(planes)
                yield share, planes - base_layer(planes)


def without_grain(planes: np.ndarray) -> np.ndarray:
    """Low-pass that leaves frequencies up to 0.35 cycles per pixel as they are and takes those above 0.55 away."""
    H, W = planes.shape[1:]
    radius = np.hypot(np.arange(H)[:, None] / (2 * H), np.arange(W) / (2 * W))
    spectrum = scipy.fft.dctn(planes, axes=(1, 2)) / (1 + (radius / 0.42) ** 8)
    return scipy.fft.idctn(spectrum, axes=(1, 2))


def pieces(pictures, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random pieces with something in them, turned and mirrored, (count, C, PIECE, PIECE)."""
    shares = np.array([share for share, _ in pictures])
    found = []
    while len(found) < count:
        picture = pictures[generator.choice(len(pictures), p=shares / shares.sum())][1]
        top, left = (generator.integers(0, size - PIECE + 1) for size in picture.shape[1:])
        piece = picture[:, top : top + PIECE, left : left + PIECE]
        if piece.std() < 0.01:
            continue
        piece = np.rot90(piece, generator.integers(4), axes=(1, 2))
        found.append(piece[:, :, ::-1] if generator.random() < 0.5 else piece)
    return np.array(found)


def initial_filters(pictures, generator: np.random.Generator) -> Dictionary:
    """Windowed patches of the pictures, of unit norm."""
    shapes = np.repeat([(size, size) for size in SIZES], COUNTS, axis=0)
    filters = np.zeros((len(shapes), pictures[0][1].shape[0], max(SIZES), max(SIZES)))
    for d, (size, _) in zip(filters, shapes, strict=True):
        patch = np.zeros(1)
        while patch.std() < 0.02:
            piece = pieces(pictures, 1, generator)[0]
            top, left = generator.integers(0, PIECE - size, 2)
            patch = piece[:, top : top + size, left : left + size]
        window = np.hanning(size + 2)[1:-1]
        d[:, :size, :size] = (patch - patch.mean(axis=(1, 2), keepdims=True)) * np.outer(window, window)
        d /= np.linalg.norm(d)
    return Dictionary(filters[:, 0] if filters.shape[1] == 1 else filters, shapes)


def colored(gray: Dictionary) -> Dictionary:
    """Initial color filters: every gray filter in luminance, the coarsest ones also in two opponent colors."""
    coarsest = np.sort(np.argsort(gray.center_frequencies(), kind="stable")[:CHROMATIC])
    filters, shapes = [], []
    for direction, chosen in zip(OPPONENT, (np.arange(gray.n_filters), coarsest, coarsest), strict=True):
        unit = np.array(direction) / np.linalg.norm(direction)
        filters.append(gray.filters[chosen, None] * unit[:, None, None])
        shapes.append(gray.shapes[chosen])
    order = np.argsort(np.concatenate(shapes)[:, 0], kind="stable")
    return Dictionary(np.concatenate(filters)[order], np.concatenate(shapes)[order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["gray", "color"])
    parser.add_argument("--output")
    arguments = parser.parse_args()
    color = arguments.kind == "color"
    generator = np.random.default_rng(1)
    pictures = list(photographs(color))
    dictionary = colored(Dictionary.default("gray")) if color else initial_filters(pictures, generator)
    sizes, counts = np.unique(dictionary.shapes[:, 0], return_counts=True)
    images = pieces(pictures, PIECES, generator)
    learned = learn_dictionary(
        images if color else images[:, 0],
        [int(count) for count in counts],
        [int(size) for size in sizes],
        max_iter=ROUNDS[arguments.kind],
        tol=0,
        start=dictionary,
        callback=lambda record: print(f"round {record.iteration}: objective {record.objective:.2f}", flush=True),
        **SETTINGS,
    )
    found = learned.dictionary
    provenance = dict(found.provenance) | {
        "sources": [name for name in SHARES if not color or name in COLORED],
        "script": "data/learn_dictionaries.py",
    }
    filters = found.filters / np.linalg.norm(found.filters.reshape(found.n_filters, -1), axis=1).reshape(
        -1, *[1] * (found.filters.ndim - 1)
    )
    Dictionary(filters.astype(np.float32), found.shapes, provenance).save(
        arguments.output or f"data/{arguments.kind}.npz", overwrite=True
    )


if __name__ == "__main__":
    main()
