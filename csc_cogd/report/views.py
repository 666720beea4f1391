"""The pictures of a page: the viewer with its slider, the places with most damage, the maps of residual and error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csc_cogd.report import pictures
from csc_cogd.report.charts import number
from csc_cogd.report.document import fill, section
from csc_cogd.report.entry import Planes
from csc_cogd.report.totals import Words

WIDEST = 900  # pixels of the page that small pictures are enlarged to
FLATTEST = 20  # a picture's sides are shown in this ratio at most, or a line of pixels couldn't be seen
LAYERS = {"Before": 'class="layer left"', "After": 'class="layer right"'}  # at first
HIDDEN = 'class="layer" hidden'

Place = tuple[slice, slice]
Colors = tuple[tuple[int, int, int], ...]
EVERYWHERE = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class Shown:
    """The content of viewers: pictures by name, (H, W, 1 or 3); the share of missing channels, (H, W), and what they are
    called; black and white.
    """

    pictures: dict[str, np.ndarray]
    gone: np.ndarray
    called: str
    tones: tuple[float, float]


def views(planes: Planes, words: Words) -> dict[str, str]:
    """Return parts of the page: `viewer`; `shown`, how values are shown; `places`, viewers of the most damaged places."""
    before, about = pictures.visible(planes.before)
    named = {"Before": before, "After": pictures.visible(planes.after)[0]}
    if planes.reference is not None:
        named["Reference"] = pictures.visible(planes.reference)[0]
    gone = planes.missing.mean(axis=2, dtype=np.float32)
    tones = pictures.tone_range(before, gone == 0)
    shown = Shown(named, gone, words.gone, tones)
    H, W = gone.shape
    factor = pictures.reduction(gone.shape)

    sentences = [about] if about else []
    if planes.before.dtype != np.uint8:
        sentences.append(f"Black is {number(tones[0])} and white {number(tones[1])}, in all of these pictures.")
    if not 1 / FLATTEST <= W / H <= FLATTEST:
        sentences.append("The picture is drawn out across its short side, or it couldn't be seen.")
    places = ""
    if factor > 1:
        sentences.append(f"It is shown reduced to 1/{factor} of its width and height.")
        damage = gone if gone.any() else np.abs(planes.after - planes.before.astype(np.float32)).mean(axis=2)
        for count, (y, x) in enumerate(pictures.worst_places(damage), 1):
            places += f"<h3>x {x.start:,} to {min(x.stop, W):,}, y {y.start:,} to {min(y.stop, H):,}</h3>"
            places += _viewer(shown, (y, x), 1, count)
        places = section(f"Where most {f'is {words.gone}' if gone.any() else 'changed'}, in full resolution", places)
    return {"viewer": _viewer(shown, EVERYWHERE, factor, 0), "shown": " ".join(sentences), "places": places}


def maps(planes: Planes, residual: np.ndarray | None) -> str:
    """Return maps of the signed residual, (H, W) with NaN where missing, and of the error against the reference."""
    factor = pictures.reduction(planes.before.shape)
    figures = []
    mean = ", mean over the channels" if planes.before.shape[2] > 1 else ""
    if residual is not None:
        gray = "; gray where pixels are missing" if planes.missing.any() else ""
        scale = pictures.map_scale(residual)
        title = f"Residual on the known pixels: the picture less what the sparse code says{mean}{gray}"
        picture = pictures.signed_map(residual, scale, factor)
        figures.append(_map(title, picture, residual.shape, factor, pictures.DIVERGING, (-scale, 0, scale)))
    if planes.reference is not None:
        error = absolute_error(planes.after, planes.reference)
        scale = pictures.map_scale(error)
        picture = pictures.error_map(error, scale, factor)
        title = f"Absolute error against the reference{mean}"
        figures.append(_map(title, picture, error.shape, factor, pictures.SEQUENTIAL, (0, scale / 2, scale)))
    titles = ["what is left"] * (residual is not None) + ["what is wrong"] * (planes.reference is not None)
    return section(", and ".join(titles).capitalize(), "".join(figures), "pair")


def residual_of(planes: Planes) -> tuple[np.ndarray, float]:
    """Return the picture less the fit, (H, W), mean over a pixel's known channels, NaN if there are none; and its RMS."""
    assert planes.fit is not None
    residual = np.full(planes.missing.shape[:2], np.nan, np.result_type(planes.before, np.float32))
    squares = 0.0
    rows = zip(residual, planes.before, planes.fit, ~planes.missing, strict=True)  # row by row, for large pictures
    for row, before, fit, known in rows:
        left = np.where(known, before - fit.astype(np.float64), 0)
        squares += float(np.square(left).sum())
        np.divide(left.sum(axis=1), known.sum(axis=1), out=row, where=known.any(axis=1), casting="unsafe")
    count = planes.missing.size - np.count_nonzero(planes.missing)
    return residual, float(np.sqrt(squares / count)) if count else float("nan")


def absolute_error(after: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return (H, W), mean over the channels."""
    error = np.empty(after.shape[:2], np.result_type(after, np.float32))
    for row, given, truth in zip(error, after, reference, strict=True):
        row[:] = np.abs(given - truth.astype(np.float64)).mean(axis=1)
    return error


def _viewer(shown: Shown, place: Place, factor: int, count: int) -> str:
    """Return the HTML of the viewer of a place, the page's `count`-th."""
    layers = {name: pictures.picture(pixels[place], shown.tones, factor) for name, pixels in shown.pictures.items()}
    gone = shown.gone[place]
    if gone.any():
        layers["Mask"] = pictures.mask_picture(gone, factor)
    names = sorted(layers, key=["Before", "Mask", "After", "Reference"].index)
    kind, size = _size(gone.shape, factor)
    parts = {
        "kind": kind, "size": size, "width": str(-(-gone.shape[1] // factor)),
        "left": _choice(f"left{count}", names, "Before"), "right": _choice(f"right{count}", names, "After"),
        "mark": f'<label><input class="mark" type="checkbox" checked> Mark {shown.called}</label>' if gone.any() else "",
        "layers": "\n".join(
            f'<div {LAYERS.get(name, HIDDEN)} data-layer="{name}"><img src="{layers[name]}" alt="{name}"></div>'
            for name in names
        ),
    }  # fmt: skip
    return fill("viewer.html", parts)


def _choice(group: str, names: list[str], chosen: str) -> str:
    return "".join(
        f'<label><input type="radio" name="{group}" value="{name}"{" checked" if name == chosen else ""}>{name}</label>'
        for name in names
    )


def _map(title: str, picture: str, shape: tuple[int, ...], factor: int, colors: Colors, ends: tuple[float, ...]) -> str:
    kind, size = _size(shape, factor)
    parts = {
        "kind": kind, "size": size, "picture": picture, "title": title,
        "colors": ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in colors),
        "ends": "".join(f"<span>{end:.3g}</span>" for end in ends),
    }  # fmt: skip
    return fill("map.html", parts)


def _size(shape: tuple[int, ...], factor: int) -> tuple[str, str]:
    """Return class and style of an image: small ones are enlarged by a whole number, others are as wide as the page."""
    height, width = (-(-length // factor) for length in shape)
    ratio = min(max(width / height, 1 / FLATTEST), FLATTEST)
    enlarged = WIDEST // max(height, width)
    if enlarged < 2:
        return "large", f"--fit: 100%; --ratio: {ratio:.6g}"
    return "", f"--fit: {max(width, height * ratio) * enlarged:.0f}px; --ratio: {ratio:.6g}"
