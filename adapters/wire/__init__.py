"""What goes over the link to the API server, as pure functions of bytes."""
