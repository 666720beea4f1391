"""The public names."""

import subprocess
import sys

import pytest

from csc_cogd import nn


@pytest.mark.parametrize("name", nn.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(nn, name).__doc__
    assert name in dir(nn)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = nn.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = "import csc_cogd.nn, sys; sys.exit(any(name in sys.modules for name in ('numpy', 'safetensors')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
