"""Learning dictionaries from images, and reconstructing images from their codes."""
