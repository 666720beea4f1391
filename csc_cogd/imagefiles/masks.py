"""Missing pixels of an image file: by a mask image, NaN, a pixel value, a painted color and transparency, combined."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from csc_cogd.errors import InputError, percent
from csc_cogd.imagefiles.formats.registry import SUFFIXES
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.paint import take_off_paint
from csc_cogd.imagefiles.reading import ImageReader, open_images
from csc_cogd.imagefiles.rims import grow_over_rims
from csc_cogd.imagefiles.smears import take_off_smeared_color
from csc_cogd.locks import importing

LOSSY_THRESHOLD = 63  # of masks whose zeros aren't exact: they keep what is covered by a quarter and more
SHADES, SHADED = 64, 0.3  # how many shades of gray, and of how many of the pixels, a photograph has and a mask hasn't
SOFT_RIM = 16  # pixels that a soft eraser is followed
_SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class MaskRules:
    """Where a mask comes from.

    Attributes
    ----------
    path : Path, optional
        Mask image of the image's height and width; or a directory of them, see :meth:`for_image`.
    polarity : {"missing", "valid"}
        Meaning of non-zero in it.
    threshold : float, optional
        Values above count as non-zero in it; default: 0, but 63 if it was compressed lossily, as JPEG's zeros aren't exact.
        With one, photographs are taken for masks, too.
    value : float, optional
        Pixels of this value in every channel are missing.
    from_alpha : bool
        Fully transparent pixels are missing, and the rims of a soft eraser around them, unless `dilate` is 0.
    dilate : int or "auto", optional
        Grow the combined region by so many pixels in every direction, diagonals included; "auto": over the rims that are
        seen to hold some of the damage, see :func:`csc_cogd.imagefiles.rims.grow_over_rims`, and paint is taken off where it
        lets the picture through, see :func:`csc_cogd.imagefiles.paint.take_off_paint`. Default: "auto" for a painted
        `color`, and for a mask of an image that was compressed lossily, as JPEG smears damage and paint; else 0.
    color : str, optional
        Pixels painted over in this color are missing: ``"red"``, ``"#ff0000"`` or ``"255,0,0"``. Of images of three
        channels of 8 or 16 bits.
    color_tolerance : int
        How far each channel may be from it, of 255: brushes and JPEG soften colors.

    Raises
    ------
    InputError
        If one can't be used with any image.
    """

    path: Path | None = None
    polarity: str = "missing"
    threshold: float | None = None
    value: float | None = None
    from_alpha: bool = False
    dilate: int | str | None = None
    color: str | None = None
    color_tolerance: int = 40

    def __post_init__(self) -> None:
        if self.polarity not in ("missing", "valid"):
            raise InputError("mask_polarity", f"must be 'missing' or 'valid', got {self.polarity!r}")
        whole = isinstance(self.dilate, (int, np.integer)) and not isinstance(self.dilate, bool)
        if self.dilate not in (None, "auto") and not (whole and int(self.dilate) >= 0):
            raise InputError("mask_dilate", f"must be an integer >= 0, or 'auto', got {self.dilate!r}")
        if self.color is not None:
            parse_color(self.color)

    def grows_in(self, image: ImageFile) -> bool:
        """Whether what is missing in an image grows over its rims by itself."""
        if self.dilate is None:
            return self.color is not None or (image.lossy and self.path is not None)
        return self.dilate == "auto"

    def for_image(self, image_path: Path, folder: Path = Path()) -> MaskRules:
        """Return these rules with the mask file of one image, which is looked up if `path` is a directory.

        Parameters
        ----------
        image_path : Path
        folder : Path
            The image's place in its tree. The mask is looked for at this place below the directory, then at its top: a file
            of the same stem, then ``<stem>_mask``, with any known suffix.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.path is None or not os.path.isdir(self.path):
            return self
        places = dict.fromkeys((self.path / folder, self.path))
        endings = [*SUFFIXES, *map(str.upper, SUFFIXES)]
        stems = (image_path.stem, f"{image_path.stem}_mask")
        for found in (place / f"{stem}{end}" for place in places for stem in stems for end in endings):
            if os.path.isfile(found) and os.path.abspath(found) != os.path.abspath(image_path):
                return replace(self, path=found)
        names = " and ".join(str(place / stem) for place in places for stem in stems)
        problem = f"has no mask: none of {names} is there, with any of {', '.join(SUFFIXES)}"
        raise InputError("", problem, subject=str(image_path))


