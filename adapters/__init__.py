"""What connects the core with the world: one folder per port; siblings import only wire and process."""
