"""Threads, time and chance of the real world."""
