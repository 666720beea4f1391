"""Many files: local processes, or a cluster."""

from csc_cogd.batch.batch import Batch, plan_batch, restore_batch
from csc_cogd.batch.job import Job, Listener, Result

__all__ = ["Batch", "Job", "Listener", "Result", "plan_batch", "restore_batch"]
