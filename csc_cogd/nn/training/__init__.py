"""Training: the optimizer, its schedules, recipes, the loop with its hooks and checkpoints, evaluation."""
