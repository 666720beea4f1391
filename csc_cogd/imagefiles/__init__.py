"""Pixels in and out without loss: formats, depth, metadata, masks."""

from csc_cogd.imagefiles.formats.registry import SUFFIXES
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.masks import MaskRules, Missing, find_missing
from csc_cogd.imagefiles.reading import UNREAD_SUFFIXES, ImageReader, open_images, read_image, true_suffix
from csc_cogd.imagefiles.writing import ImageWriter, check_output, create_images, write_image

__all__ = [
    "SUFFIXES", "UNREAD_SUFFIXES", "ImageFile", "ImageReader", "ImageWriter", "MaskRules", "Missing", "check_output",
    "create_images", "find_missing", "open_images", "read_image", "true_suffix", "write_image",
]  # fmt: skip
