"""Many files: local processes, or a cluster."""
