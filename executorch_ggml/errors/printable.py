"""Text from files on its way to a terminal, where control characters are commands."""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1, lone surrogates (bytes that were no UTF-8), and characters that reorder text or
# hide in it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile("[\t\n]")


def printable(text: object, *, one_line: bool = False) -> str:
    r"""The text with control characters written out (``\x1b``). one_line: tabs and line feeds, too."""
    shown = _CONTROL.sub(_escape, str(text))
    return _BREAKS.sub(_escape, shown) if one_line else shown


def json_safe(text: str) -> str:
    r"""JSON with the same characters as ``\uXXXX``, which JSON's own writer leaves in strings."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte
        code -= 0xDC00
    return {9: "\\t", 10: "\\n"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
