"""What the tests of training by the command line share."""

import pytest

from tests.cli.train.sets import save_set
from tests.nn.training.small import small_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save_set(tmp_path / "small.npz", train=small_images(32), test=small_images(20, seed=1))
    save_set(tmp_path / "whole.npz", whole=small_images(40))
    monkeypatch.chdir(tmp_path)
    return tmp_path
