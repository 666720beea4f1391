"""Labelled images for training and tests: read from disk, changed at random, and given in batches."""