@dataclass(frozen=True)
class Missing:
    """What is missing in an image.

    Attributes
    ----------
    pixels : bool array of the image's shape
        Where all channels miss the same, it may be a view of one plane.
    image : ImageFile
        The image; where paint let it through, without the paint, and without color that compression has smeared.
    bared, cleared : (H, W) bool arrays
        Where paint was taken off, and where smeared color was.
    sources : list of str
        What each source says of it, in words.
    """

    pixels: np.ndarray
    image: ImageFile
    bared: np.ndarray
    cleared: np.ndarray
    sources: list[str]

    @property
    def touched(self) -> np.ndarray:
        """Which pixels are missing or have some paint on them, bool of the image's shape."""
        if not self.bared.any():
            return self.pixels
        touched = self.pixels | (self.bared if self.pixels.ndim == 2 else self.bared[..., None])
        return np.concatenate([touched[..., :-1], self.pixels[..., -1:]], axis=2) if self.image.has_alpha else touched


def find_missing(
    image: ImageFile,
    rules: MaskRules,
    *,
    page: int = 0,
    n_pages: int = 1,
    complete: bool = False,
    masks: ImageReader | None = None,
) -> Missing:
    """Find out which pixels are missing.

    Opacity itself is never missing. NaN is missing in its own channel only, but grown in all; so is the nodata value of the
    file, but see :attr:`ImageFile.without_data`.

    Parameters
    ----------
    image : ImageFile
    rules : MaskRules
    page : int
        Number of the image in its file, from 0.
    n_pages : int
        Images in its file. A mask file holds a mask for each, or one for all.
    complete : bool
        Nothing need be missing.
    masks : ImageReader, optional
        The mask file, if it is open already.

    Returns
    -------
    Missing

    Raises
    ------
    InputError
        If the mask can't be read or doesn't fit, or nothing or everything is missing.
    """
    if rules.path is None and (rules.polarity != "missing" or rules.threshold is not None):
        name = "mask_polarity" if rules.polarity != "missing" else "mask_threshold"
        raise InputError(name, "says how to read a mask file, but there is none", "give {mask}", str(image.path))
    pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
    colors = pixels[..., : pixels.shape[2] - image.has_alpha]
    missing = np.zeros((*colors.shape[:2], 1), bool)  # of all channels, until something tells them apart
    sources = []

    def add(marked: np.ndarray, what: str) -> None:
        nonlocal missing
        missing = missing | (marked if marked.ndim == 3 else marked[..., None])
        sources.append(f"{percent(np.count_nonzero(marked) / marked.size)} by {what}")

    if rules.path is not None:
        with open_images(rules.path, template=image) if masks is None else nullcontext(masks) as opened:
            if len(opened) not in (1, n_pages):
                problem = f"has {len(opened)} masks, but the image has {n_pages} page(s)"
                raise InputError("", problem, "give one mask, or as many as pages", str(rules.path))
            mask = opened.read(page if len(opened) > 1 else 0)
        if mask.pixels.shape[:2] != pixels.shape[:2]:
            sizes = f"the mask must be of the image's size, {_size(pixels)} pixels, but it is {_size(mask.pixels)}"
            raise InputError("", sizes, _how_to_fit(mask.pixels, pixels), str(rules.path))
        marked, how = _marked(mask, rules.threshold)
        valid = rules.polarity == "valid"
        add(~marked if valid else marked, f"{rules.path.name} ({how}, non-zero is {rules.polarity})")
    if colors.dtype.kind == "f" and np.isnan(colors).any():
        add(np.isnan(colors), "NaN")
    if (absent := image.without_data) is not None:
        add(absent, f"the file's nodata value {image.nodata:g}")
    if rules.value is not None:
        add((colors == rules.value).all(axis=2), f"value {rules.value:g}")
    if rules.from_alpha:
        if not image.has_alpha:
            raise InputError("", "has no alpha channel", "leave out {mask_from_alpha}", str(image.path))
        add(erased(image, rules), "transparency")
    grows, bared = rules.grows_in(image), np.zeros(colors.shape[:2], bool)
    cleared = bared
    if grows and (rules.color is None or missing.any()):
        missing |= _grown(colors, missing, sources)
    if rules.color is not None:
        painted = _painted(colors, rules, image.path)
        add(painted, f"color {rules.color}")
        if grows and painted.any():
            colors, covered, bared = take_off_paint(colors, painted, _paint(rules.color, colors.dtype), lossy=image.lossy)
            missing |= covered[..., None]
            bared &= ~missing.any(axis=2)
            pixels = np.concatenate([colors, pixels[..., 3:]], axis=2)
            image = image.with_pixels(pixels)
            if covered.sum() > painted.sum() or bared.any():
                rims = covered.mean() - painted.mean()
                sources.append(f"{percent(rims)} at its rims; its traces are taken off {percent(bared.mean())} beside")
    if grows and image.coarse_color and colors.shape[2] == 3 and missing.any():
        colors, cleared = take_off_smeared_color(colors, np.asarray(missing.any(axis=2)))
        image = image.with_pixels(np.concatenate([colors, pixels[..., 3:]], axis=2))
        sources.append(f"its color, which compression has smeared, is taken off {percent(cleared.mean())} beside")
    if not grows and rules.dilate:
        missing |= binary_dilation(missing.any(axis=2), _SQUARE, iterations=int(rules.dilate))[..., None]
        sources.append(f"grown by {rules.dilate} px")
    if missing.any() or not complete:
        _check(missing, rules, image)
    missing = np.broadcast_to(missing, colors.shape)
    if image.has_alpha:
        missing = np.concatenate([missing, np.zeros_like(missing[..., :1])], axis=2)
    return Missing(missing if image.pixels.ndim == 3 else missing[..., 0], image, bared, cleared, sources)


