"""Unrolled convolutional sparse coding: priors that are learned from photographs."""
