"""Tables and figures as data, apart from what draws or writes them: a report without a benchmark needs no drawing library."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.text.words import NONE

_NOTHING = ("", NONE)


@dataclass(frozen=True, slots=True)
class Table:
    """What is behind a figure: a header and rows of text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def filled(self) -> Table:
        """The table without columns in which no row has anything."""
        kept = [place for place in range(len(self.header)) if any(row[place] not in _NOTHING for row in self.rows)]
        return Table(tuple(self.header[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in self.rows))


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished figure: `inline` SVG for the page, `small` SVG for a narrow one, files, the finding in words and the numbers behind it."""

    name: str
    title: str
    caption: str
    table: Table
    inline: str
    small: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, slots=True)
class Panel:
    """A table with its heading and one sentence that says what it shows."""

    name: str
    title: str
    sentence: str
    table: Table


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The paragraph, a sentence or a few for each group, and the ratios of every pair, group by group."""

    paragraphs: list[str]
    ratios: list[tuple[str, str]]  # group, sentence

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n\n".join(self.paragraphs)
