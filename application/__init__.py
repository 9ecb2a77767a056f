"""The use-cases of the worker and the ports they need; threads, time and chance only through Runtime."""
