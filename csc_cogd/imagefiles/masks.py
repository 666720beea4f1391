"""What is missing in an image file: a mask image, NaN, a pixel value, a painted colour, transparency; united."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.files import SUFFIXES, ImageFile, ImageReader, open_images
from csc_cogd.imagefiles.rims import rim_width
from csc_cogd.locks import importing

_ENDINGS = [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)]


@dataclass(frozen=True)
class MaskRules:
    """Where a mask comes from.

    Attributes
    ----------
    path : Path, optional
        Mask image of the image's height and width; or a directory of them, see :meth:`for_image`.
    polarity : {"missing", "valid"}
        What non-zero means in it.
    threshold : float, optional
        What counts as non-zero in it lies above; default: what isn't zero, but 127 for JPEG, whose zeros aren't exact.
    value : float, optional
        Pixels of this value in every channel are missing.
    from_alpha : bool
        Fully transparent pixels are missing.
    dilate : int or "auto"
        Grow the united region by so many pixels in every direction, diagonals included; "auto": as far as the damage is seen
        to reach, and one more, see :func:`csc_cogd.imagefiles.rims.rim_width`.
    color : str, optional
        Pixels painted over with this colour are missing: ``"red"``, ``"#ff0000"`` or ``"255,0,0"``. Of images of three
        channels of 8 or 16 bits.
    color_tolerance : int
        How far each channel may be from it, of 255: brushes and JPEG soften colours.
    """

    path: Path | None = None
    polarity: str = "missing"
    threshold: float | None = None
    value: float | None = None
    from_alpha: bool = False
    dilate: int | str = 0
    color: str | None = None
    color_tolerance: int = 40

    def __post_init__(self) -> None:
        """Raise InputError for what no image can be looked at with."""
        if self.polarity not in ("missing", "valid"):
            raise InputError(f"mask_polarity: {self.polarity!r} is unknown: choose 'missing' or 'valid'")
        whole = isinstance(self.dilate, (int, np.integer)) and not isinstance(self.dilate, bool)
        if self.dilate != "auto" and not (whole and int(self.dilate) >= 0):
            raise InputError(f"mask_dilate: {self.dilate!r} isn't a number of pixels: use 0 or more, or 'auto'")
        if self.color is not None:
            parse_color(self.color)

    def for_image(self, image_path: Path, folder: Path = Path()) -> MaskRules:
        """These rules with the mask file of one image, found where `path` is a directory.

        It is looked for at the image's place below the directory, which is `folder`, then at the top: a file of the same
        stem, then ``<stem>_mask``, with any known suffix.
        """
        if self.path is None or not os.path.isdir(self.path):
            return self
        places = dict.fromkeys((self.path / folder, self.path))
        stems = (image_path.stem, f"{image_path.stem}_mask")
        for found in (place / f"{stem}{end}" for place in places for stem in stems for end in _ENDINGS):
            if os.path.isfile(found) and os.path.abspath(found) != os.path.abspath(image_path):
                return replace(self, path=found)
        looked = " and ".join(str(place / stem) for place in places for stem in stems)
        raise InputError(f"{image_path}: it has no mask: looked for {looked} with any of {', '.join(SUFFIXES)}")


def missing_pixels(
    image: ImageFile,
    rules: MaskRules,
    *,
    page: int = 0,
    n_pages: int = 1,
    complete: bool = False,
    masks: ImageReader | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Which pixels are missing, bool of the image's shape, and what each source says, in words.

    Opacity itself is never missing. NaN is missing in its own channel only, but grown in all; so is the nodata value of the
    file, but see :attr:`ImageFile.without_data`. The image is a `page` of
    `n_pages`; a mask file holds a mask for each, or one for all, and may be open already as `masks`. With `complete`,
    nothing need be missing in it.

    Raises
    ------
    InputError
        If the mask can't be read or doesn't fit, or nothing or everything is missing.
    """
    if rules.path is None and (rules.polarity != "missing" or rules.threshold is not None):
        raise InputError(f"{image.path}: --mask-polarity and --mask-threshold speak of a mask file: give --mask FILE")
    pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
    colours = pixels[..., : pixels.shape[2] - image.has_alpha]
    missing = np.zeros(colours.shape, bool)
    sources = []

    def add(marked: np.ndarray, what: str) -> None:
        missing[...] |= marked if marked.ndim == 3 else marked[..., None]
        sources.append(f"{marked.mean():.1%} by {what}")

    if rules.path is not None:
        with open_images(rules.path, like=image) if masks is None else nullcontext(masks) as opened:
            mask = _mask_page(opened, page, n_pages)
        if mask.pixels.shape[:2] != pixels.shape[:2]:
            sizes = f"the mask is {_size(mask.pixels)} pixels, the image {_size(pixels)}"
            raise InputError(f"{rules.path}: {sizes}: they must be equal{_how_to_fit(mask.pixels, pixels)}")
        marked, how = _marked(mask, rules.threshold)
        valid = rules.polarity == "valid"
        add(~marked if valid else marked, f"{rules.path.name} ({how}, non-zero is {rules.polarity})")
    if colours.dtype.kind == "f" and np.isnan(colours).any():
        add(np.isnan(colours), "NaN")
    if (absent := image.without_data) is not None:
        add(absent, f"the file's nodata value {image.nodata:g}")
    if rules.value is not None:
        add((colours == rules.value).all(axis=2), f"value {rules.value:g}")
    if rules.color is not None:
        add(_painted(colours, rules, image.path), f"colour {rules.color}")
    if rules.from_alpha:
        if not image.has_alpha:
            raise InputError(f"{image.path}: has no alpha channel: leave out --mask-from-alpha")
        add(pixels[..., -1] == 0, "transparency")
    if by := growth(colours, np.asarray(missing.any(axis=2)), rules.dilate):
        missing |= binary_dilation(missing.any(axis=2), np.ones((3, 3), bool), iterations=by)[..., None]
        sources.append(f"grown by {by} px")
    if missing.any() or not complete:
        _check(missing, rules, image)
    if image.has_alpha:
        missing = np.concatenate([missing, np.zeros_like(missing[..., :1])], axis=2)
    return missing.reshape(image.pixels.shape), sources


