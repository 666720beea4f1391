"""Real pictures beside the simple tools: ``python benchmarks/real.py [fill] [masks] [noise] [upscaling] [--count N]``.

Prints the tables of the benchmarks ``real_*.py``, which by themselves take further options. They read `CSC_COGD_DATA`.
"""

from tables import print_chosen

if __name__ == "__main__":
    print_chosen(__doc__, "real", ("fill", "masks", "noise", "upscaling"))
