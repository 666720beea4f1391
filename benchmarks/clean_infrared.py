"""How much dust infrared finds, and how much that isn't: ``python benchmarks/clean_infrared.py [--count N]``.

The photographs of ``clean_detection.py`` with dark damage of ``film.py``, and an infrared channel as scanners give it: each
thing has a core that lets 0.6 to 0.92 of it through; dyes leak 3 to 10 %, in every other picture as density and as light;
noise is 0.4 to 1.2 % of the lamp, which is 10 % darker to one side; the channel is shifted by up to 2 pixels and scaled by
1.001. False alarms are the marked share of the same frames without damage, and of what is 3 pixels or more from damage.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from clean_detection import pictures
from film import Film, damage
from scipy.ndimage import affine_transform, binary_dilation, gaussian_filter, label, maximum_filter

from csc_cogd import find_dust

DYES = np.array([0.6, 0.25, 0.15])
"""How the leakage is made up of red, green and blue."""
CORES, LEAKAGE, NOISE, SHIFT, SCALE = (0.6, 0.92), (0.03, 0.10), (0.004, 0.012), 2.0, 1.001
DARKEST = 1 / 64
"""Value of the deepest black, so that its density is finite."""
LEAST_OPACITY = 0.02
_EVERY_WAY = np.ones((3, 3), bool)


class Scanner(NamedTuple):
    """What an infrared channel is made with."""

    leakage: float
    noise: float
    shift: tuple[float, float]
    as_light: bool

    def scan(self, clean: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the infrared channel (H, W), uint16, of a picture (H, W, 3) under dust that lets `light` (H, W) through."""
        if self.as_light:
            dyes = 1 - self.leakage + self.leakage * (clean @ DYES)
        else:
            dyes = np.exp(self.leakage * (np.log(clean + DARKEST) @ DYES))
        lamp = 0.8 - 0.08 * np.linspace(0, 1, light.shape[1])
        middle = (np.array(light.shape) - 1) / 2
        offset = middle - (middle + self.shift) / SCALE
        moved = affine_transform(lamp * dyes * light, np.ones(2) / SCALE, offset, order=3, mode="nearest")
        noisy = moved + self.noise * rng.standard_normal(light.shape)
        return np.clip(np.rint(65535 * noisy), 0, 65535).astype(np.uint16)


def scanner(number: int) -> Scanner:
    rng = np.random.default_rng((1, number))
    return Scanner(
        rng.uniform(*LEAKAGE), rng.uniform(*NOISE), tuple(rng.uniform(-SHIFT, SHIFT, 2)), bool(number % 2)
    )  # fmt: skip


def light_through(film: Film, rng: np.random.Generator) -> np.ndarray:
    """Return the share of infrared light that the damage of a film lets through, (H, W): a core for each thing."""
    things, count = label(film.opacity > LEAST_OPACITY, _EVERY_WAY)
    cores = np.append(1.0, rng.uniform(*CORES, count))[things]
    depth = np.clip(1.3 * film.opacity / np.maximum(maximum_filter(film.opacity, 9), LEAST_OPACITY), 0, 1)
    return np.asarray(1 - gaussian_filter(np.where(things > 0, depth, 0), 0.5) * (1 - cores))


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(255 * pixels), 0, 255).astype(np.uint8)


class Score(NamedTuple):
    """Of one picture: visible pixels, those found, share of false alarms without damage, and beside damage."""

    area: int
    found: int
    false: float
    beside: float


def score(clean: np.ndarray, number: int) -> Score:
    rng = np.random.default_rng((2, number))
    film, with_it = damage(clean, 3 * number + 2), scanner(number)
    light = light_through(film, rng)
    marked = find_dust(as_bytes(film.damaged), infrared=with_it.scan(clean, light, rng), channel_axis=-1).mask
    without = find_dust(
        as_bytes(clean), infrared=with_it.scan(clean, np.ones_like(light), rng), channel_axis=-1
    ).mask  # fmt: skip
    visible = film.visible()
    beside = ~binary_dilation(film.opacity > LEAST_OPACITY, _EVERY_WAY, iterations=3)
    return Score(int(visible.sum()), int((visible & marked).sum()), float(without.mean()), float((marked & beside).mean()))


def print_tables(count: int | None = None) -> None:
    print(f"{'picture':24} {'leakage':>7} {'noise':>6} {'visible':>8} {'found':>7} {'false':>8} {'beside':>8}")
    scores = []
    for number, (name, clean) in enumerate(pictures(count)):
        one, made = score(clean, number), scanner(number)
        scores.append(one)
        found = one.found / max(one.area, 1)
        visible = one.area / clean[..., 0].size
        told = f"{name[:24]:24} {made.leakage:7.1%} {made.noise:6.1%} {visible:8.2%} {found:7.1%}"
        print(f"{told} {one.false:8.3%} {one.beside:8.3%}", flush=True)
    area, found = (sum(one[k] for one in scores) for k in (0, 1))
    false, beside = ([one[k] for one in scores] for k in (2, 3))
    print(f"\nvisible area found: {found / max(area, 1):.2%}")
    print(f"false: mean {np.mean(false):.4%}, worst {max(false):.3%}; beside damage: mean {np.mean(beside):.4%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, metavar="N", help="pictures; default: all")
    print_tables(parser.parse_args().count)
