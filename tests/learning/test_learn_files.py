"""A dictionary from files, in shards."""

import numpy as np
import pytest

from csc_cogd import InputError, learn_from_files, learn_from_images

RUN = {"lmbda": 0.02, "max_iter": 12, "fft": "scipy", "threads": 1}


def written(folder, pictures):
    paths = [folder / f"{n}.npy" for n in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        np.save(path, picture)
    return paths


def test_filters_are_about_those_of_the_pictures_together(tmp_path, photo):
    pictures = [photo[:40, :40], photo[40:80, :40], photo[:40, 50:90]]
    learned = learn_from_files(written(tmp_path, pictures), 6, 5, n_shards=1, **RUN)
    whole = learn_from_images(pictures, 6, 5, **RUN)
    likeness = np.abs(np.einsum("kij,kij->k", learned.dictionary.filters, whole.dictionary.filters))
    assert likeness.mean() > 0.95
    assert learned.summary().startswith("1 shard(s), 12 rounds, objective")


def test_colors_with_missing_pixels(tmp_path, photo, rng):
    pictures = [np.stack([photo[top : top + 30, :30]] * 3, axis=-1) / 255 for top in (0, 30, 60)]
    pictures[1][rng.random((30, 30)) < 0.2] = np.nan
    dictionary = learn_from_files(written(tmp_path, pictures), 4, 5, n_shards=2, **RUN | {"max_iter": 2}).dictionary
    assert dictionary.filters.shape == (4, 3, 5, 5)
    assert dictionary.provenance["masked"] is True


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((20, 20), np.nan), r"1\.npy: image has a channel without any known pixel"),
        (np.ones((20, 20), bool), r"1\.npy: image must not be bilevel"),
        (np.ones((20, 20, 3)), r"1\.npy: can't share a shard with .*0\.npy, for it is of shape \(20, 20, 3\)"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, picture, message):
    paths = written(tmp_path, [np.eye(20), picture])
    with pytest.raises(InputError, match=message):
        learn_from_files(paths, 2, 5, n_shards=1, **RUN)
