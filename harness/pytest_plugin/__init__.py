"""The pytest plugin: `pytest --testcard nanogpt=URL` runs each rule on each operation as a test item; fixtures give mocks, clients and checks.

Every pytest run of whoever installed Testcard imports this module, so it imports nothing but pytest, and does nothing unless
`--testcard` is given or a fixture is asked for. `items` holds the test items, `shared` the one check behind those of a target.
May import all of the harness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from testcard.harness.client import Client
    from testcard.harness.events import Finished

MARKER = "testcard: a promise of an image API's contract, checked by Testcard (from --testcard)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("testcard", "contracts of image APIs (Testcard)")
    add = group.addoption
    add("--testcard", action="append", default=[], metavar="PROVIDER[=URL]", help="Check this target; again for more. No URL: a mock.")
    add("--testcard-rule", action="append", default=[], metavar="GLOB", help="Check only rules that match; again for more.")
    add("--testcard-operation", action="append", default=[], metavar="ID", help="Check only this operation; again for more.")
    add("--testcard-model", metavar="M", help="The model that requests ask for.")
    add("--testcard-seed", type=int, metavar="N", help="Same seed, same requests.")
    add("--testcard-live", action="store_true", help="Allow targets off this machine; needs --testcard-max-requests or -max-cost.")
    add("--testcard-max-requests", type=int, metavar="N", help="For each target: never send more requests than this.")
    add("--testcard-max-cost", type=float, metavar="USD", help="For each target: never spend more than this.")
    add("--testcard-strict", action="store_true", help="Let broken shoulds fail as well.")
    add("--testcard-out", metavar="DIR", help="Parent of the run folders. Default: testcard-runs/pytest-<time>.")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and where the checks of this session go; with `--testcard` alone is anything more imported."""
    config.addinivalue_line("markers", MARKER)
    if config.getoption("testcard"):
        from testcard.harness.pytest_plugin.items import CheckedTargets

        config.pluginmanager.register(CheckedTargets(config), "testcard-targets")


class RunningMock(Protocol):
    """A mock on this machine: where it is, the key it takes, what it was asked, and what it is to do from now on.

    It is a `testcard.mocks.running.RunningMock`, which says more of each.
    """

    @property
    def base_url(self) -> str:
        """Where it is."""

    @property
    def api_key(self) -> str:
        """The key it takes."""

    def requests(self, **query: object) -> list[dict[str, Any]]:
        """What was asked, oldest first; `query`: provider, operation, method, status, phase, limit."""

    def counters(self) -> dict[str, Any]:
        """How many requests, billed ones and pictures there were."""

    def conditions(self) -> dict[str, Any]:
        """The conditions in force, the seed of its service times among them."""

    def configure(self, **conditions: Any) -> None:
        """Changes conditions while it runs, such as `latency`, `refuse`, `quota`."""

    def play(self, scenario: Mapping[str, Any]) -> None:
        """Begins a scenario."""

    def reset(self) -> None:
        """Puts back how it began, and forgets requests and counts."""


class MockFactory(Protocol):
    """`testcard_mock("nebul", faults=["image.size"])`: a mock on this machine, with its `base_url` and `api_key`."""

    def __call__(
        self, provider: str, *, faults: list[str] | tuple[str, ...] = (), options: list[str] | tuple[str, ...] = (), **conditions: Any
    ) -> RunningMock:
        """`conditions`: latency, refuse, quota and so on, as keywords; `options`: flags of `testcard mock`, for which it gets a process of its own."""

    def key_of(self, base_url: str) -> str | None:
        """The key of the mock that is there; None where none of this session is."""


class ClientFactory(Protocol):
    """`testcard_client("nebul", base_url=…)`: the reference client; without a URL, of a mock."""

    def __call__(self, provider: str, *, base_url: str | None = None, **settings: Any) -> Client:
        """`settings` are those of `harness.client.Client`."""


