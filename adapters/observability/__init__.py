"""What people and programs see of the worker: its log and its counters."""
