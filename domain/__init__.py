"""The words of the worker: tasks, statuses, results, runners, errors. Standard library only; no I/O, threads, clocks or logging."""
