"""The library that the three services share."""
