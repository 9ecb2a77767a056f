"""Clones and updates git repositories (category ``git``)."""

from adapters.runners.git.runner import GitOptions, GitRunner

__all__ = ["GitOptions", "GitRunner"]
