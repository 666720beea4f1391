"""Training: the optimiser, its schedules, recipes, the loop with its hooks and checkpoints, evaluation."""
