"""What outlives the worker: the journal of tasks and the spool of their logs."""
