"""The pytest plugin: `pytest --testcard nanogpt=URL` runs each rule on each operation as a test item; fixtures give mocks, clients and checks.

Every pytest run of whoever installed Testcard imports this module, so it imports nothing but pytest, and does nothing unless
`--testcard` is given or a fixture is asked for. `items` holds the test items, `shared` the one check behind those of a target.
May import all of the harness.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from testcard.harness.client import Client
    from testcard.harness.embedded import RunningMock
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


class MockFactory(Protocol):
    """`testcard_mock("nebul", faults=["image.size"])`: a mock on this machine, with its `base_url` and `api_key`."""

    def __call__(
        self, provider: str, *, faults: list[str] | tuple[str, ...] = (), options: list[str] | tuple[str, ...] = ()
    ) -> RunningMock:
        """`options`: further flags of `testcard mock`, such as `["--latency", "0.1"]`."""

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
        self._running: dict[tuple[str, tuple[str, ...]], RunningMock] = {}

    def __call__(
        self, provider: str, *, faults: list[str] | tuple[str, ...] = (), options: list[str] | tuple[str, ...] = ()
    ) -> RunningMock:
        from testcard.harness.embedded import RunningMock, embedded_mocks, mock_name
        from testcard.specs.loader import load_provider

        flags = (*(part for fault in faults for part in ("--fault", fault)), *options)
        if (provider, flags) not in self._running:
            loaded = load_provider(provider)
            mocks = self._stack.enter_context(embedded_mocks([mock_name(loaded)], options=flags))
            self._running[provider, flags] = RunningMock(mocks.base_urls[loaded.id], mocks.api_key)
        return self._running[provider, flags]

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
