"""Dust, hairs and scratches found and filled in one go."""
