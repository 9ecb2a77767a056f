"""Both ends of the link in one process: a model of the API server and a transport to it."""
