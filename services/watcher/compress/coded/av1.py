"""How large the frames of AV1 data are, by their headers (AV1 Bitstream & Decoding Process Specification, section 5).

Only what stands before the sizes is read. A frame may override the size that its sequence header states; how far can
be told from the number of bits that it has for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .bits import Bits

# obu_type (6.2.2).
_SEQUENCE_HEADER: Final = 1
_FRAME_HEADERS: Final = frozenset({3, 6, 7})  # a header, a frame with its header, a header once more

_KEY_FRAME: Final = 0
_SWITCH_FRAME: Final = 3
_SELECTED_BY_FRAME: Final = 2  # SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What of a sequence header the size of its frames depends on; a reduced header leaves no choice to frames."""

    pixels: int
    most_pixels: int
    reduced: bool
    present_bits: int = 0  # of frame_presentation_time, where frames state it
    id_bits: int = 0
    screen_content: int = _SELECTED_BY_FRAME
    integer_motion: int = _SELECTED_BY_FRAME


def frame_pixels(data: memoryview, units: Iterator[int]) -> int:
    """Return the pixels of the largest frame that AV1 `data` describes, 0 where it describes none.

    Each unit of the bitstream takes one of `units`. Raises ValueError where they do not suffice, and IndexError where
    a header ends early.
    """
    sequence: _Sequence | None = None
    largest = 0
    for kind, content in _units(data):
        if next(units, None) is None:
            raise ValueError("the coded picture consists of too many units")
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(Bits(content))
            largest = max(largest, sequence.pixels)
        elif kind in _FRAME_HEADERS and sequence is not None and _overrides_size(Bits(content), sequence):
            largest = max(largest, sequence.most_pixels)
    return largest


def _units(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield type and content of each open bitstream unit (5.3)."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 0x04 else 1  # obu_extension_flag
        size = len(data) - at
        if head & 0x02:  # obu_has_size_field
            size, at = _leb128(data, at)
        yield head >> 3 & 15, data[at : at + size]
        at += size


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at` (4.10.5), and where it ends."""
    value = 0
    for n in range(8):
        byte = data[at + n]
        value |= (byte & 0x7F) << 7 * n
        if not byte & 0x80:
            return value, at + n + 1
    raise ValueError("a size of more than 8 bytes")


def _sequence(bits: Bits) -> _Sequence:
    """Read a sequence header (5.5)."""
    bits.take(4)  # seq_profile, still_picture
    reduced = bool(bits.take(1))
    present_bits = 0
    if reduced:
        bits.take(5)  # seq_level_idx
    else:
        present_bits = _operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    pixels = (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)
    most = 1 << (width_bits + height_bits)
    if reduced:
        return _Sequence(pixels, most, reduced)
    id_bits = 0
    if bits.take(1):  # frame_id_numbers_present_flag
        id_bits = bits.take(4) + 2 + bits.take(3) + 1
    bits.take(3)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    return _Sequence(pixels, most, reduced, present_bits, id_bits, *_tools(bits))


def _operating_points(bits: Bits) -> int:
    """Read over timing and operating points; return the bits of frame_presentation_time where frames state it."""
    delay_bits = present_bits = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)  # num_units_in_display_tick, time_scale
        equal_picture_interval = bits.take(1)
        if equal_picture_interval:
            bits.uvlc()
        if bits.take(1):  # decoder_model_info_present_flag
            delay_bits = bits.take(5) + 1
            bits.take(37)  # num_units_in_decoding_tick, buffer_removal_time_length_minus_1
            time_bits = bits.take(5) + 1
            present_bits = 0 if equal_picture_interval else time_bits
    initial_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)  # operating_point_idc
        if bits.take(5) > 7:  # seq_level_idx
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if initial_delay and bits.take(1):
            bits.take(4)
    return present_bits


def _tools(bits: Bits) -> tuple[int, int]:
    """Return whether frames use tools for screen content and whole-number motion: 0, 1, or as each frame says."""
    bits.take(4)  # interintra, masked compound, warped motion, dual filter
    if bits.take(1):  # enable_order_hint
        bits.take(2)
    screen_content = _SELECTED_BY_FRAME if bits.take(1) else bits.take(1)
    if not screen_content or bits.take(1):
        return screen_content, _SELECTED_BY_FRAME
    return screen_content, bits.take(1)


def _overrides_size(bits: Bits, sequence: _Sequence) -> bool:
    """Tell whether a frame states a size of its own (5.9.2, up to frame_size_override_flag)."""
    if sequence.reduced or bits.take(1):  # show_existing_frame
        return False
    kind, shown = bits.take(2), bits.take(1)
    if shown:
        bits.take(sequence.present_bits)
    else:
        bits.take(1)  # showable_frame
    if not (kind == _SWITCH_FRAME or (kind == _KEY_FRAME and shown)):
        bits.take(1)  # error_resilient_mode
    bits.take(1)  # disable_cdf_update
    screen_content = sequence.screen_content
    if screen_content == _SELECTED_BY_FRAME:
        screen_content = bits.take(1)
    if screen_content and sequence.integer_motion == _SELECTED_BY_FRAME:
        bits.take(1)
    bits.take(sequence.id_bits)
    return kind == _SWITCH_FRAME or bool(bits.take(1))
