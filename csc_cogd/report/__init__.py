"""Figures of merit and their presentation."""
