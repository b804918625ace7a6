"""Why a run ended: a word for programs, its numbers, and a sentence for people."""

import dataclasses

import msgspec
import pytest

from testcard.harness.stops import BUDGET, Stop, StopReason, next_step, sentence, sentences


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_reason_has_a_sentence_with_and_without_its_numbers(reason):
    """No reason is left to a program's word, and none needs a number to be told."""
    assert sentence(Stop(reason=reason)).strip()
    full = Stop(reason=reason, target="Tidy", status=402, count=3, limit=5, spent=0.5, following=0.25, detail="so it said")
    said = sentence(full)
    assert said
    assert not said.endswith(".")
    assert "None" not in said + sentence(Stop(reason=reason)) + (next_step(full) or "")


def test_a_stop_comes_back_as_it_was_from_json_and_msgpack():
    """Load processes, workers and run folders hand stops on."""
    stop = Stop(reason=StopReason.COST_SPENT, limit=1.0, spent=0.98, following=0.04)
    assert msgspec.json.decode(msgspec.json.encode(stop), type=Stop) == stop
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stop), type=Stop) == stop
    assert msgspec.json.decode(b'{"reason": "cost-spent"}', type=Stop).reason is StopReason.COST_SPENT


def test_sentences_name_the_numbers():
    """A limit is told with what it was, money with what the next request can cost."""
    assert sentence(Stop(reason=StopReason.REQUESTS_SPENT, limit=5)) == "the budget of 5 requests is spent"
    assert sentence(Stop(reason=StopReason.REQUESTS_SPENT, limit=1)) == "the budget of 1 request is spent"
    assert sentence(Stop(reason=StopReason.REQUESTS_SPENT, limit=0)) == "the budget of 0 requests is spent"
    money = Stop(reason=StopReason.COST_SPENT, limit=0.1, spent=0.098, following=0.014)
    assert sentence(money) == "$0.0980 of $0.1 is spent or reserved, and the next request can cost $0.0140"
    both = [Stop(reason=StopReason.INTERRUPTED), Stop(reason=StopReason.MASTER_LOST)]
    assert sentences(both) == "interrupted; the master is gone"
    assert sentences([]) is None


def test_a_limit_names_the_flag_that_allows_more():
    """What ended for a limit of the user's own says which."""
    flags = {reason: next_step(Stop(reason=reason)) for reason in BUDGET}
    for reason, flag in zip(sorted(BUDGET), ("--max-cost", "--max-downloads", "--max-images", "--max-requests", "--max-time"), strict=True):
        assert flag in (flags[reason] or "")


def test_a_stop_cannot_be_changed():
    """It is a record of what happened."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stop(reason=StopReason.INTERRUPTED).reason = StopReason.MASTER_LOST
