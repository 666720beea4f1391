"""Pruning: soft masks that are trained to be sparse, channels chosen by them or by norms, and removal of the others."""
