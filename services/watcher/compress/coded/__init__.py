"""How large the pictures within a container really are, by the coded data rather than by the container's word."""

from __future__ import annotations

from .avif import avif_pixels
from .heic import heic_pixels

__all__ = ["avif_pixels", "heic_pixels"]
