"""Claims batches and turns their images into stored, compressed ones."""
