"""Benchmarks that print the tables of several modules: what is theirs alone is said by a prefix and names."""

from __future__ import annotations

import argparse
from importlib import import_module


def print_chosen(doc: str, prefix: str, tables: tuple[str, ...]) -> None:
    """Print the tables named on the command line, or all, each by `print_tables` of the module ``PREFIX_TABLE``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=tables, metavar="TABLE", help=f"{', '.join(tables)}; default: all")
    parser.add_argument("--count", type=int, metavar="N", help="pictures of each table; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(tables):
        parser.error(f"there is no table {', '.join(unknown)}: choose among {', '.join(tables)}")
    for name in arguments.tables:
        import_module(f"{prefix}_{name}").print_tables(arguments.count)
