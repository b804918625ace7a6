"""Refusals that are all alike, before anything was delivered, end a run; anything else that fails does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.load import stop_conditions
from testcard.benchmarks.load.stop_conditions import StopConditions
from testcard.harness.stops import Stop, StopReason, next_step
from testcard.specs.loader import load_provider


def watched(*answers: tuple[int, str, str]) -> tuple[StopConditions, list[Stop]]:
    """Answers of one row: status, outcome, and the server's words."""
    stops: list[Stop] = []
    conditions = StopConditions(lambda stop, cut=True: stops.append(stop))
    cell: Any = SimpleNamespace(index=0, label="nanogpt", operation="createImage")
    for status, outcome, words in answers:
        reply: Any = SimpleNamespace(status=status, failure=None, content=lambda words=words: words.encode())
        conditions.judged(cell, reply, outcome, words, conditions.sends(cell))
    return conditions, stops


NO_MODEL = (400, "refused", "there is no model x")


def test_three_alike_are_enough() -> None:
    """The stop carries the status and the words; what to do is to name another model."""
    conditions, stops = watched(NO_MODEL, NO_MODEL, NO_MODEL)
    assert stops == [Stop(reason=StopReason.ALL_REFUSED, target="nanogpt", status=400, count=3, detail="there is no model x")]
    assert "--model" in (next_step(stops[0]) or "")
    assert list(conditions.failures.values()) == ["first refused of nanogpt createImage: status 400, there is no model x"]


def test_numbers_in_the_words_make_no_difference() -> None:
    """Request ids differ in every answer."""
    assert watched(*((422, "refused", f"bad size (id 3f9a-{number})") for number in range(3)))[1]


def refusals_of(users: int, order: Callable[[int], bool]) -> list[Stop]:
    """Stops of `users` requests sent together, of which `order` says by place whether each is refused; the others' pictures come last."""
    stops: list[Stop] = []
    conditions = StopConditions(lambda stop, cut=True: stops.append(stop))
    cell: Any = SimpleNamespace(index=0, label="nanogpt", operation="createImage")
    reply: Any = SimpleNamespace(status=400, failure=None, content=lambda: b"no")
    places = [conditions.sends(cell) for _ in range(users)]
    for place in filter(order, places):
        conditions.judged(cell, reply, "refused", "no", place)
    return stops


@pytest.mark.parametrize("users", [2, 6, 30])
def test_pictures_on_their_way_are_waited_for(users: int) -> None:
    """Half are refused at once while the others' pictures are made and looked at: that is no refusal of everything."""
    assert refusals_of(users, lambda place: place % 2 == 0) == []
    assert refusals_of(users, lambda place: place != 0) == []  # the very first one may bring a picture


@pytest.mark.parametrize("users", [3, 6, 30])
def test_as_many_as_were_under_way_have_to_be_refused(users: int) -> None:
    """In the order of sending, whatever the order of answers; the last of them ends the run."""
    assert [stop.count for stop in refusals_of(users, lambda place: True)] == [users]
    stops: list[Stop] = []
    conditions = StopConditions(lambda stop, cut=True: stops.append(stop))
    cell: Any = SimpleNamespace(index=0, label="nanogpt", operation="createImage")
    reply: Any = SimpleNamespace(status=400, failure=None, content=lambda: b"no")
    places = [conditions.sends(cell) for _ in range(users)]
    for place in reversed(places):
        assert stops == []
        conditions.judged(cell, reply, "refused", "no", place)
    assert [stop.count for stop in stops] == [users]


@pytest.mark.parametrize(
    "answers",
    [
        [(200, "ok", ""), NO_MODEL, NO_MODEL, NO_MODEL],  # it can be done
        [NO_MODEL, NO_MODEL, (400, "refused", "another reason"), NO_MODEL, NO_MODEL],
        [(429, "rate-limited", "slow down")] * 9,
        [(500, "server-error", "no")] * 9,
        [(400, "policy", "not this prompt")] * 9,
        [(0, "timeout", "")] * 9,
    ],
)
def test_what_else_fails_goes_on(answers: list[tuple[int, str, str]]) -> None:
    """Other prompts, sizes, and seconds may fare better."""
    assert watched(*answers)[1] == []


def test_the_first_failure_of_each_kind_is_kept_on_one_line() -> None:
    """Not the second; without control characters, and not longer than a terminal bears."""
    found = watched((500, "server-error", "a\r\n\x1b[2Jb"), (500, "server-error", "c"), (400, "refused", "x" * 999))[0].failures
    failures = list(found.values())
    assert failures[0] == "first server-error of nanogpt createImage: status 500, a \N{REPLACEMENT CHARACTER}[2Jb"
    assert len(failures) == 2
    assert len(failures[1]) < 400


@pytest.mark.parametrize(
    ("statuses", "fatal"),
    [
        ([401], True),
        ([500, 401], True),  # nothing ever took the key
        ([500, 503, 429, 401], True),
        ([403], True),
        ([500, 403], False),  # may be about one model
        ([200, 401], False),  # the key was good
        ([500, 200, 401], False),
    ],
)
def test_a_key_is_refused_by_a_401_before_any_success(statuses: list[int], fatal: bool) -> None:
    """Whatever failed before: exit 3, and the next step is to look at the key."""
    stops: list[Stop] = []
    conditions = StopConditions(lambda stop, cut=True: stops.append(stop))
    cell: Any = SimpleNamespace(target=0, label="nanogpt", may_leave_machine=False, provider=load_provider("nanogpt"))
    for status in statuses:
        conditions.look(cell, cast(Any, SimpleNamespace(status=status, failure=None, content=lambda: b"{}")))
    assert (conditions.fatal is not None) == fatal
    assert [stop.reason for stop in stops] == ([StopReason.KEY_REFUSED] if fatal else [])
    if conditions.fatal is not None:
        assert (conditions.fatal.exit_code, "key" in (conditions.fatal.hint or "")) == (3, True)


@given(st.text("0a-fF g", max_size=40))
def test_a_run_of_hexadecimal_digits_with_a_number_is_one_number(text: str) -> None:
    """As by the plain pattern, which took half a second of the loop that sends for each refusal of 8,000 letters without a number."""
    assert stop_conditions._NUMBERS.sub("#", text) == re.sub(r"[0-9a-f-]*[0-9][0-9a-f-]*", "#", text)
