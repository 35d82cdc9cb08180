"""Real sentences: those of the text that the bundled model was not trained on."""

from __future__ import annotations

from pathlib import Path

TEXT = Path(__file__).resolve().parents[1] / "assets" / "heldout.txt"


def sentences(count: int) -> list[str]:
    """The first ones of more than three words, cut at the full stops. Raises ValueError if there are fewer."""
    text = TEXT.read_text()
    found = [s.strip() for s in text.replace("\n", " ").split(".") if len(s.split()) > 3]
    if len(found) < count:
        raise ValueError(f"{TEXT} has {len(found)} sentences")
    return found[:count]
