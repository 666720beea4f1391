"""The stages by which a tile is restored, in their order: each takes its state and returns what it has become."""
