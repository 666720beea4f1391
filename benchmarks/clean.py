"""Dust found and filled, beside the simple tools: ``python benchmarks/clean.py [detection|infrared|fill]... [--count N]``.

Prints the tables of the benchmarks ``clean_*.py``, which by themselves take further options. They read `CSC_COGD_DATA`.
"""

from __future__ import annotations

import argparse
from importlib import import_module

TABLES = ("detection", "infrared", "fill")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=TABLES, metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--count", type=int, metavar="N", help="pictures of each table; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(unknown)}: choose among {', '.join(TABLES)}")
    for name in arguments.tables:
        import_module(f"clean_{name}").print_tables(arguments.count)


if __name__ == "__main__":
    main()
