"""Small files under the names that the examples of the guide and the README use."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, camera

from csc_cogd.imagefiles import ImageFile, write_image
from tests.detect.film import scan

SIDE = 48
DEAD = 17  # column


def make_samples(folder: Path) -> None:
    """Write them below `folder`: pictures, most of SIDE x SIDE pixels, and masks, stacks, kernels, classes for them."""
    for name, pixels in pictures().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(ImageFile(pixels, path, "png", has_alpha=name == "layer.png"), path)
    write_scans(folder)
    (folder / "fast.toml").write_text("[inpaint]\nfast = true\n")
    classes = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), np.uint8)
    np.savez(folder / "digits.npz", images=classes, labels=np.arange(40) % 2)


def write_scans(folder: Path) -> None:
    """Write scans with dust: frame.png; one with an infrared channel, negative.tif, also in a folder rolls; and a film."""
    made = scan(112, 128, specks=12)
    write_image(ImageFile(made.dusty, folder / "frame.png", "png"), folder / "frame.png")
    (folder / "rolls" / "7").mkdir(parents=True, exist_ok=True)
    rgbi = np.dstack([made.dusty.astype(np.uint16) * 257, made.infrared])
    for name in ("negative.tif", "rolls/7/01.tif"):
        tifffile.imwrite(folder / name, rgbi, photometric="rgb", extrasamples=[0])
    tifffile.imwrite(folder / "shot.tif", np.stack([made.clean, made.dusty, made.clean]), photometric="rgb")


def arrays() -> dict[str, Any]:
    """What the README's Python calls by name without making it."""
    files = pictures()
    return {
        "image": files["photo.png"][:24, :24], "mask": files["dust.png"][:24, :24], "kernel": files["psf.npy"],
        "images": scenes()[:2, :24, :24] / 255,
    }  # fmt: skip


def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    gray, color = scenes()[0], np.moveaxis(scenes()[:3], 0, -1)
    deep = gray.astype(np.uint16) * 200 + 1000
    gaps = rng.random((SIDE, SIDE)) < 0.2
    dust, hole = np.zeros((2, SIDE, SIDE), np.uint8)
    dust[10:13, 5:40] = dust[20:44, 30:32] = dust[30:34, 8:12] = hole[20:28, 20:28] = 255
    blurred = gaussian_filter(gray, 1.6)[:32, :32]
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 1
    gappy = np.where(gaps, np.nan, scenes()[:2] / 255).astype(np.float32)
    made = {
        "photo.png": np.where(dust[..., None], 255, color).astype(np.uint8), "clean.png": color, "panorama.png": color,
        "noisy.png": noisy(color, rng), "small.png": color[:32:2, :32:2], "layer.png": np.dstack([color, 255 - dust]),
        "night.png": noisy(gray, rng), "blurred.png": blurred, "fabric.jpg": scenes()[3],
        "peppered.png": np.where(gaps, np.where(rng.random(gaps.shape) < 0.5, 0, 255), gray).astype(np.uint8),
        "scratches.png": dust, "dust.png": dust, "hole.png": hole, "weights.png": 255 - dust,
        "scan.tif": np.where(dust, 0, deep).astype(np.uint16), "microscope.tif": deep,
        "sensor.tif": np.where(gaps, 65535, deep).astype(np.uint16),
        "measurement.npy": gappy[0], "stack.npy": gappy, "psf.npy": gaussian_filter(point, 1.5),
        "marked.png": np.where(dust[..., None], (255, 0, 0), color).astype(np.uint8),
        "stars.npy": rng.poisson(blurred / 2.3).astype(np.float32),
        "phone.jpg": phone(), "meadow.jpg": camera()[380:460, 20:100],
        "person.png": np.pad(np.full((30, 30), 255, np.uint8), 25),
        "micrograph.tif": deep.astype(np.float32), "gap.png": hole,
    }  # fmt: skip
    made |= {f"photos/{n}.jpg": scene[:32, :32] for n, scene in enumerate(scenes()[:3])}
    made |= {f"frames/{n}.tif": frame for n, frame in enumerate(dead_column())}
    for name, scene in (("1987/harbour", gray), ("1987/market", scenes()[1]), ("1991/bridge", scenes()[4])):
        made |= {f"archive/{name}.png": scene, f"masks/{name}.png": dust}
    return made


def phone() -> np.ndarray:
    """A piece of a photograph with noise that is correlated, (128, 128, 3), uint8."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 16, (128, 128, 3)), (0.8, 0.8, 0))
    return np.clip(np.rint(astronaut()[20:148, 160:288] + noise), 0, 255).astype(np.uint8)


def scenes() -> np.ndarray:
    """Pieces of a photograph, (5, SIDE, SIDE), uint8."""
    corners = ((100, 200), (150, 180), (60, 220), (330, 90), (20, 300))
    return np.stack([camera()[i : i + SIDE, j : j + SIDE] for i, j in corners])


def dead_column() -> np.ndarray:
    frames = scenes()
    frames[:, :, DEAD] = 255
    return frames


def noisy(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(scene + rng.normal(0, 12, scene.shape)), 0, 255).astype(np.uint8)
