"""Writes ELF files that need exactly what a test says: enough of the format for a dynamic linker's questions."""

from __future__ import annotations

import struct
from pathlib import Path

X86_64, AARCH64 = 62, 183


def write_elf(path: Path, needs: dict[str, list[str]], machine: int = X86_64) -> Path:
    """A shared library with DT_NEEDED entries and, for each, symbol versions (.gnu.version_r)."""
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        at = len(strings)
        strings.extend(value.encode() + b"\0")
        return at

    dynamic = b"".join(struct.pack("<QQ", 1, text(library)) for library in needs) + struct.pack("<QQ", 0, 0)
    versioned = {library: versions for library, versions in needs.items() if versions}
    verneed = b""
    for index, (library, versions) in enumerate(versioned.items()):
        size = 16 + 16 * len(versions)
        following = size if index + 1 < len(versioned) else 0
        verneed += struct.pack("<HHIII", 1, len(versions), text(library), 16, following)
        for number, version in enumerate(versions):
            verneed += struct.pack("<IHHII", 0, 0, 2, text(version), 16 if number + 1 < len(versions) else 0)

    bodies = [(0, b"", 0), (3, bytes(strings), 0), (6, dynamic, 1)]  # SHT_NULL, SHT_STRTAB, SHT_DYNAMIC
    if verneed:
        bodies.append((0x6FFFFFFE, verneed, 1))  # SHT_GNU_verneed
    blob, headers = b"", b""
    for kind, body, link in bodies:
        headers += struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, 64 + len(blob), len(body), link, len(versioned), 8, 0)
        blob += body
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    start = 64 + len(blob)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 0, start, 0, 64, 0, 0, 64, len(bodies), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + blob + headers)
    return path
