"""The head of a JPEG or PNG file: its size, and whether it is an ordinary one."""

import struct
from typing import NamedTuple

JPEG, PNG = "jpeg", "png"

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
# How far from its end a file may have something behind the image.
_TAIL = 4096
# Markers of a frame: all from C0 to CF but tables (C4), extensions (C8) and
# arithmetic coding (CC). The first three are what every decoder reads.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COMMON_FRAMES = (0xC0, 0xC1, 0xC2)


class Header(NamedTuple):
    """What the first bytes of an image file say.

    Attributes:
        kind: `"jpeg"` or `"png"`, whatever the file is called.
        height, width: Of the image, in pixels.
        is_plain: bool. Whether all decoders agree about it: a whole JPEG of 8 bits in
            grey or three colours, or a PNG. Of the others (four inks, arithmetic
            coding, a missing end) Pillow decides what they are.
    """

    kind: str
    height: int
    width: int
    is_plain: bool


def read_header(data: bytes) -> Header | None:
    """Returns the header of a JPEG or PNG file; `None` for what is neither.

    Args:
        data: The bytes of the file.

    Example:

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30)).save(file, "JPEG")
    >>> read_header(file.getvalue())
    Header(kind='jpeg', height=30, width=40, is_plain=True)
    """
    if data.startswith(_PNG_START) and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        return Header(PNG, height, width, is_plain=True)
    if not data.startswith(_JPEG_START):
        return None
    frame = _frame(data)
    if frame is None:
        return None
    marker, bits, height, width, channels = frame
    is_plain = (
        marker in _COMMON_FRAMES
        and bits == 8
        and channels in (1, 3)
        and data.rfind(_JPEG_END, max(0, len(data) - _TAIL)) > 0
    )
    return Header(JPEG, height, width, is_plain)


def _frame(data):
    """The marker of a JPEG's frame, its bits, height, width and channels."""
    place, size = 2, len(data)
    while place + 10 <= size and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            return marker, *struct.unpack(">BHHB", data[place + 4 : place + 10])
        # A marker may be preceded by more bytes of 255.
        length = (data[place + 2] << 8) + data[place + 3]
        place += 1 if marker == 0xFF else 2 + length
    return None
