"""Sends mail and chat messages (category ``message``)."""

from adapters.runners.message.runner import MessageRunner

__all__ = ["MessageRunner"]
