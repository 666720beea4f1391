import re
from dataclasses import replace

import numpy as np
import pytest

from csc_cogd import imagefiles
from csc_cogd.cli import main
from csc_cogd.imagefiles import read_image


def test_demo_restores_better_than_biharmonic_and_writes_pictures(tmp_path, capsys, monkeypatch):
    def read_quarter(path):  # of the picture: all of it takes minutes on a busy machine
        whole = read_image(path)
        return replace(whole, pixels=np.ascontiguousarray(whole.pixels[64:192, 64:192]))

    monkeypatch.setattr(imagefiles, "read_image", read_quarter)
    with pytest.raises(SystemExit) as caught:
        main(["demo", "-o", str(tmp_path / "pictures"), "-q"])
    assert caught.value.code == 0
    rows = re.findall(r"^(random|scratches)\s+\S+%\s+(\S+)\s+([\d.]+) dB", capsys.readouterr().out, re.MULTILINE)
    figures = {(damage, method): float(value) for damage, method, value in rows}
    for damage in ("random", "scratches"):
        assert figures[damage, "csc-cogd"] > figures[damage, "biharmonic"] + 0.5
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [
        "original.png", "random_after.png", "random_before.png", "random_mask.png",
        "scratches_after.png", "scratches_before.png", "scratches_mask.png",
    ]  # fmt: skip
    original = read_image(tmp_path / "pictures" / "original.png").pixels
    after = read_image(tmp_path / "pictures" / "random_after.png").pixels
    known = read_image(tmp_path / "pictures" / "random_mask.png").pixels == 0
    assert (after[known] == original[known]).all()

    with pytest.raises(SystemExit) as caught:
        main(["demo", "-o", str(tmp_path / "pictures")])
    assert caught.value.code == 2
    assert "exists already" in capsys.readouterr().err
