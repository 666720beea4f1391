"""Learn what tells dust from things of the scene: ``python benchmarks/learn_dust.py -o data [--rounds N]``.

Two of three photographs of ``CSC_COGD_DATA/photos``, and some that scikit-image and scikit-learn ship, whole and small, in
pieces of several sizes, and cropped; sharpened, blurred, compressed, as negatives, gray and grainy, are damaged as film is
(``benchmarks/film.py``, the stamps for training). Every third photograph is left for ``benchmarks/clean.py``.

Gradient-boosted trees of scikit-learn learn twice. Those of the first look learn which candidates are damage, weighed by
their size. Those of the second learn from what the first look suspects on the same pictures with and without damage, in its
context. What is suspected there, trees say that didn't learn from the photograph: of each of `FOLDS` parts of the
photographs, those that learned from the others.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from film import Film, damage, data_folder
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image
from sklearn.ensemble import HistGradientBoostingClassifier

from csc_cogd.detect.candidates import Candidates
from csc_cogd.detect.context import Suspects, in_context
from csc_cogd.detect.dust import LOG_AREA, SUSPECTED
from csc_cogd.detect.features import UNTOLD, Scene, Zone, quality_told, scaled
from csc_cogd.restore.observation import intensity_range

TEST_EVERY = 3  # photograph, the first one included
LAST = ("friends", "mate_wood", "picosdeeuropa", "plasma_fallenleaf")  # of the photographs that are learned from
PACKAGED = ("coffee", "chelsea", "rocket", "brick", "gravel", "grass")  # of scikit-image
SIDE = 640  # of a piece, at most
SMALLEST, SHORTEST = 0.3, 160  # to how much, and to how many pixels, photographs are reduced at most
LARGEST = 480  # side of a piece that is looked at
SMALL = (380, 640)  # longer sides of whole photographs
CROP = (480, 600)
AMOUNTS, LINES = (1.0, 1.0, 0.3, 2.0), (1, 1, 3)  # times the usual damage, and times as many hairs and scratches
GRAIN, SOFTEST_GRAIN = (0.003, 0.08), 0.7  # standard deviations: of the range, and of the Gaussian that softens it, pixels
FORMATS = 4  # of which two are JPEG
QUALITY = (75, 97)  # from which on, and below which
LEAST_CHANGE = 0.006  # by damage
ELONGATION = 3  # a feature
LINE, LINE_WEIGHT = 5.0, 3.0  # elongation from which a candidate is a line, and how many times as much it weighs
DAMAGED, CLEAN, VISIBLE = 0.6, 0.25, 0.15  # shares of a candidate
FOLDS = 3


class Looked(NamedTuple):
    """The candidates of a picture: what is told of them, which are damage, and of which it is clear whether they are."""

    suspects: Suspects
    megapixels: float
    damage: np.ndarray
    used: np.ndarray


class Pair(NamedTuple):
    """A photograph with damage and without: its number, and what is looked at."""

    photograph: int
    damaged: Looked
    clean: Looked


def learning_names() -> list[str]:
    names = sorted(path.stem for path in (data_folder() / "photos").glob("*.jpg"))
    first = [name for number, name in enumerate(names) if number % TEST_EVERY and name not in LAST]
    return [*first, *LAST]


def photograph(name: str) -> Image.Image:
    return Image.open(data_folder() / "photos" / f"{name}.jpg").convert("RGB")


def photographs() -> Iterator[Image.Image]:
    for name in learning_names():
        yield photograph(name)
    for name in PACKAGED:
        yield Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    for name in ("china", "flower"):
        yield Image.fromarray(load_sample_image(f"{name}.jpg"))


def small(whole: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A whole photograph, reduced to a few hundred pixels; by chance sharpened, compressed, gray, negative."""
    factor = rng.uniform(*SMALL) / max(whole.size)
    image = whole.resize((round(whole.width * factor), round(whole.height * factor)), Image.Resampling.LANCZOS)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.UnsharpMask(rng.uniform(0.5, 1.2), int(rng.integers(30, 110)), 0))
    if rng.random() < 0.3:
        image = as_jpeg(image, int(rng.integers(75, 96)))
    pixels = np.asarray(image, np.float32) / 255
    if rng.random() < 0.15:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    return grainy(1 - pixels if rng.random() < 0.15 else pixels, 0.1, rng)


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
    return grainy(pixels[:LARGEST, :LARGEST], 0.4, rng)


