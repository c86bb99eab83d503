"""What is run, from the source tree: one package per service."""
