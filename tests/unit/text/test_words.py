"""Numbers, counts and lists as a person reads them."""

from __future__ import annotations

import io

import pytest

from testcard.harness.runs.records import SEVERITY, Estimate
from testcard.harness.text.words import (
    DOLLARS,
    GLYPHS,
    MEANINGS,
    MILLISECONDS,
    SECONDS,
    count,
    data_size,
    fixed,
    listing,
    one_line,
    percent,
    significant,
    time_span,
    time_unit,
    worst_word,
    wrapped,
)


def test_numbers_are_written_with_three_digits() -> None:
    """No exponent, no false precision, thousands separated."""
    assert [significant(value) for value in (0.41234, 12.34, 1234.5, 0, 0.5, None)] == ["0.412", "12.3", "1,234", "0", "0.5", "–"]
    assert [fixed(value) for value in (0.5, 2.0, 9.999, 1234.5)] == ["0.500", "2.00", "10.00", "1,234"]
    assert SECONDS.full(Estimate(value=1.0, low=0.9, high=1.1, n=9)) == "1.00 s [0.900–1.10]"
    assert SECONDS.full(Estimate(value=1.0, low=0.9, high=None, n=9)) == "1.00 s [≥\u00a00.900]"
    assert DOLLARS.full(Estimate(value=0.014, low=0.01, high=0.0205, n=9)) == "$0.014 [0.01–0.0205]"
    assert DOLLARS.full(Estimate(value=14.0, low=14.0, high=14.0, n=9)) == DOLLARS.said(14.0) == "$14"
    assert (DOLLARS.said(None), SECONDS.said(0.5)) == ("–", "0.500 s")
    assert time_unit(0.2) is MILLISECONDS
    assert time_unit(20.0) is SECONDS


def test_words_join_as_prose() -> None:
    """Lists and counts read as a sentence would have them."""
    assert [listing(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listing([str(n) for n in range(9)], 2) == "0, 1 and 7 more"
    assert (count(1, "rule"), count(1200, "rule")) == ("1 rule", "1,200 rules")
    assert worst_word(["pass", "deviates", "unsupported"]) == "deviates"


def test_a_number_that_rounds_up_to_a_thousand_has_no_exponent() -> None:
    """999.6 is 1,000 and not 1e+03, 0.0000123 is written out."""
    assert [significant(value) for value in (999.6, 1e-5 * 1.23, -1234.0, float("inf"))] == ["1,000", "0.0000123", "-1,234", "–"]


def test_a_share_is_written_in_percent() -> None:
    """With a space before the sign, as everywhere."""
    assert (percent(0.404), percent(0.975, 1), percent(0)) == ("40 %", "97.5 %", "0 %")


def test_sizes_and_spans_come_in_the_unit_that_suits_them() -> None:
    """Bytes in powers of a thousand, times from microseconds to days."""
    assert [data_size(count) for count in (0, 999, 1500, 1_443_320)] == ["0 B", "999 B", "1.5 kB", "1.4 MB"]
    assert time_span(-90) == "1.5 minutes"
    assert [time_span(seconds) for seconds in (60, 3600, 86400, 1, 0.001)] == ["1 minute", "1 hour", "1 day", "1 s", "1 ms"]
    spans = [time_span(seconds) for seconds in (0, 0.0000123, 0.0042, 1.5, 90, 5400, 604800)]
    assert spans == ["0 s", "12.3 µs", "4.2 ms", "1.5 s", "1.5 minutes", "1.5 hours", "7 days"]


def test_every_verdict_has_a_glyph_of_its_own_and_a_meaning() -> None:
    """No two verdicts look alike where colour is not seen, on a terminal and in a report."""
    assert set(MEANINGS) == set(SEVERITY) <= set(GLYPHS)
    assert len({GLYPHS[word] for word in SEVERITY}) == len(SEVERITY)
    assert all(len(glyph) == 1 for glyph in GLYPHS.values())


def test_what_strangers_say_stays_on_its_line() -> None:
    """No new line, no carriage return that writes over a line, no escape sequence, no half surrogate; tabs and letters stay."""
    assert one_line("a\r\nb\nc\rd\te") == "a b c d\te"
    assert one_line("\x1b[31mred\x07\ud800 é") == "\ufffd[31mred\ufffd\ufffd é"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_whole_words_and_a_file_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are broken between words, at the indent that they have; paragraphs stay apart, and a space that does not break does not."""
    monkeypatch.setenv("COLUMNS", "30")
    text = "NanoGPT is fastest (p50\u00a00.195\u00a0s), 22 % faster than Nebul.\n\n  p50 195 ms, errors 0 %, requests 20, more"
    assert wrapped(text, io.StringIO()) == text
    assert wrapped(text, Terminal()).splitlines() == [
        "NanoGPT is fastest",
        "(p50\u00a00.195\u00a0s), 22 % faster",
        "than Nebul.",
        "",
        "  p50 195 ms, errors 0 %,",
        "  requests 20, more",
    ]
