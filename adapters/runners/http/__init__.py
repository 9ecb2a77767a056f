"""Sends one HTTP request and checks the answer (category ``http``)."""

from adapters.runners.http.runner import HttpRunner

__all__ = ["HttpRunner"]
