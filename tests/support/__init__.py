"""Real parts that tests share: servers, receivers, processes."""
