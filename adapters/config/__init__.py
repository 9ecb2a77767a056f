"""Where settings come from, what they mean, and who this worker is."""
