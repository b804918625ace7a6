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
    """Twenty moments a few milliseconds away, whole milliseconds and not; one that is over ends at once."""
    late = []
    for index in range(20):
        moment = time.monotonic() + 0.003 + index * 0.00037
        while time.monotonic() < moment:
            alarm.wait_until(moment)
        late.append(time.monotonic() - moment)
    assert sorted(late)[10] < 0.02
    began = time.monotonic()
    alarm.wait_until(began - 1.0)
    assert time.monotonic() - began < 0.5
    alarm.close()


def test_ringing_ends_a_wait(alarm: Alarm) -> None:
    """A minute away, rung after 50 ms; others go on meanwhile."""
    began = time.monotonic()
    waiter = gevent.spawn(alarm.wait_until, began + 60.0)
    gevent.sleep(0.05)
    assert not waiter.ready()
    alarm.ring()
    waiter.join(timeout=5)
    assert waiter.ready()
    assert 0.05 <= time.monotonic() - began < 5.0
    alarm.close()
    alarm.ring()
