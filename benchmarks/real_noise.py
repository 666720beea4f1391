"""Noise as cameras, film and JPEG make it, with nothing told: gains of `denoise` beside those of simple tools.

Three tables: crops of real photographs, whose truth is the mean of many shots; noise that is made here; and what becomes of
clean pictures. Run ``python benchmarks/real_noise.py --count 8`` for a part of them.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means, estimate_sigma

from csc_cogd import denoise, psnr

DATA = Path(os.environ.get("CSC_COGD_DATA", "data"))
PICTURES = ("102061", "119082", "302008")
STRENGTHS = (3, 5, 8, 12)  # of nonlocal means, of which the truth chooses the best
Denoiser = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ours(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Denoise with nothing told."""
    return np.asarray(denoise(noisy, channel_axis=-1))


def nonlocal_means(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Denoise by nonlocal means of the strength that the truth likes best."""
    results = [_nl_means(noisy, float(h)) for h in STRENGTHS]
    return max(results, key=lambda result: psnr(result, clean, data_range=255))


def nonlocal_means_blind(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Denoise by nonlocal means with the noise that scikit-image estimates."""
    return _nl_means(noisy, 0.8 * float(np.mean(estimate_sigma(noisy.astype(float), channel_axis=-1))))


def _nl_means(noisy: np.ndarray, h: float) -> np.ndarray:
    result = denoise_nl_means(noisy.astype(np.float32), 5, 6, h=max(h, 1e-3), fast_mode=True, channel_axis=-1)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def bm3d(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Denoise by BM3D with the noise that scikit-image estimates."""
    from bm3d import bm3d_rgb  # type: ignore[import-not-found]

    sigma = float(np.mean(estimate_sigma(noisy.astype(float), channel_axis=-1)))
    return np.clip(np.rint(bm3d_rgb(noisy.astype(float), max(sigma, 0.1))), 0, 255).astype(np.uint8)


DENOISERS: dict[str, Denoiser] = {"csc-cogd": ours, "NLM, best h": nonlocal_means, "NLM, blind": nonlocal_means_blind}
if find_spec("bm3d"):
    DENOISERS["BM3D, blind"] = bm3d


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return what is left of an image (H, W, 3) after JPEG, color at half size."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file))


def phone(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the noise of a phone: of photons and of reading, in linear light, with color blurred and both amplified."""
    linear = (clean / 255.0) ** 2.2
    noise = rng.poisson(linear * 250) / 250 + rng.normal(0, 0.012, linear.shape) - linear
    luminance = noise.mean(axis=2, keepdims=True)
    color = 3.5 * gaussian_filter(noise - luminance, (2, 2, 0))
    developed = np.clip(linear + 1.8 * gaussian_filter(luminance, (0.6, 0.6, 0)) + color, 0, 1) ** (1 / 2.2)
    return as_jpeg(_pixels(255 * developed), 88)


def grain(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the grain of film: gray, of standard deviation 16, blurred by 0.9 pixels."""
    field = gaussian_filter(rng.normal(0, 1, clean.shape[:2]), 0.9)
    return _pixels(clean + 16 * field[..., None] / field.std())


def white_under_jpeg(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make white noise of standard deviation 15, under JPEG of quality 75."""
    return as_jpeg(white(clean, rng), 75)


def white(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make white noise of standard deviation 15."""
    return _pixels(clean + rng.normal(0, 15, clean.shape))


def strong_jpeg(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress strongly, at quality 15."""
    return as_jpeg(clean, 15)


MAKERS = {
    "phone": phone, "grain 16": grain, "sigma 15, JPEG 75": white_under_jpeg, "sigma 15": white, "JPEG 15": strong_jpeg,
}  # fmt: skip


def real_crops(count: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, noisy crop and truth, spread over the set."""
    files = sorted((DATA / "realnoise").glob("*_real.JPG"))
    for k in np.unique(np.linspace(0, len(files) - 1, count or len(files)).astype(int)):
        truth = files[k].with_name(files[k].name.replace("_real", "_mean"))
        yield files[k].name.removesuffix("_real.JPG"), _read(files[k]), _read(truth)


def real_table(count: int | None = None) -> None:
    """Print the gain on crops of real photographs, with nothing told."""
    print("Real noise: gain in dB over the noisy crop")
    _print_gains((name, noisy, truth) for name, noisy, truth in real_crops(count))


def made_table(count: int | None = None) -> None:
    """Print the gain on made noise, for each kind."""
    for kind, make in MAKERS.items():
        rng = np.random.default_rng(1)
        cleans = {name: _read(DATA / "standard/CBSD68" / f"{name}.png")[30:286, 100:356] for name in PICTURES[:count]}
        print(f"{kind}: gain in dB over the noisy picture")
        _print_gains((name, make(clean, rng), clean) for name, clean in cleans.items())


def clean_table(count: int | None = None) -> None:
    """Print how far clean pictures are changed, as root mean square in gray levels."""
    files = sorted((DATA / "standard/CBSD68").glob("*.png"))
    changes = []
    for k in np.unique(np.linspace(0, len(files) - 1, count or len(files)).astype(int)):
        image = _read(files[k])
        changes.append(float(np.sqrt(np.mean((ours(image, image).astype(float) - image) ** 2))))
    print("Clean pictures (CBSD68): change in gray levels, root mean square")
    print(
        f"  mean {np.mean(changes):.2f}  largest {np.max(changes):.2f}  "
        f"above 0.3: {np.mean(np.array(changes) > 0.3):.0%} of {len(changes)}"
    )


def _print_gains(cases: Iterator[tuple[str, np.ndarray, np.ndarray]]) -> None:
    gains: dict[str, list[float]] = {name: [] for name in DENOISERS}
    seconds, levels = dict.fromkeys(DENOISERS, 0.0), []
    for case, noisy, truth in cases:
        before = psnr(noisy, truth, data_range=255)
        levels.append(before)
        for name, run in DENOISERS.items():
            start = time.perf_counter()
            gains[name].append(psnr(run(noisy, truth), truth, data_range=255) - before)
            seconds[name] += time.perf_counter() - start
        line = "  ".join(f"{name} {values[-1]:+.2f}" for name, values in gains.items())
        print(f"  {case:44s} noisy {before:.2f}  {line}", flush=True)
    print(f"  mean of {len(levels)}, noisy {np.mean(levels):.2f}")
    for name, values in gains.items():
        print(
            f"    {name:14s} mean {np.mean(values):+.2f}  least {np.min(values):+.2f}  {seconds[name] / len(values):.1f} s"
        )


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


TABLES = {"real": real_table, "made": made_table, "clean": clean_table}


def print_tables(count: int | None = None) -> None:
    """Print all tables."""
    for table in TABLES.values():
        table(count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, help="pictures of each table; default: all")
    parser.add_argument("--table", choices=TABLES, help="default: all")
    arguments = parser.parse_args()
    if arguments.table:
        TABLES[arguments.table](arguments.count)
    else:
        print_tables(arguments.count)
