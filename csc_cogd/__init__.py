"""csc-cogd: restore damaged pictures and scientific images by convolutional sparse coding.

The public names, which ``__init__.pyi`` lists, are imported on first use, so that ``import csc_cogd`` costs nothing.
"""

from csc_cogd.lazy import lazy_names

__version__ = "1.0.0rc1"
__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
__all__ += ["__version__"]
