"""Dust found and filled, beside simple tools: ``python benchmarks/clean.py [TABLE]... [--count N]``.

Tables are detection, infrared, fill, large and archive: those of the benchmarks ``clean_*.py``, which by themselves take
further options. They read `CSC_COGD_DATA`.
"""

from tables import print_chosen

if __name__ == "__main__":
    print_chosen(__doc__, "clean", ("detection", "infrared", "fill", "large", "archive"))
