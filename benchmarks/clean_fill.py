"""How well what is found is filled: ``python benchmarks/clean_fill.py [--count N]``.

First the scans of ``clean_infrared.py``, the middle 320 x 400 pixels, cleaned; beside them the same masks filled by OpenCV's
Telea and Navier-Stokes. PSNR is over the damaged pixels that were found, against the picture without damage.

Then grain: film of 20 and 8 gray levels, sharp and blurred, over smoothed photographs. What is told is the local standard
deviation and the correlation with the next pixel of what is filled, in ratio to those of the same pixels without damage.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import cv2
import numpy as np
from clean_detection import pictures
from clean_infrared import as_bytes, light_through, scanner
from film import Film, damage
from scipy.ndimage import gaussian_filter

from csc_cogd import clean, psnr
from csc_cogd.cleaning.report import CleaningReport

HIGH, WIDE = 320, 400
GRAINS = ((20.0, 0.7), (20.0, 0.0), (8.0, 0.7), (8.0, 0.4))
"""Standard deviation in gray levels, and of the Gaussian that blurs the grain, in pixels."""
SMOOTHED = 1.5
LOCAL = 2.0
"""Standard deviation of the Gaussian, in pixels, about whose mean grain is measured."""


class Cleaned(NamedTuple):
    """A scan, uint8: as it should be, damaged, cleaned; with what the cleaning tells."""

    truth: np.ndarray
    damaged: np.ndarray
    cleaned: np.ndarray
    report: CleaningReport


def middle(pixels: np.ndarray) -> np.ndarray:
    top, left = ((side - most) // 2 for side, most in zip(pixels.shape, (HIGH, WIDE), strict=False))
    return pixels[max(top, 0) : max(top, 0) + HIGH, max(left, 0) : max(left, 0) + WIDE]


def cleaned_scan(scene: np.ndarray, number: int) -> Cleaned:
    """Damage a picture (H, W, 3) in [0, 1], and clean it by its infrared channel."""
    rng = np.random.default_rng((2, number))
    film: Film = damage(scene, 3 * number + 2)
    infrared = scanner(number).scan(scene, light_through(film, rng), rng)
    damaged = as_bytes(film.damaged)
    cleaned, report = clean(damaged, infrared=infrared, channel_axis=-1, return_report=True)
    return Cleaned(as_bytes(film.clean), damaged, cleaned, report)


def over(mask: np.ndarray, picture: np.ndarray, truth: np.ndarray) -> float:
    return float(psnr(picture[mask][None], truth[mask][None], data_range=255))


def print_fills(count: int | None) -> None:
    print(f"{'picture':24} {'found':>7} {'by light':>8} {'Telea':>7} {'N-S':>7} {'clean':>7} {'gain':>6}")
    gains = []
    for number, (name, pixels) in enumerate(pictures(count)):
        made = cleaned_scan(middle(pixels), number)
        mask = made.report.detection.mask
        if not mask.any():
            continue
        peers = [
            cv2.inpaint(made.damaged, mask.astype(np.uint8), 3, method) for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS)
        ]
        telea, navier_stokes, ours = (over(mask, picture, made.truth) for picture in (*peers, made.cleaned))
        gains.append(ours - telea)
        by_light = made.report.divided / mask.mean()
        told = f"{name[:24]:24} {mask.mean():7.2%} {by_light:8.0%} {telea:7.2f} {navier_stokes:7.2f} {ours:7.2f}"
        print(f"{told} {gains[-1]:6.2f}", flush=True)
    print(f"\nmean gain over Telea: {np.mean(gains):.2f} dB; least {min(gains):.2f} dB\n")


def grainy(scene: np.ndarray, sigma: float, blur: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smoothed picture in [0, 1] with grain that is in part the same in all colors."""
    smooth = gaussian_filter(scene, (SMOOTHED, SMOOTHED, 0))
    noise = 0.6 * rng.standard_normal(scene.shape) + rng.standard_normal((*scene.shape[:2], 1))
    noise = gaussian_filter(noise, (blur, blur, 0)) if blur else noise
    return np.clip(0.15 + 0.7 * smooth + sigma / 255 * noise / noise.std(), 0, 1).astype(np.float32)


def texture_of(picture: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Return the local standard deviation of pixels, and the correlation of it with that of the next one in a row."""
    detail = picture - gaussian_filter(picture.astype(np.float64), (LOCAL, LOCAL, 0))
    both = where[:, 1:] & where[:, :-1]
    square = float((detail[where] ** 2).mean())
    return square**0.5, float((detail[:, 1:] * detail[:, :-1])[both].mean() / square)


def print_grain(count: int | None) -> None:
    print(f"{'grain':16} {'deviation':>10} {'filled':>8} {'ratio':>6} {'correlation':>12} {'filled':>8} {'ratio':>6}")
    for sigma, blur in GRAINS:
        rows = []
        for number, (_, pixels) in enumerate(pictures(min(count or 4, 4))):
            made = cleaned_scan(grainy(middle(pixels), sigma, blur, np.random.default_rng((3, number))), number)
            mask = made.report.detection.mask
            rows.append([*texture_of(made.truth, mask), *texture_of(made.cleaned, mask)])
        given, near, deviation, correlation = np.mean(rows, axis=0)
        told = f"{f'{sigma:g}, blur {blur:g}':16} {given:10.2f} {deviation:8.2f} {deviation / given:6.2f}"
        print(f"{told} {near:12.2f} {correlation:8.2f} {correlation / near:6.2f}", flush=True)


def print_tables(count: int | None = None) -> None:
    print_fills(count)
    print_grain(count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, metavar="N", help="pictures; default: all")
    print_tables(parser.parse_args().count)
