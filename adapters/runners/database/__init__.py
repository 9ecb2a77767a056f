"""Runs SQL statements and Redis commands (category ``database``)."""

from adapters.runners.database.runner import DatabaseRunner

__all__ = ["DatabaseRunner"]
