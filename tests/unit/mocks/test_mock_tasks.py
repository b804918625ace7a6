"""Async tasks move forward only, end once, and are found by their reference alone."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from testcard.mocks.exchange import Refused
from testcard.mocks.store import TaskStore


class Timer:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_task_is_queued_then_runs_then_is_completed() -> None:
    """States follow each other as time passes, and the work is done once however often the task is looked at."""
    timer, done = Timer(), []

    async def work() -> dict[str, Any]:
        done.append(1)
        await asyncio.sleep(0)
        return {"images": []}

    async def story() -> None:
        tasks = TaskStore(timer)
        task, new = tasks.submit(work, 1.0)
        assert new
        states = []
        for after in (0.0, 0.29, 0.31, 0.99, 1.0, 5.0):
            timer.now = 50.0 + after
            states.append((await tasks.look(task.reference))[1])
        assert states == ["queued", "queued", "running", "running", "completed", "completed"]
        await asyncio.gather(*[tasks.look(task.reference) for _ in range(5)])
        assert done == [1]
        assert task.result == {"images": []}

    asyncio.run(story())


def test_an_unknown_or_forgotten_task_is_404() -> None:
    """Only the newest tasks are kept; of others the mock knows nothing."""

    async def work() -> None:
        return None

    async def story() -> None:
        tasks = TaskStore(Timer(), keep=2)
        first, *_ = [tasks.submit(work, 1.0, key=f"k{n}")[0] for n in range(3)]
        for reference in ("0x0", first.reference):
            with pytest.raises(Refused) as caught:
                await tasks.look(reference)
            assert caught.value.status == 404
        assert tasks.submit(work, 1.0, key="k0")[1]

    asyncio.run(story())


def test_tasks_hold_no_more_than_so_many_bytes() -> None:
    """Of ended tasks the newest are kept, asked about or not; a request is let go of with its end; what is still under way stays."""
    timer = Timer()

    async def story() -> None:
        tasks = TaskStore(timer, keep_bytes=100)
        request = bytearray(60)
        gone = weakref.ref(made := Made(request))
        first, _ = tasks.submit(made, 1.0, key="a", body=bytes(request))
        del made
        second, _ = tasks.submit(Made(b""), 9.0, key="b", body=bytes(60))
        timer.now += 2.0
        assert (await tasks.look(first.reference))[0].result == {"images": ["x" * 30]}
        assert gone() is None
        third, _ = tasks.submit(Made(b""), 1.0, key="c", body=bytes(60))
        timer.now += 2.0
        fourth, _ = tasks.submit(Made(b""), 1.0, key="d", body=bytes(60))
        with pytest.raises(Refused):
            await tasks.look(first.reference)
        assert [(await tasks.look(one.reference))[1] for one in (second, third, fourth)] == ["running", "completed", "queued"]
        assert not tasks.has("a")

    asyncio.run(story())


class Made:
    """Work that holds its request."""

    def __init__(self, request: bytes | bytearray) -> None:
        self.request = request

    async def __call__(self) -> dict[str, Any]:
        return {"images": ["x" * 30]}


def test_an_idempotency_key_gives_one_task() -> None:
    """The same key and body give the task that is there; the same key with another body is refused."""

    async def work() -> None:
        return None

    tasks = TaskStore(Timer())
    first, new = tasks.submit(work, 1.0, key="k", body=b"1")
    again, newer = tasks.submit(work, 1.0, key="k", body=b"1")
    assert (new, newer) == (True, False)
    assert first is again
    with pytest.raises(Refused) as caught:
        tasks.submit(work, 1.0, key="k", body=b"2")
    assert caught.value.status == 409
