"""How large the pictures of HEVC data are, by their parameter sets (ITU-T H.265, section 7.3.2.2)."""

from __future__ import annotations

from typing import Final

from .bits import Bits

_SEQUENCE_PARAMETER_SET: Final = 33  # nal_unit_type (7.4.2.2)
_GENERAL_BITS: Final = 88  # profile, compatibility and constraint flags, of the whole and of each sub-layer
_LEVEL_BITS: Final = 8
_READ_BYTES: Final = 256  # the size stands within the first 110, of seven sub-layers that state all they may
_FULL_CHROMA: Final = 3  # chroma_format_idc


def picture_pixels(unit: memoryview) -> int:
    """Return the pixels of the pictures that a NAL `unit` describes; 0 if it is no sequence parameter set.

    Raises IndexError where it ends early.
    """
    if len(unit) < 2 or unit[0] >> 1 & 0x3F != _SEQUENCE_PARAMETER_SET:
        return 0
    # A 3 behind two zeros only keeps the data from looking like a start code (7.3.1.1).
    bits = Bits(memoryview(bytes(unit[2:_READ_BYTES]).replace(b"\0\0\3", b"\0\0")))
    bits.take(4)  # sps_video_parameter_set_id
    sub_layers = bits.take(3)
    bits.take(1)  # sps_temporal_id_nesting_flag
    _pass_levels(bits, sub_layers)
    bits.uvlc()  # sps_seq_parameter_set_id
    if bits.uvlc() == _FULL_CHROMA:
        bits.take(1)  # separate_colour_plane_flag
    return bits.uvlc() * bits.uvlc()


def _pass_levels(bits: Bits, sub_layers: int) -> None:
    """Read over profile_tier_level() (7.3.3)."""
    bits.take(_GENERAL_BITS + _LEVEL_BITS)
    present = [(bits.take(1), bits.take(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.take(2 * (8 - sub_layers))
    for profile, level in present:
        bits.take(_GENERAL_BITS * profile + _LEVEL_BITS * level)
