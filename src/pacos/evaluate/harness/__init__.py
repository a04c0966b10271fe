"""Other harnesses, unmodified: driven on a server of the run's model and read back."""
