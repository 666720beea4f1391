"""Learn what tells dust from things of the scene: ``python benchmarks/learn_dust.py -o data/dust.npz [--variants N]``.

Two of three photographs of ``CSC_COGD_DATA/photos``, and some that scikit-image and scikit-learn ship, at several sizes,
sharpened, blurred, compressed, as negatives, gray and grainy, are damaged as film is (``benchmarks/film.py``, the stamps for
training). Gradient-boosted trees of scikit-learn learn which of the candidates are damage, weighed by their size. The
photographs of `HELD_OUT` aren't learned from: settings are chosen on them. Every third photograph is left for
``benchmarks/clean.py``.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
from film import Film, damage, data_folder
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image
from sklearn.ensemble import HistGradientBoostingClassifier

from csc_cogd.detect.candidates import Candidates
from csc_cogd.detect.features import Scene, scaled
from csc_cogd.restore.observation import intensity_range

TEST_EVERY = 3  # photograph, the first one included
HELD_OUT = ("friends", "mate_wood", "picosdeeuropa", "plasma_fallenleaf")
PACKAGED = ("coffee", "chelsea", "rocket", "brick", "gravel", "grass")  # of scikit-image
SIDE = 640  # of a piece, at most
SMALLEST, SHORTEST = 0.3, 160  # to how much, and to how many pixels, photographs are reduced at most
AMOUNTS, LINES = (1, 3), (1, 4)  # times the usual damage, and times as many hairs and scratches
LEAST_CHANGE = 0.006  # by damage
ELONGATION = 3  # a feature
LINE, LINE_WEIGHT = 5.0, 3.0  # elongation from which a candidate is a line, and how many times as much it weighs
DAMAGED, CLEAN, VISIBLE = 0.6, 0.25, 0.15  # shares of a candidate


def learning_names() -> list[str]:
    names = sorted(path.stem for path in (data_folder() / "photos").glob("*.jpg"))
    return [name for number, name in enumerate(names) if number % TEST_EVERY and name not in HELD_OUT]


def photograph(name: str) -> Image.Image:
    return Image.open(data_folder() / "photos" / f"{name}.jpg").convert("RGB")


def photographs() -> Iterator[tuple[str, Image.Image]]:
    for name in learning_names():
        yield name, photograph(name)
    for name in PACKAGED:
        yield name, Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    for name in ("china", "flower"):
        yield name, Image.fromarray(load_sample_image(f"{name}.jpg"))


def piece(whole: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph, (H, W, 3) in [0, 1], reduced; by chance sharpened, blurred, compressed, negative, gray."""
    smallest = min(max(SMALLEST, SHORTEST / min(whole.size)), 1)
    factor = float(np.exp(rng.uniform(np.log(smallest), 0)))
    reach = SIDE / factor
    left, top = (rng.uniform(0, max(side - reach, 0)) for side in whole.size)
    box = (left, top, min(left + reach, whole.width), min(top + reach, whole.height))
    size = (round((box[2] - left) * factor), round((box[3] - top) * factor))
    image = whole.resize(size, Image.Resampling.LANCZOS, box)
    if rng.random() < 0.35:
        image = image.filter(ImageFilter.UnsharpMask(rng.uniform(0.5, 2), int(rng.integers(30, 150)), 0))
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.5)))
    if rng.random() < 0.25:
        image = as_jpeg(image, int(rng.integers(60, 96)))
    pixels = np.asarray(image, np.float32) / 255
    if rng.random() < 0.25:
        pixels = 1 - pixels
    if rng.random() < 0.2:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.4:
        grain = rng.normal(0, rng.uniform(0.003, 0.03), pixels.shape[:2])
        pixels = np.clip(pixels + grain[..., None], 0, 1).astype(np.float32)
    return pixels


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def variants(whole: Image.Image, count: int, rng: np.random.Generator) -> Iterator[Film]:
    """Pieces of a photograph, damaged, as files hold them."""
    for _ in range(count):
        pixels, seed = piece(whole, rng), int(rng.integers(10**6))
        film = damage(pixels, seed, training=True, lines=float(rng.choice(LINES)), amount=float(rng.choice(AMOUNTS)))
        yield Film(film.clean, encoded(film.damaged, rng), film.opacity)


