"""Learn what tells dust from things of the scene: ``python benchmarks/learn_dust.py -o data/dust.npz [--variants N]``.

Two of three photographs of ``CSC_COGD_DATA/photos``, at several sizes, as negatives, gray, grainy and compressed, are
damaged as film is (``benchmarks/film.py``, the stamps for training). Gradient-boosted trees of scikit-learn learn which of
the candidates are damage, weighed by their size. Every third photograph is left for ``benchmarks/clean.py``.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from film import Film, damage, data_folder
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier

from csc_cogd.detect.candidates import Candidates
from csc_cogd.detect.dust import scaled
from csc_cogd.detect.features import Scene
from csc_cogd.restore.observation import intensity_range

TEST_EVERY = 3  # photograph, the first one included
SIDE = 640
SIZES = (1.0, 0.7, 0.5, 0.35)
ORDINARY, LINES = 8, 5.0  # variants, and how many times as many hairs and scratches the others have
LEAST_OPACITY, LEAST_CHANGE = 0.08, 0.006  # of damage
ELONGATION, LINE, LINE_WEIGHT = (
    3,
    5.0,
    3.0,
)  # a feature; from which elongation a candidate is a line, and weighs so much more
EASY, KEPT = 0.004, 10  # probability below which a candidate is easy, and which part of those is learned from
DAMAGED, CLEAN, VISIBLE = 0.6, 0.25, 0.15  # shares of a candidate


def training_names() -> list[str]:
    names = sorted(path.stem for path in (data_folder() / "photos").glob("*.jpg"))
    return [name for number, name in enumerate(names) if number % TEST_EVERY]


def photograph(name: str) -> Image.Image:
    return Image.open(data_folder() / "photos" / f"{name}.jpg").convert("RGB")


def variants(name: str, count: int, rng: np.random.Generator) -> Iterator[Film]:
    """Crops of a photograph, damaged, as files hold them."""
    whole = photograph(name)
    for number in range(count):
        factor = SIZES[number % len(SIZES)]
        image = whole.resize((round(whole.width * factor), round(whole.height * factor)), Image.Resampling.LANCZOS)
        left, top = (int(rng.integers(max(side - SIDE, 0) + 1)) for side in image.size)
        pixels = (
            np.asarray(image.crop((left, top, min(left + SIDE, image.width), min(top + SIDE, image.height))), np.float32)
            / 255
        )
        if rng.random() < 0.25:
            pixels = 1 - pixels
        if rng.random() < 0.2:
            pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
        if rng.random() < 0.4:
            grain = rng.normal(0, rng.uniform(0.003, 0.03), pixels.shape[:2])
            pixels = np.clip(pixels + grain[..., None], 0, 1).astype(np.float32)
        film = damage(pixels, int(rng.integers(10**6)), training=True, lines=LINES if number >= ORDINARY else 1)
        yield Film(film.clean, encoded(film.damaged, rng), film.opacity)


def encoded(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As 16 bits, 8 bits or a JPEG."""
    choice = rng.integers(3)
    if choice == 0:
        return pixels
    whole = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if choice == 1:
        return whole.astype(np.float32) / 255
    stream = io.BytesIO()
    Image.fromarray(whole).save(stream, "JPEG", quality=int(rng.integers(80, 96)))
    return np.asarray(Image.open(stream), np.float32) / 255


def shares(candidates: Candidates, marked: np.ndarray) -> np.ndarray:
    """Which share of each candidate is marked."""
    flat = candidates.labels.ravel()
    count = candidates.count + 1
    return (np.bincount(flat, marked.ravel(), count) / np.maximum(np.bincount(flat, minlength=count), 1))[1:]


def planes_of(film: Film) -> np.ndarray:
    """The damaged picture as the search sees it."""
    planes = film.damaged.transpose(2, 0, 1)
    return scaled(planes, *intensity_range([plane.ravel() for plane in planes]))


def samples(names: list[str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of candidates, which are damage, and their weights."""
    features, targets, weights = [], [], []
    for seed, name in enumerate(names):
        for film in variants(name, count, np.random.default_rng(seed)):
            change = (film.damaged - film.clean).mean(axis=2)
            visible = film.visible()
            for sign, candidates, measured in Scene.of(planes_of(film)).candidates():
                damaged = shares(candidates, (film.opacity > LEAST_OPACITY) & (sign * change < -LEAST_CHANGE))
                is_damage = (damaged >= DAMAGED) & (shares(candidates, visible) > VISIBLE)
                used = is_damage | (damaged < CLEAN)
                features.append(measured[used])
                targets.append(is_damage[used])
                weights.append(np.exp(measured[used, 0] / 2).clip(2, 20))
        print(f"{name}: {sum(map(len, targets))} candidates", flush=True)
    return np.concatenate(features), np.concatenate(targets), np.concatenate(weights)


def fitted(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> HistGradientBoostingClassifier:
    """Fit few trees, and with them choose what to fit the others to: all that is hard, and a tenth of what is easy."""
    weights = np.where(targets & (features[:, ELONGATION] > LINE), LINE_WEIGHT, 1) * weights
    easy = _trees(40).fit(features[::4], targets[::4], weights[::4]).predict_proba(features)[:, 1] < EASY
    skipped = easy & (np.arange(len(easy)) % KEPT > 0)
    weights = np.where(easy, KEPT, 1) * weights
    print(f"{easy.mean():.0%} are easy", flush=True)
    return _trees(300).fit(features[~skipped], targets[~skipped], weights[~skipped])


def _trees(count: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=count, learning_rate=0.12, max_leaf_nodes=31, min_samples_leaf=60, l2_regularization=1.0,
        early_stopping=False, random_state=0,
    )  # fmt: skip


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
    parser.add_argument("--variants", type=int, default=11, metavar="N", help="of each photograph; default: 11")
    parser.add_argument(
        "--samples", type=Path, metavar="FILE", help="keep the candidates' features in this .npz, or read them"
    )
    given = parser.parse_args()
    if given.samples and given.samples.exists():
        features, targets, weights = np.load(given.samples).values()
    else:
        features, targets, weights = samples(training_names(), given.variants)
        if given.samples:
            np.savez(given.samples, features=features, targets=targets, weights=weights)
    np.savez_compressed(given.output, **flattened(fitted(features, targets, weights)))
    print(f"{given.output}: {given.output.stat().st_size} bytes, {len(targets)} candidates, {targets.mean():.1%} damage")


if __name__ == "__main__":
    main()
