"""The client library and command of imagepress."""
