"""Rules for prose: how sentences and words are counted, and which words are not used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

MOST_WORDS = 30  # in a sentence; the aim is 25
MOST_COLUMNS = 120
CODE = "`code`"  # stands for inline code: one word, however much it holds

# A free relative is a noun made of "what" or its relatives: "what is left", "whoever asks". A question may have one.
_FREE_RELATIVE = re.compile(r"\b(what|whatever|whoever|whomever|whichever|whose)\b(?!\()", re.IGNORECASE)

# Each pattern with the word to use in its place. The first group: own words of this project for terms of the field.
BANNED = {
    r"soft maxim(um|a)": "softmax",
    r"hyperbolic tangents?": "tanh",
    r"halves": "fp16 (the type); the verb is 'cuts by half'",
    r"likeliest": "most likely, or argmax",
    r"as it comes": "by default",
    r"(is|are|be) dealt": "is distributed",
    r"(passes|passed) over": "skip",
    r"in company": "together",
    r"as (it|they) lies?": "unchanged, or in place",
    r"as (it|they) stands?": "unchanged",
    r"utili[sz](e|es|ed|ing)": "use",
    r"leverag(e|es|ed|ing)": "use",
    r"facilitat(e|es|ed|ing)": "help, or allow",
    r"in order to": "to",
    r"prior to": "before",
    r"subsequent(ly)? to": "after",
    r"due to the fact that": "because",
    r"in the event that": "if",
    r"a (large|small) number of": "many, or few",
    r"whilst": "while",
    r"wherein|whereby|whence|thereof|therein|hereby|herein|aforementioned": "a plain word",
    r"needless to say|of course|obviously|basically": "nothing: leave it out",
}
_BANNED = [(re.compile(rf"\b({pattern})\b", re.IGNORECASE), instead) for pattern, instead in BANNED.items()]

_QUOTED = re.compile(r'"[^"]*"')
# A stop, with the quotes and brackets that belong to it. "e.g." and its like do not end a sentence.
_STOP = re.compile(r"(?<![\s.!?])[.!?]+['\")\]*_]*(?=\s)")
_ABBREVIATION = re.compile(r"(^|[\s(])(e\.g|i\.e|vs|cf|etc|incl|approx|resp|Fig|No)\.$")


@dataclass(frozen=True)
class Prose:
    """A paragraph, a list item, a table cell or a comment. Line breaks are kept, so that a sentence has a line."""

    text: str
    line: int
    counted: bool = True  # false for cells and headings: they obey the rules, but would flatter the median


@dataclass(frozen=True)
class Sentence:
    text: str
    line: int
    counted: bool

    @property
    def words(self) -> int:
        return sum(any(c.isalnum() for c in word) for word in self.text.split())


@dataclass(frozen=True)
class Fault:
    line: int
    kind: str  # "long", "relative", "word" or "line"
    text: str
    words: int = 0


def sentences(prose: Prose) -> Iterator[Sentence]:
    start = 0
    for end in [*_ends(prose.text), len(prose.text)]:
        text = prose.text[start:end]
        if any(c.isalnum() for c in text):
            skipped = len(text) - len(text.lstrip())
            line = prose.line + prose.text[: start + skipped].count("\n")
            names_alone = not any(c.isalnum() for c in text.replace(CODE, ""))  # an item of a list of names
            yield Sentence(" ".join(text.split()), line, prose.counted and not names_alone)
        start = end


def _ends(text: str) -> Iterator[int]:
    for stop in _STOP.finditer(text):
        following = text[stop.end() :].lstrip()
        if stop[0].startswith("...") and not following[:1].isupper():
            continue  # an ellipsis inside a sentence
        if stop[0] == "." and _ABBREVIATION.search(text[: stop.end()]):
            continue
        yield stop.end()


def faults(sentence: Sentence) -> Iterator[Fault]:
    own_words = _QUOTED.sub('""', sentence.text)  # a quoted word is talked about, not used
    if sentence.words > MOST_WORDS:
        yield Fault(sentence.line, "long", sentence.text, sentence.words)
    if not sentence.text.endswith("?"):
        for found in _FREE_RELATIVE.finditer(own_words):
            yield Fault(sentence.line, "relative", f'"{found[0]}" as a noun: {sentence.text}', sentence.words)
    for pattern, instead in _BANNED:
        for found in pattern.finditer(own_words):
            yield Fault(sentence.line, "word", f'"{found[0]}", say {instead}: {sentence.text}', sentence.words)


@dataclass
class Measure:
    """Figures of one file, or of several added together."""

    lengths: list[int]
    faults: list[Fault]

    def __iadd__(self, other: Measure) -> Measure:
        self.lengths += other.lengths
        self.faults += other.faults
        return self

    def count(self, kind: str) -> int:
        return sum(fault.kind == kind for fault in self.faults)

    @property
    def median(self) -> float:
        return median(self.lengths) if self.lengths else 0

    @property
    def p90(self) -> int:
        return sorted(self.lengths)[int(0.9 * len(self.lengths))] if self.lengths else 0

    def share_over(self, words: int) -> float:
        return sum(length > words for length in self.lengths) / len(self.lengths) if self.lengths else 0


def measure(paragraphs: list[Prose], long_lines: list[int]) -> Measure:
    found = [sentence for prose in paragraphs for sentence in sentences(prose)]
    wrong = [fault for sentence in found for fault in faults(sentence)]
    wrong += [Fault(line, "line", f"a line of more than {MOST_COLUMNS} characters") for line in long_lines]
    lengths = [sentence.words for sentence in found if sentence.counted]
    return Measure(lengths, sorted(wrong, key=lambda fault: fault.line))
