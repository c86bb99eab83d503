"""The library that the three services share."""

__version__ = "0.1.0"
