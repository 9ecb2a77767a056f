"""File tasks: clean up, back up, compress, measure."""