def in_any_channel(missing: np.ndarray) -> np.ndarray:
    """Return where any channel is missing, (H, W) bool, of what is missing in an image of (H, W) or (H, W, C)."""
    if missing.ndim == 2 or alike(missing):
        return missing if missing.ndim == 2 else missing[..., 0]
    return np.asarray(missing.any(axis=2))


def alike(missing: np.ndarray) -> bool:
    """Whether all channels of an image miss the same, by what is missing of it, (H, W) or (H, W, C)."""
    return missing.ndim == 2 or missing.strides[2] == 0 or bool((missing == missing[..., :1]).all())


def erased(image: ImageFile, rules: MaskRules) -> np.ndarray:
    """Return which pixels are transparent, (H, W) bool, in an opaque picture with the rims that a soft eraser has left."""
    opacity = image.pixels[..., -1]
    transparent, opaque = opacity == 0, opacity == opacity.max()
    if rules.dilate == 0 or not transparent.any() or opaque.mean() + transparent.mean() < 0.5:
        return transparent
    return binary_dilation(transparent, _SQUARE, iterations=SOFT_RIM, mask=~opaque)


def grown_mask(colors: np.ndarray, missing: np.ndarray, dilate: int | str | None) -> np.ndarray:
    """Return what is missing, (H, W) bool, grown as :class:`MaskRules` says of `dilate`; not at all by default."""
    if dilate == "auto":
        return grow_over_rims(colors, missing)
    return binary_dilation(missing, _SQUARE, iterations=int(dilate)) if dilate else missing


def _grown(colors: np.ndarray, missing: np.ndarray, sources: list[str]) -> np.ndarray:
    """Return what is to be added to what is missing, (H, W, 1), and say how much that is."""
    lost = np.asarray(missing.any(axis=2))
    grown = grow_over_rims(colors, lost)
    if (added := grown.mean() - lost.mean()) > 0:
        sources.append(f"{percent(added)} at the rims, which hold some of the damage")
    return grown[..., None]


def _marked(mask: ImageFile, threshold: float | None) -> tuple[np.ndarray, str]:
    """Return which pixels are above the threshold, (H, W) bool, and in words what was compared with it.

    Colors count by their brightest channel. A mask painted on a transparent layer in one color counts by its opacity.
    """
    pixels, opaque = mask.pixels, None
    if pixels.dtype.kind not in "biuf" or (pixels.dtype.kind == "f" and not np.isfinite(pixels).all()):
        raise InputError("", "the mask must have finite numbers only", "use 0 and 1", str(mask.path))
    if pixels.ndim == 3:
        if mask.has_alpha and pixels[..., -1].min() != pixels[..., -1].max():
            opaque = pixels[..., -1] > (threshold or 0)
        pixels = pixels[..., : pixels.shape[2] - mask.has_alpha].max(axis=2)
    if threshold is None:
        _refuse_photograph(pixels, mask.path)
        threshold = LOSSY_THRESHOLD if mask.lossy else None
    marked = pixels != 0 if threshold is None else pixels > threshold
    if opaque is None:
        return marked, "brightness"
    if marked[opaque].all() or not marked[opaque].any():
        return opaque, "opacity"
    return marked & opaque, "brightness where opaque"


