"""The words of the worker. Standard library only; no I/O, threads, clocks or logging."""
