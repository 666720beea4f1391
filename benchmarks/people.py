"""The protocol's pictures restored for people rather than for the paper: ``paper_tables.py --people``.

Same pictures, same 75 % of the pixels, the protocol's PSNR and SSIM; but lambda is chosen for the picture, known pixels
are kept, and what is filled in stays in the range of the picture's known pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from protocol import Cell, load_cell, protocol_psnr, protocol_ssim

from csc_cogd import Dictionary, inpaint, learn_dictionary, sparse_code
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.stages.base_layer import base_layer
from csc_cogd.restore.stages.code import frequency_weights

CODE = {"lmbda": 0.004, "gradient_penalty": 0.03, "max_iter": 80, "tol": 0.0, "rho": 0.15, "rho_data": 0.3}
ADAPT = {
    "lmbda": 0.03, "gradient_penalty": 1.0, "max_iter": 6, "code_iterations": 8, "filter_iterations": 8, "tol": 0.0,
    "rho": 1.5, "rho_data": 1.5,
}  # fmt: skip


def biharmonic(cell: Cell) -> np.ndarray:
    return np.concatenate([fill_biharmonic(b[None], ~o[None]) for b, o in zip(cell.images, cell.observed, strict=True)])


def by_inpaint(cell: Cell) -> np.ndarray:
    pairs = zip(cell.images, cell.observed, strict=True)
    return np.stack([inpaint(np.where(observed, image, np.nan)) for image, observed in pairs])


def adapted(cell: Cell) -> np.ndarray:
    """The dictionary that ships, adapted to the known pixels of all ten pictures; then the codes of each."""
    known = cell.images[cell.observed]
    low, high = known.min(), known.max()
    scaled = np.where(cell.observed, (cell.images - low) / (high - low), 0)
    base = base_layer(biharmonic(cell._replace(images=scaled)))
    detail = np.where(cell.observed, scaled - base, 0)
    shipped = Dictionary.default("gray")
    sizes, counts = np.unique(shipped.shapes, axis=0, return_counts=True)
    order = np.lexsort(shipped.shapes.T[::-1])
    dictionary = learn_dictionary(
        detail, counts.tolist(), [tuple(size) for size in sizes.tolist()], weights=cell.observed,
        start=Dictionary(shipped.filters[order], shipped.shapes[order]), **ADAPT,
    ).dictionary  # fmt: skip
    result = sparse_code(detail, dictionary, weights=cell.observed, l1_weights=frequency_weights(dictionary), **CODE)
    return (base + result.reconstruction) * (high - low) + low


METHODS: dict[str, Callable[[Cell], np.ndarray]] = {
    "biharmonic": biharmonic,
    "`csc_cogd.inpaint`, default settings, picture by picture": by_inpaint,
    "CSC, dictionary adapted to the ten pictures, lambda = 0.004 of the range": adapted,
}


def print_people(sets: list[str]) -> None:
    print("\n### Inpainting for people: known pixels kept\n")
    print("| method | " + " | ".join(f"PSNR, {name} | SSIM, {name}" for name in sets) + " |")
    print("| --- |" + " --- |" * 2 * len(sets))
    cells = [load_cell("inpainting", name) for name in sets]
    for method, restore in METHODS.items():
        figures = []
        for cell in cells:
            restored = [keep_known(*pictures) for pictures in zip(cell.images, cell.observed, restore(cell), strict=True)]
            psnr, ssim = (
                np.mean([metric(a, b) for a, b in zip(restored, cell.images, strict=True)])
                for metric in (protocol_psnr, protocol_ssim)
            )
            figures += [f"{psnr:.2f}", f"{ssim:.4f}"]
        print(f"| {method} | {' | '.join(figures)} |", flush=True)


def keep_known(image: np.ndarray, observed: np.ndarray, restored: np.ndarray) -> np.ndarray:
    known = image[observed]
    return np.where(observed, image, np.clip(restored, known.min(), known.max()))
