"""The dynamic symbol table of an ELF file of 64 bits, little endian."""

from __future__ import annotations

import struct
from pathlib import Path


def exported(path: Path) -> list[str]:
    """Names that the file defines for others."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", path
    offset, size, count = struct.unpack_from("<Q", data, 0x28)[0], *struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + index * size) for index in range(count)]
    names = []
    for section in sections:
        if section[1] != 11:  # SHT_DYNSYM
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, where = struct.unpack_from("<IBBH", data, at)
            if where != 0 and info >> 4 != 0:  # defined, not local
                names.append(data[strings + name : data.index(b"\0", strings + name)].decode())
    return names