def cropped(whole: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph as it is."""
    left, top = (int(rng.integers(0, max(side - most, 0) + 1)) for side, most in zip(whole.size, CROP[::-1], strict=True))
    box = (left, top, min(left + CROP[1], whole.width), min(top + CROP[0], whole.height))
    return grainy(np.asarray(whole.crop(box), np.float32) / 255, 0.1, rng)


def grainy(pixels: np.ndarray, chance: float, rng: np.random.Generator) -> np.ndarray:
    """With a chance, a picture with grain that is in part the same in all colors, and sharp or soft."""
    if rng.random() >= chance:
        return pixels
    sigma, blur, colored = np.exp(rng.uniform(*np.log(GRAIN))), rng.uniform(0, SOFTEST_GRAIN), rng.uniform(0, 0.6)
    grain = rng.standard_normal((*pixels.shape[:2], 1)) + colored * rng.standard_normal(pixels.shape)
    soft = gaussian_filter(grain, (blur, blur, 0))
    return np.clip(pixels + sigma / soft.std() * soft, 0, 1).astype(np.float32)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def encoded(pixels: np.ndarray, kind: int, quality: int) -> np.ndarray:
    """As 16 bits, 8 bits or, of higher kinds, a JPEG."""
    if kind == 0:
        return pixels
    whole = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.asarray(whole if kind == 1 else as_jpeg(Image.fromarray(whole), quality), np.float32) / 255


def shares(candidates: Candidates, marked: np.ndarray) -> np.ndarray:
    """Which share of each candidate is marked."""
    flat = candidates.labels.ravel()
    count = candidates.count + 1
    return (np.bincount(flat, marked.ravel(), count) / np.maximum(np.bincount(flat, minlength=count), 1))[1:]


def look(pixels: np.ndarray, film: Film | None = None, *, whole: bool = True) -> Looked:
    """Look at a picture, of which `film` tells where damage is; `whole` says whether its values are of 8 bits."""
    planes, parts = pixels.transpose(2, 0, 1), []
    quality = quality_told(np.rint(255 * planes)) if whole else UNTOLD
    scene = Scene.of(scaled(planes, *intensity_range([plane.ravel() for plane in planes])), quality)
    for sign, candidates, features in scene.candidates():
        inside, count = Zone(candidates.labels, candidates.count), candidates.count
        places = np.stack([inside.mean(at) for at in inside.coordinates()], axis=1)
        suspects = Suspects(features, np.zeros(count), places, np.full(count, sign))
        is_damage, used = np.zeros(count, bool), np.ones(count, bool)
        if film is not None:
            change = (film.damaged - film.clean).mean(axis=2)
            damaged = shares(candidates, film.present & (sign * change < -LEAST_CHANGE))
            is_damage = (damaged >= DAMAGED) & (shares(candidates, film.visible()) > VISIBLE)
            used = is_damage | (damaged < CLEAN)
        parts.append((*suspects, is_damage, used))
    fields = [np.concatenate(field) for field in zip(*parts, strict=True)]
    return Looked(Suspects(*fields[:4]), pixels[..., 0].size / 1e6, *fields[4:])


def pairs(rounds: int) -> Iterator[Pair]:
    """Damage all photographs several times over, and look at them."""
    for turn in range(rounds):
        for number, whole in enumerate(photographs()):
            rng = np.random.default_rng((7, number, turn))
            pixels = (small, piece, cropped)[turn % 3](whole, rng)
            amount = AMOUNTS[rng.integers(len(AMOUNTS))]
            film = damage(
                pixels, int(rng.integers(10**6)), training=True, lines=float(rng.choice(LINES)), amount=amount
            )  # fmt: skip
            kind, quality = int(rng.integers(FORMATS)), int(rng.integers(*QUALITY))
            damaged, clean = (encoded(each, kind, quality) for each in (film.damaged, film.clean))
            yield Pair(number, look(damaged, film, whole=kind > 0), look(clean, whole=kind > 0))
        print(f"round {turn + 1} of {rounds}", flush=True)


def weights(features: np.ndarray, is_damage: np.ndarray) -> np.ndarray:
    by_size = np.exp(features[:, LOG_AREA] / 2).clip(2, 20)
    return np.where(is_damage & (features[:, ELONGATION] > LINE), LINE_WEIGHT, 1) * by_size


def first_look(looks: list[Looked]) -> HistGradientBoostingClassifier:
    features = np.concatenate([one.suspects.features[one.used] for one in looks])
    targets = np.concatenate([one.damage[one.used] for one in looks])
    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.15, max_leaf_nodes=31, min_samples_leaf=60, l2_regularization=1.0,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    return trees.fit(features, targets, weights(features, targets))


def second_look(looks: list[tuple[Looked, np.ndarray]]) -> HistGradientBoostingClassifier:
    """Learn from what was looked at, and its features with their context."""
    features = np.concatenate([within[one.used] for one, within in looks])
    targets = np.concatenate([one.damage[one.used] for one, _ in looks])
    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=15, min_samples_leaf=60, l2_regularization=1.0,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    return trees.fit(features, targets, weights(features, targets))


def suspected(one: Looked, trees: HistGradientBoostingClassifier) -> tuple[Looked, np.ndarray]:
    """What trees don't rule out of a picture, and its features with their context."""
    logit = trees.decision_function(one.suspects.features)
    kept = logit > SUSPECTED
    suspects = Suspects(*(field[kept] for field in one.suspects._replace(logit=logit)))
    return Looked(suspects, one.megapixels, one.damage[kept], one.used[kept]), in_context(suspects, one.megapixels)


def suspected_by_others(made: list[Pair]) -> list[tuple[tuple[Looked, np.ndarray], tuple[Looked, np.ndarray]]]:
    """What trees that learned from other photographs don't rule out, with damage and without."""
    found = {}
    for fold in range(FOLDS):
        trees = first_look([pair.damaged for pair in made if pair.photograph % FOLDS != fold])
        for number, pair in enumerate(made):
            if pair.photograph % FOLDS == fold:
                found[number] = (suspected(pair.damaged, trees), suspected(pair.clean, trees))
    return [found[number] for number in range(len(made))]


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
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="for the trees, two .npz")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="over all photographs; default: 6")
    given = parser.parse_args()
    made = list(pairs(given.rounds))
    second = second_look([one for both in suspected_by_others(made) for one in both])
    first = first_look([pair.damaged for pair in made])
    for name, trees in (("dust", first), ("dust_in_context", second)):
        path = given.output / f"{name}.npz"
        np.savez_compressed(path, **flattened(trees))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
