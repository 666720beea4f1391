"""``python -m csc_cogd`` is the command line."""

from csc_cogd.cli import main

main()
