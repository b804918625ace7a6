"""How long requests are waited for: in full until one got no answer, then by what the others took."""

from __future__ import annotations

from testcard.harness.check.running.following import LEAST_S, TIMES, Waiting


def test_everything_is_waited_for_in_full_as_long_as_all_is_answered() -> None:
    """Quick answers alone shorten nothing."""
    waiting = Waiting(330.0)
    waiting.answered("generate", 2.0)
    assert waiting.limit_s("generate") == 330.0
    assert waiting.late(330.0) == "timeout"


def test_after_a_silence_the_median_counts() -> None:
    """A few times the median of the same kind, never less than ten seconds, never more than the full time."""
    waiting = Waiting(330.0)
    for took_s in (20.0, 30.0, 200.0):
        waiting.answered("generate", took_s)
    waiting.answered("poll", 0.01)
    assert waiting.unanswered()
    assert not waiting.unanswered()
    assert waiting.limit_s("generate") == TIMES * 30.0
    assert waiting.late(TIMES * 30.0) == "given-up"
    assert waiting.limit_s("poll") == LEAST_S
    waiting.answered("slow", 100.0)
    assert waiting.limit_s("slow") == 330.0


def test_a_first_request_and_one_of_which_nothing_is_known_are_waited_for_in_full() -> None:
    """On a first request the rest of its operation hangs; what takes as long as nobody knows is given its time."""
    waiting = Waiting(330.0)
    waiting.answered("generate", 1.0)
    waiting.unanswered()
    assert waiting.limit_s("generate", full=True) == 330.0
    assert waiting.limit_s("edit") == 330.0


def test_a_short_full_time_is_never_lengthened() -> None:
    """Who waits three seconds waits three seconds."""
    waiting = Waiting(3.0)
    waiting.answered("generate", 0.1)
    waiting.unanswered()
    assert waiting.limit_s("generate") == 3.0
    assert waiting.late(3.0) == "timeout"