def encoded(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As 16 bits, 8 bits or a JPEG."""
    choice = rng.integers(3)
    if choice == 0:
        return pixels
    whole = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if choice == 1:
        return whole.astype(np.float32) / 255
    return np.asarray(as_jpeg(Image.fromarray(whole), int(rng.integers(80, 96))), np.float32) / 255


def shares(candidates: Candidates, marked: np.ndarray) -> np.ndarray:
    """Which share of each candidate is marked."""
    flat = candidates.labels.ravel()
    count = candidates.count + 1
    return (np.bincount(flat, marked.ravel(), count) / np.maximum(np.bincount(flat, minlength=count), 1))[1:]


def planes_of(film: Film) -> np.ndarray:
    """The damaged picture as the search sees it."""
    planes = film.damaged.transpose(2, 0, 1)
    return scaled(planes, *intensity_range([plane.ravel() for plane in planes]))


def samples(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of candidates, which are damage, and their weights."""
    features, targets, weights = [], [], []
    for seed, (name, whole) in enumerate(photographs()):
        for film in variants(whole, count, np.random.default_rng(seed)):
            change = (film.damaged - film.clean).mean(axis=2)
            visible = film.visible()
            for sign, candidates, measured in Scene.of(planes_of(film)).candidates():
                damaged = shares(candidates, film.present & (sign * change < -LEAST_CHANGE))
                is_damage = (damaged >= DAMAGED) & (shares(candidates, visible) > VISIBLE)
                used = is_damage | (damaged < CLEAN)
                features.append(measured[used])
                targets.append(is_damage[used])
                weights.append(np.exp(measured[used, 0] / 2).clip(2, 20))
        print(f"{name}: {sum(map(len, targets))} candidates", flush=True)
    return np.concatenate(features), np.concatenate(targets), np.concatenate(weights)


def fitted(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> HistGradientBoostingClassifier:
    weights = np.where(targets & (features[:, ELONGATION] > LINE), LINE_WEIGHT, 1) * weights
    trees = HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.12, max_leaf_nodes=31, min_samples_leaf=60, l2_regularization=1.0,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    return trees.fit(features, targets, weights)


def flattened(trees: HistGradientBoostingClassifier) -> dict[str, np.ndarray]:
    """The trees as arrays of their nodes, see ``csc_cogd/detect/trees.py``."""
    nodes = [predictor.nodes for (predictor,) in trees._predictors]
    starts = np.cumsum([0, *map(len, nodes)])
    together = np.concatenate(nodes)
    offset = np.repeat(starts[:-1], np.diff(starts))
    leaf = together["is_leaf"].astype(bool)
    return {
        "feature": np.where(leaf, -1, together["feature_idx"]).astype(np.int8),
        "threshold": together["num_threshold"].astype(np.float32),
        "left": (together["left"] + offset).astype(np.uint16),
        "right": (together["right"] + offset).astype(np.uint16),
        "value": together["value"].astype(np.float32),
        "roots": starts[:-1].astype(np.uint16),
        "baseline": np.float32(trees._baseline_prediction.item()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the trees, as .npz")
    parser.add_argument("--variants", type=int, default=7, metavar="N", help="of each photograph; default: 7")
    parser.add_argument(
        "--samples", type=Path, metavar="FILE", help="keep the candidates' features in this .npz, or read them"
    )
    given = parser.parse_args()
    if given.samples and given.samples.exists():
        features, targets, weights = np.load(given.samples).values()
    else:
        features, targets, weights = samples(given.variants)
        if given.samples:
            np.savez(given.samples, features=features, targets=targets, weights=weights)
    np.savez_compressed(given.output, **flattened(fitted(features, targets, weights)))
    print(f"{given.output}: {given.output.stat().st_size} bytes, {len(targets)} candidates, {targets.mean():.1%} damage")


if __name__ == "__main__":
    main()
