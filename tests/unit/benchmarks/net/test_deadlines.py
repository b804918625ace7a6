"""Waits that may take equally long end on time, each in its own greenlet, and only while they last."""

from __future__ import annotations

import time

import gevent

from testcard.benchmarks.net.transport import Deadlines, Expired


def waiting(deadlines: Deadlines, begin_after_s: float, takes_s: float) -> tuple[bool, float]:
    """Whether a wait was ended, and how long it lasted."""
    gevent.sleep(begin_after_s)
    began = time.monotonic()
    number = deadlines.begin(began)
    try:
        gevent.sleep(takes_s)
    except Expired:
        return True, time.monotonic() - began
    finally:
        deadlines.end(number)
    return False, time.monotonic() - began


def test_waits_end_on_time_and_those_that_are_over_are_left_alone() -> None:
    """0.4 s each, begun at different moments: those that would take a minute end after 0.4 s, the others finish."""
    deadlines = Deadlines(0.4)
    plan = [(0.0, 60.0), (0.0, 0.02), (0.03, 60.0), (0.06, 0.03), (0.2, 60.0)]
    jobs = [gevent.spawn(waiting, deadlines, *each) for each in plan]
    gevent.joinall(jobs)
    assert [job.value[0] for job in jobs] == [True, False, True, False, True]
    assert all(0.395 <= job.value[1] < 30 for job in jobs if job.value[0])
    gevent.sleep(0.45)  # nothing is raised afterwards in a greenlet whose waits are over
    deadlines.close()


def test_a_greenlet_that_begins_again_when_it_was_ended_gets_its_whole_time() -> None:
    """Two waits of one greenlet, each ended after its own 0.05 s."""
    deadlines = Deadlines(0.05)
    job = gevent.spawn(lambda: [waiting(deadlines, 0.0, 60.0) for _ in range(2)])
    job.join()
    assert [ended for ended, _ in job.value] == [True, True]
    assert all(0.045 <= lasted < 30 for _, lasted in job.value)
    deadlines.close()
