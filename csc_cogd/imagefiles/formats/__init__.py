"""The formats of image files, one module each."""