def _mask_page(masks: ImageReader, page: int, n_pages: int) -> ImageFile:
    """The mask of one page."""
    if len(masks) not in (1, n_pages):
        raise InputError(f"{masks.path}: {len(masks)} masks, but the image has {n_pages} page(s): give one, or as many")
    return masks.read(page if len(masks) > 1 else 0)


def _marked(mask: ImageFile, threshold: float | None) -> tuple[np.ndarray, str]:
    """Pixels above the threshold, (H, W) bool, and in words what was looked at.

    Colours count by their brightest channel. A mask painted on a transparent layer in one colour counts by its opacity.
    """
    pixels, opaque = mask.pixels, None
    if pixels.dtype.kind not in "biuf" or (pixels.dtype.kind == "f" and not np.isfinite(pixels).all()):
        raise InputError(f"{mask.path}: the mask holds something else than finite numbers: use 0 and 1")
    if pixels.ndim == 3:
        if mask.has_alpha and pixels[..., -1].min() != pixels[..., -1].max():
            opaque = pixels[..., -1] > (threshold or 0)
        pixels = pixels[..., : pixels.shape[2] - mask.has_alpha].max(axis=2)
    if threshold is None and mask.format == "jpeg":
        threshold = 127
    marked = pixels != 0 if threshold is None else pixels > threshold
    if opaque is None:
        return marked, "brightness"
    if marked[opaque].all() or not marked[opaque].any():
        return opaque, "opacity"
    return marked & opaque, "brightness where opaque"


def parse_color(text: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour as on web pages (``red``, ``#ff0000``), or of three numbers."""
    with importing():
        from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(f"rgb({text})" if "," in text and "(" not in text else text.strip())[:3]
        if max(red, green, blue) > 255:
            raise ValueError("beyond 8 bits")
    except ValueError:
        raise InputError(f"mask_color: {text!r} isn't a colour: write red, '#ff0000' or 255,0,0") from None
    return red, green, blue


def _painted(colours: np.ndarray, rules: MaskRules, path: Path) -> np.ndarray:
    """Which pixels have the rules' colour, (H, W) bool."""
    assert rules.color is not None
    if colours.shape[2] != 3 or colours.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path}: painted colours are looked for in RGB images of 8 or 16 bits only, not in {colours.shape[2]} "
            f"channel(s) of {colours.dtype}: use --mask-value or a mask file"
        )
    step = int(np.iinfo(colours.dtype).max) // 255
    wanted = np.array(parse_color(rules.color), np.int32) * step
    near = np.ones(colours.shape[:2], bool)
    for channel, level in enumerate(wanted):
        near &= abs(colours[..., channel].astype(np.int32) - level) <= rules.color_tolerance * step
    return near


def growth(colours: np.ndarray, missing: np.ndarray, dilate: int | str) -> int:
    """By how many pixels what is missing, (H, W) bool, is grown: so many, or "auto", as :class:`MaskRules` says."""
    if dilate != "auto":
        return int(dilate)
    width = rim_width(colours, missing)
    return width + 1 if width else 0


def _check(missing: np.ndarray, rules: MaskRules, image: ImageFile) -> None:
    full = missing.all(axis=(0, 1))
    if missing.any() and not full.any():
        return
    if rules.path is not None:
        state = "full, every pixel is missing" if full.any() else "empty, no pixel is missing"
        raise InputError(
            f"{rules.path}: the mask is {state}: non-zero means missing (--mask-threshold says from which value on); "
            "if yours means known, use --mask-polarity valid"
        )
    if full.any():
        where = "" if full.all() else f" of channel {int(np.flatnonzero(full)[0])}"
        raise InputError(f"{image.path}: every pixel{where} is missing: there is nothing to restore from")
    if rules.color is not None:
        raise InputError(
            f"{image.path}: no pixel is missing: none is within {rules.color_tolerance} of {rules.color}: pick the colour "
            "from the picture, or allow more by --mask-color-tolerance"
        )
    if rules.value is not None or rules.from_alpha:
        what = "is fully transparent" if rules.value is None else f"has the value {rules.value:g}"
        raise InputError(f"{image.path}: no pixel is missing: none {what}")
    if image.nodata is not None:
        raise InputError(
            f"{image.path}: no pixel is missing: none has the file's nodata value {image.nodata:g}: give --mask FILE, "
            "--mask-color or --mask-value"
        )
    raise InputError(
        f"{image.path}: nothing says what is missing: give --mask FILE, --mask-color, --mask-value or --mask-from-alpha"
    )


def _how_to_fit(mask: np.ndarray, pixels: np.ndarray) -> str:
    """What a mask of another size comes from, most likely."""
    (high, wide), (H, W) = mask.shape[:2], pixels.shape[:2]
    if (high, wide) == (W, H):
        return ": turn it by a quarter (the camera lay on its side, and what drew the mask didn't heed EXIF's orientation)"
    if abs(high * W - wide * H) <= max(W, H) and abs(wide - W) > W // 10:
        return ": it was drawn on a smaller or larger copy: scale it to the image's size"
    return ""


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
