"""The Locust users that put load on: one that dispatches an open loop, one for each turn-taker of a closed loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from locust import User, task
from locust.env import Environment
from locust.event import Events
from locust.exception import StopUser


class Work(Protocol):
    """What a user needs of the engine."""

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs a user's work and keeps its errors."""

    def open_loop(self) -> None:
        """Dispatches every arrival of the present block."""

    def closed_loop(self) -> None:
        """Takes turns until the present block is over."""


class _LoadUser(User):
    """A Locust user that works for an engine; each environment makes subclasses of its own, so that two engines never mix."""

    abstract = True
    engine: Work


class _OpenLoopUser(_LoadUser):
    abstract = True

    @task
    def dispatch(self) -> None:
        self.engine.guarded(self.engine.open_loop)
        raise StopUser


class _ClosedLoopUser(_LoadUser):
    abstract = True

    @task
    def take_turns(self) -> None:
        self.engine.guarded(self.engine.closed_loop)
        raise StopUser


def locust_environment() -> Environment:
    """Locust's environment with our users, and no runner yet."""
    users = [type(kind.__name__.strip("_"), (kind,), {"abstract": False}) for kind in (_OpenLoopUser, _ClosedLoopUser)]
    return Environment(user_classes=users, events=Events(), catch_exceptions=False)  # type: ignore[no-untyped-call]


def put_to_work(environment: Environment, engine: Work) -> None:
    """Lets the environment's users work for this engine."""
    for kind in environment.user_classes:
        kind.engine = engine  # type: ignore[attr-defined]
