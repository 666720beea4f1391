"""Convolutional sparse coding: problem, code solve, filter solve, learning, dictionaries."""