class CheckFactory(Protocol):
    """`testcard_check("nebul", base_url=…, rules=("image.*",))`: a whole check, carried out to its end."""

    def __call__(self, provider: str, *, base_url: str | None = None, **options: Any) -> Finished:
        """`options` are those of `harness.check.options.CheckOptions`; what comes back has `outcome`, `verdicts` and `folder`."""


class _Mocks:
    """The mocks of a session: equal calls share one until it ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, RunningMock] = {}

    def __call__(
        self, provider: str, *, faults: list[str] | tuple[str, ...] = (), options: list[str] | tuple[str, ...] = (), **conditions: Any
    ) -> RunningMock:
        asked = repr((provider, [*faults], [*options], sorted(conditions.items(), key=lambda pair: pair[0])))
        if asked not in self._running:
            self._running[asked] = self._started(provider, (*faults,), (*options,), conditions)
        return self._running[asked]

    def _started(self, provider: str, faults: tuple[str, ...], options: tuple[str, ...], conditions: dict[str, Any]) -> RunningMock:
        from testcard.harness.errors import UsageError
        from testcard.harness.extras import require, resolve

        require(("mock",), "a mock on this machine")
        if not options:
            running = resolve("testcard.mocks.running:running_mock")(provider, faults=faults, **conditions)
            mock: RunningMock = self._stack.enter_context(running)
            return mock
        from testcard.harness.targets import embedded_mocks, mock_name
        from testcard.specs.loader import load_provider

        if conditions:
            raise UsageError("conditions are keywords or flags, not both", hint="leave out options, or write the conditions as flags there")
        loaded = load_provider(provider)
        flags = (*(part for fault in faults for part in ("--fault", fault)), *options)
        mocks = self._stack.enter_context(embedded_mocks([mock_name(loaded)], options=flags))
        started: RunningMock = resolve("testcard.mocks.running:RunningMock")(mocks.base_urls[loaded.id], mocks.api_key)
        return started

    def key_of(self, base_url: str) -> str | None:
        """The key of the mock that is there; None where no mock of this session is: no key of the environment is meant for a mock."""
        return next((one.api_key for one in self._running.values() if one.base_url == base_url), None)


@pytest.fixture(scope="session")
def testcard_mock() -> Iterator[MockFactory]:
    """Starts mocks on this machine: `testcard_mock("nebul", faults=["image.size"]).base_url`. Equal calls share one until the session ends."""
    with ExitStack() as stack:
        yield _Mocks(stack)


@pytest.fixture
def testcard_client(testcard_mock: MockFactory) -> Iterator[ClientFactory]:
    """Opens clients that close with the test: `testcard_client("nebul").generate("a red boat")` asks a mock, `base_url=` somebody else."""
    from testcard.harness.client import Client

    with ExitStack() as stack:

        def opened(provider: str, *, base_url: str | None = None, **settings: Any) -> Client:
            if base_url is None:
                base_url = testcard_mock(provider).base_url
            settings.setdefault("api_key", testcard_mock.key_of(base_url))
            return stack.enter_context(Client(provider, base_url=base_url, **settings))

        yield opened


@pytest.fixture
def testcard_check(testcard_mock: MockFactory, tmp_path: Path) -> CheckFactory:
    """Carries out checks: `assert testcard_check("nebul", base_url=url).outcome == "pass"`. Without `base_url`, of a mock."""
    from testcard.harness.api import CheckOptions, check

    def carried_out(provider: str, *, base_url: str | None = None, **options: Any) -> Finished:
        options.setdefault("out", Path(mkdtemp(prefix="testcard-", dir=tmp_path)))
        options.setdefault("signals", False)
        with pytest.MonkeyPatch.context() as patch:
            key = testcard_mock.key_of(base_url) if base_url is not None else None
            if key is not None:
                patch.setenv("TESTCARD_API_KEY", key)
            with check(CheckOptions(provider=provider, base_url=base_url, **options)) as run:
                return run.finish()

    return carried_out
