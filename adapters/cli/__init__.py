"""The command line. Importing it imports click; the guardian runs before that."""
