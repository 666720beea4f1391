"""Pixels in and out without loss: formats, depth, metadata, masks."""

from csc_cogd.imagefiles.files import ImageFile, read_image, write_image
from csc_cogd.imagefiles.masks import MaskRules, missing_pixels

__all__ = ["ImageFile", "MaskRules", "missing_pixels", "read_image", "write_image"]
