"""Accepts uploads and answers for them."""