def _refuse_photograph(gray: np.ndarray, path: Path) -> None:
    """Raise InputError for a mask (H, W) of 8 or 16 bits of which much has many shades between black and white."""
    if gray.dtype.kind != "u":
        return
    top = int(np.iinfo(gray.dtype).max)
    between = gray[(gray > top // 10) & (gray < top - top // 10)]
    if between.size > SHADED * gray.size and len(np.unique(between // (top // 255))) >= SHADES:
        share = between.size / gray.size
        problem = f"looks like a photograph, not like a mask: {share:.0%} of it are shades between black and white"
        fix = (
            "make it white where something is missing and else black; for a picture with paint on it use {mask_color}; "
            "{mask_threshold} takes what is above it all the same"
        )
        raise InputError("", problem, fix, str(path))


def parse_color(text: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a color as on web pages (``red``, ``#ff0000``), or of three numbers."""
    with importing:
        from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(f"rgb({text})" if "," in text and "(" not in text else text.strip())[:3]
        if max(red, green, blue) > 255:
            raise ValueError("beyond 8 bits")
    except ValueError:
        raise InputError("mask_color", f"must be a color such as red, '#ff0000' or 255,0,0, got {text!r}") from None
    return red, green, blue


def _paint(color: str, dtype: np.dtype) -> np.ndarray:
    """Return red, green and blue of a color in the units of an image."""
    return np.array(parse_color(color), np.int32) * (int(np.iinfo(dtype).max) // 255)


def _painted(colors: np.ndarray, rules: MaskRules, path: Path) -> np.ndarray:
    """Return which pixels have the rules' color, (H, W) bool."""
    assert rules.color is not None
    if colors.shape[2] != 3 or colors.dtype not in (np.uint8, np.uint16):
        found = f"{colors.shape[2]} channel(s) of {colors.dtype}"
        problem = f"painted colors can be found in RGB images of 8 or 16 bits only, not in {found}"
        raise InputError("", problem, "use {mask_value} or {mask}", str(path))
    wanted, step = _paint(rules.color, colors.dtype), int(np.iinfo(colors.dtype).max) // 255
    near = np.ones(colors.shape[:2], bool)
    for channel, level in enumerate(wanted):
        near &= abs(colors[..., channel].astype(np.int32) - level) <= rules.color_tolerance * step
    return near


def _check(missing: np.ndarray, rules: MaskRules, image: ImageFile) -> None:
    """Raise InputError where all or none of a channel is missing."""
    full = missing.all(axis=(0, 1))
    if missing.any() and not full.any():
        return
    if rules.path is not None:
        state = "full: every pixel is missing" if full.any() else "empty: no pixel is missing"
        fix = "non-zero means missing, or from {mask_threshold} on; if it means known, use {mask_polarity} valid"
        raise InputError("", f"the mask is {state}", fix, str(rules.path))
    fix = ""
    if full.any():
        where = "" if full.all() else f" of channel {int(np.flatnonzero(full)[0])}"
        problem = f"every pixel{where} is missing: there is nothing to restore from"
    elif rules.color is not None:
        problem = f"no pixel is missing: none is within {rules.color_tolerance} of {rules.color}"
        fix = "pick the color from the picture, or allow more by {mask_color_tolerance}"
    elif rules.value is not None or rules.from_alpha:
        what = "is fully transparent" if rules.value is None else f"has the value {rules.value:g}"
        problem = f"no pixel is missing: none {what}"
    elif image.nodata is not None:
        problem = f"no pixel is missing: none has the file's nodata value {image.nodata:g}"
        fix = "give {mask}, {mask_color} or {mask_value}"
    else:
        problem = "nothing says what is missing"
        fix = "give {mask}, {mask_color}, {mask_value} or {mask_from_alpha}"
    raise InputError("", problem, fix, str(image.path))


def _how_to_fit(mask: np.ndarray, pixels: np.ndarray) -> str:
    """Say how to mend a mask of another size: where it is plain, by what that comes from."""
    (high, wide), (H, W) = mask.shape[:2], pixels.shape[:2]
    if (high, wide) == (W, H):
        return "turn it by 90 degrees (the program that drew it ignored EXIF's orientation)"
    if abs(high * W - wide * H) <= max(W, H) and abs(wide - W) > W // 10:
        return "it was drawn on a smaller or larger copy: scale it to the image's size"
    return "crop, extend or redraw it to match"


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
