"""The embedded schedule: the worker without a server."""
