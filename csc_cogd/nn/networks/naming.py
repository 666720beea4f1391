"""Names of weights in other people's code, as ours: of torchvision's, timm's and chenyaofo's networks for CIFAR."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rules = tuple[tuple[str, str], ...]
"""Patterns of whole names, up to the array (``weight``), and what replaces them; the first that fits counts."""

_STAGES = (1, 2, 3, 4, 3, 3, 1)  # blocks of MobileNetV2


def _torchvision_mobilenet() -> Rules:
    """Return the rules for ``features.3.conv.1.0``; the first block has no expansion."""
    return (
        (r"features\.0\.0", "conv1"), (r"features\.0\.1", "bn1"),
        (r"features\.1\.conv\.0\.0", "layers.0.conv2"), (r"features\.1\.conv\.0\.1", "layers.0.bn2"),
        (r"features\.1\.conv\.1", "layers.0.conv3"), (r"features\.1\.conv\.2", "layers.0.bn3"),
        (r"features\.18\.0", "conv2"), (r"features\.18\.1", "bn2"), (r"classifier\.1", "linear"),
        *(
            (rf"features\.{block + 1}\.conv\.{place}", f"layers.{block}.{layer}")
            for block in range(1, sum(_STAGES))
            for place, layer in (
                (r"0\.0", "conv1"), (r"0\.1", "bn1"), (r"1\.0", "conv2"), (r"1\.1", "bn2"), ("2", "conv3"), ("3", "bn3"),
            )
        ),
    )  # fmt: skip


def _timm_mobilenet() -> Rules:
    """Return the rules for ``blocks.2.0.conv_pw``, which is counted by stages."""
    rules = [
        ("conv_stem", "conv1"), ("bn1", "bn1"), ("conv_head", "conv2"), ("bn2", "bn2"), ("classifier", "linear"),
        (r"blocks\.0\.0\.conv_dw", "layers.0.conv2"), (r"blocks\.0\.0\.bn1", "layers.0.bn2"),
        (r"blocks\.0\.0\.conv_pw", "layers.0.conv3"), (r"blocks\.0\.0\.bn2", "layers.0.bn3"),
    ]  # fmt: skip
    layers = (("conv_pw", "conv1"), ("conv_dw", "conv2"), ("conv_pwl", "conv3"), *((f"bn{i}", f"bn{i}") for i in (1, 2, 3)))
    block = 1
    for stage, count in enumerate(_STAGES[1:], start=1):
        for number in range(count):
            rules += [(rf"blocks\.{stage}\.{number}\.{theirs}", f"layers.{block}.{ours}") for theirs, ours in layers]
            block += 1
    return tuple(rules)


NAMINGS: dict[str, Rules] = {
    "torchvision's MobileNetV2": _torchvision_mobilenet(),
    "timm's MobileNetV2": _timm_mobilenet(),
    "torchvision's ResNets, for CIFAR": ((r"fc", "linear"), (r"(.*)\.downsample\.(\d)", r"\1.shortcut.\2")),
    "a last layer called classifier": ((r"classifier", "linear"),),
    "a last layer called head.fc": ((r"head\.fc", "fc"),),
    "shortcuts called shortcut": ((r"linear", "fc"), (r"(.*)\.shortcut\.(\d)", r"\1.downsample.\2")),
}
"""Rules by whose names they translate."""


def translated(names: Iterable[str], rules: Rules) -> dict[str, str]:
    """Return names by names in other code; those that no rule fits stay.

    Examples
    --------
    >>> translated(["fc.bias", "bn1.weight"], ((r"fc", "linear"),))
    {'fc.bias': 'linear.bias', 'bn1.weight': 'bn1.weight'}
    """
    compiled = [(re.compile(pattern), ours) for pattern, ours in rules]
    found = {}
    for name in names:
        layer, dot, array = name.rpartition(".")
        fits = ((match, ours) for pattern, ours in compiled if (match := pattern.fullmatch(layer)))
        match, ours = next(fits, (None, ""))
        found[name] = name if match is None else match.expand(ours) + dot + array
    return found
