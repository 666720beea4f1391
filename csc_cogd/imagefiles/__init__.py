"""Pixels in and out without loss: formats, depth, metadata, masks."""

from csc_cogd.imagefiles.files import (
    SUFFIXES,
    UNREAD_SUFFIXES,
    ImageFile,
    ImageReader,
    ImageWriter,
    check_output,
    create_images,
    open_images,
    read_image,
    true_suffix,
    write_image,
)
from csc_cogd.imagefiles.masks import MaskRules, Missing, find_missing, missing_pixels

__all__ = [
    "SUFFIXES", "UNREAD_SUFFIXES", "ImageFile", "ImageReader", "ImageWriter", "MaskRules", "Missing", "check_output",
    "create_images", "find_missing", "missing_pixels", "open_images", "read_image", "true_suffix", "write_image",
]  # fmt: skip
