"""Everything on one machine, with a MongoDB of its own."""
