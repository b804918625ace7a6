"""Waits end at their moment, and at once when they are rung."""

from __future__ import annotations

import time

import gevent
import pytest

from testcard.benchmarks.load.alarm import Alarm


@pytest.fixture(params=["timerfd", "gevent"])
def alarm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    """The system's timer where there is one, and what stands in for it."""
    if request.param == "gevent":
        monkeypatch.setattr("testcard.benchmarks.load.alarm.sys.platform", "other")
    return Alarm()


def test_a_wait_ends_at_its_moment_and_never_before(alarm: Alarm) -> None:
    """Twenty moments a few milliseconds away, whole milliseconds and not: on a busy machine too one wait ends within 20 ms of its moment.

    Each wait ends by itself, not by being asked again and again; one that is over ends at once.
    """
    late, waits = [], 0
    for index in range(20):
        moment = time.monotonic() + 0.003 + index * 0.00037
        while time.monotonic() < moment:
            alarm.wait_until(moment)
            waits += 1
        late.append(time.monotonic() - moment)
    assert min(late) < 0.02
    assert waits <= 2 * len(late)
    with gevent.Timeout(30):
        alarm.wait_until(time.monotonic() - 1.0)
    alarm.close()


def test_ringing_ends_a_wait(alarm: Alarm) -> None:
    """An hour away, rung after 50 ms; others go on meanwhile."""
    waiter = gevent.spawn(alarm.wait_until, time.monotonic() + 3600.0)
    gevent.sleep(0.05)
    assert not waiter.ready()
    alarm.ring()
    waiter.join(timeout=60)
    assert waiter.ready()
    alarm.close()
    alarm.ring()
