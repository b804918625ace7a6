"""Numbers, counts and lists as a person reads them."""

from __future__ import annotations

from testcard.harness.runs.records import Estimate
from testcard.harness.text.verdicts import worst_word
from testcard.harness.text.words import MILLISECONDS, SECONDS, count, fixed, listing, significant, time_unit


def test_numbers_are_written_with_three_digits() -> None:
    """No exponent, no false precision, thousands separated."""
    assert [significant(value) for value in (0.41234, 12.34, 1234.5, 0, 0.5, None)] == ["0.412", "12.3", "1,234", "0", "0.5", "–"]
    assert [fixed(value) for value in (0.5, 2.0, 9.999, 1234.5)] == ["0.500", "2.00", "10.00", "1,234"]
    assert SECONDS.full(Estimate(value=1.0, low=0.9, high=1.1, n=9)) == "1.00 s [0.900–1.10]"
    assert SECONDS.full(Estimate(value=1.0, low=0.9, high=None, n=9)) == "1.00 s [≥ 0.900]"
    assert time_unit(0.2) is MILLISECONDS
    assert time_unit(20.0) is SECONDS


def test_words_join_as_prose() -> None:
    """Lists and counts read as a sentence would have them."""
    assert [listing(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listing([str(n) for n in range(9)], 2) == "0, 1 and 7 more"
    assert (count(1, "rule"), count(1200, "rule")) == ("1 rule", "1,200 rules")
    assert worst_word(["pass", "deviates", "unsupported"]) == "deviates"
