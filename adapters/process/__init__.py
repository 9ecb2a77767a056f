"""Run a command in a group of its own, read what it prints, end its whole tree, leave nothing behind."""
