"""A folder of small damaged pictures with their masks."""

import numpy as np
import pytest

from csc_cogd import restore_batch
from csc_cogd.restore.synthetic_masks import random_mask
from tests.cli.calling import save

QUICK = {"effort": "fast", "max_iter": 1, "device": "cpu"}


@pytest.fixture
def make_pictures(photo):
    """Write n pictures of 24 x 20, ``p0.png`` and so on, into a folder, and their masks into another."""

    def make(folder, masks, n):
        folder.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(n):
            clean = photo[i % 60 : i % 60 + 24, 5 * (i % 7) : 5 * (i % 7) + 20]
            mask = random_mask(clean.shape, 0.2, seed=i)
            save(folder / f"p{i}.png", np.where(mask, 0, clean).astype(np.uint8))
            save(masks / f"p{i}.png", mask.astype(np.uint8) * 255)

    return make


@pytest.fixture
def folder(tmp_path, make_pictures, monkeypatch):
    make_pictures(tmp_path / "in", tmp_path / "masks", 3)
    make_pictures(tmp_path / "in" / "deep", tmp_path / "masks" / "deep", 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, **options):
    return list(restore_batch(*arguments, **QUICK | options))
