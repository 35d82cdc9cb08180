"""Streams: characters are never cut, stop strings are never shown, nothing is lost or delayed without need."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from executorch_ggml.llm.text.stream import StopStrings, StreamDecoder


class Bytes:
    """A tokenizer whose tokens are bytes; 256 is a control token."""

    strips_leading_space = False

    def is_special(self, token: int) -> bool:
        return token == 256

    def token_bytes(self, token: int, special: bool = False) -> bytes:
        return bytes([token]) if token < 256 else b"<x>" if special else b""


class SpacedBytes(Bytes):
    strips_leading_space = True


@given(st.text())
def test_text_survives_byte_by_byte(text: str) -> None:
    stream = StreamDecoder(Bytes())
    pieces = [stream.push(token) for token in text.encode()]
    assert "".join(pieces) == text
    assert stream.flush() == ""
    assert all(len(piece) <= 1 for piece in pieces)


@given(st.binary(max_size=50))
@example(b"\xf0\x9f\x99")
@example(b"\xff\xc3")
def test_any_bytes(data: bytes) -> None:
    stream = StreamDecoder(Bytes())
    assert "".join(map(stream.push, data)) + stream.flush() == data.decode("utf-8", "replace")


def test_control_tokens() -> None:
    assert "".join(map(StreamDecoder(Bytes()).push, [65, 256, 66])) == "AB"
    assert "".join(map(StreamDecoder(Bytes(), special=True).push, [65, 256, 66])) == "A<x>B"


def test_leading_space_is_taken_once() -> None:
    start = StreamDecoder(SpacedBytes())
    assert "".join(map(start.push, b"  a b")) == " a b"
    assert "".join(map(StreamDecoder(SpacedBytes(), previous=65).push, b" a")) == " a"
    assert "".join(map(StreamDecoder(SpacedBytes(), previous=256).push, b" a")) == "a"


letters = st.text("ab", max_size=6)


@given(st.lists(letters, max_size=8), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
@example(["ab", "a", "b"], ["aab", "ba"])
def test_stop_strings_agree_with_the_definition(pieces: list[str], stops: list[str]) -> None:
    """As soon as the text so far holds a stop string, the text is what lies before the first of them."""
    watcher, shown, stopped, text = StopStrings(stops), "", False, ""
    for piece in pieces:
        text += piece
        new, stopped = watcher.push(piece)
        shown += new
        assert text.startswith(shown)
        if stopped:
            break
    found = [text.find(stop) for stop in stops if stop in text]
    assert stopped == bool(found)
    if stopped:
        assert shown == text[: min(found)]
        assert text.startswith(watcher.matched or "?", min(found))
    else:
        # what is held back could still become a stop string, all else is out
        held = text[len(shown) :]
        assert not held or any(stop.startswith(held) for stop in stops)
        assert shown + watcher.flush() == text


def test_no_stop_strings_hold_nothing_back() -> None:
    assert StopStrings([]).push("abc") == ("abc", False)
    assert StopStrings([""]).push("abc") == ("abc", False)
