"""Pruning: soft masks trained to be sparse, channels chosen by them or by norms, and networks without the others."""
