"""What every test stands on: a process as it is when a command begins."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testcard.harness import redaction
from testcard.harness.intake import limits
from testcard.harness.wire import addresses


def pytest_collection_finish() -> None:
    """What six thousand tests are made of is no garbage: it is not looked through again and again for some (8 % of the CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@contextmanager
def _restored() -> Iterator[None]:
    """Keys, hosts and limits that a command was told hold for its process: afterwards they are as they were."""
    secrets, hosts, said, now = dict(redaction._secrets), set(addresses._allowed), dict(limits._said), limits.limits()
    yield
    for kept in (redaction._secrets, addresses._allowed, limits._said):
        kept.clear()
    redaction._secrets.update(secrets)
    addresses._allowed.update(hosts)
    limits._said.update(said)
    limits.use_limits(now)


@pytest.fixture(autouse=True, scope="module")
def no_file_leaves_anything_to_the_next() -> Iterator[None]:
    """Which files share a process, and in what order, is chance."""
    with _restored():
        yield


@pytest.fixture(autouse=True)
def no_test_leaves_anything_to_the_next() -> Iterator[None]:
    """A key of one test would be taken out of the reports of all later ones."""
    with _restored():
        yield
