"""Cuts metadata out of image files without touching their coded pixels: one module a container format.

Each function takes the bytes of a file and returns fewer. It raises ValueError, IndexError or struct.error for a file
whose structure it does not fully understand; nothing is guessed.
"""
