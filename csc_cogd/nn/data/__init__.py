"""Labeled images for training and tests: read from disk, augmented at random, and returned in batches."""
