"""The training text: the World English Bible, from Debian's package sword-text-web (public domain).

The package holds a SWORD zText module: <testament>.bzz is a run of zlib streams, one a book, and <testament>.bzs has a
12-byte little-endian record (offset, compressed size, size) for each. The text inside is OSIS XML; only the words that
are read aloud are kept: headings, notes and cross references go.
"""

from __future__ import annotations

import html
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

PACKAGE = "sword-text-web"
MODULE = "usr/share/sword/modules/texts/ztext/engWEB2015eb"

_DROPPED = re.compile(r"<(note|title|reference|figure)\b[^>]*?(/>|>.*?</\1>)", re.S)
_PARAGRAPH = re.compile(
    r'<div\b[^>]*type="(?:x-p|paragraph)"[^>]*/>|<p\b[^>]*>|</p>|<lg\b[^>]*>|</lg>|<chapter\b[^>]*>'
)
_LINE = re.compile(r"<l\b[^>]*/>|<l\b[^>]*>|<lb\b[^>]*/>")
_TAG = re.compile(r"<[^>]+>")
# Typographic quotes, dashes and the no-break space, as a keyboard has them.
_PLAIN = {0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'", 0x2014: " - ", 0x2013: "-", 0x00A0: " "}


def books(module: Path) -> list[str]:
    """Every book of the module as raw OSIS, Old Testament first."""
    texts = []
    for testament in ("ot", "nt"):
        packed = (module / f"{testament}.bzz").read_bytes()
        index = (module / f"{testament}.bzs").read_bytes()
        for offset, length, size in struct.iter_unpack("<III", index):
            if length == 0:
                continue
            text = zlib.decompress(packed[offset : offset + length])
            if len(text) != size:
                raise ValueError(f"{testament}.bzz: a book at {offset} unpacks to {len(text)} bytes, not {size}")
            texts.append(text.decode("utf-8"))
    return texts


def plain(osis: str) -> str:
    """OSIS markup to paragraphs of plain text, one a line."""
    text = _DROPPED.sub("", osis)
    text = _PARAGRAPH.sub("\n", text)
    text = _LINE.sub(" ", text)
    text = html.unescape(_TAG.sub("", text))
    text = text.translate(_PLAIN)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def load() -> str:
    """Downloads and unpacks the package into a temporary folder; the whole text, books separated by a blank line."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=folder, check=True)
        (deb,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", deb.name, "tree"], cwd=folder, check=True)
        return "\n\n".join(plain(book) for book in books(Path(folder) / "tree" / MODULE))


if __name__ == "__main__":
    sys.stdout.write(load())
