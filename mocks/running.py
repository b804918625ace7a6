"""A mock for somebody's own tests: served from a thread of their process, reconfigured and asked about while it runs.

with running_mock("nebul", latency="0.05") as mock:
    my_client(mock.base_url, mock.api_key).draw("a red boat")
    assert mock.requests()[-1]["fields"]["prompt"] == "a red boat"
    mock.configure(refuse=["503@0.5"])
"""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcard.mocks.app import create_app, for_pages
from testcard.mocks.conditions import Scenario, conditions_from, read_scenario, scenario_from
from testcard.mocks.replay import Replay
from testcard.mocks.serving import serving, throwaway_certificate
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider
from testcard.specs.profile import MOCK_API_KEY


@dataclass(frozen=True, slots=True)
class RunningMock:
    """One mock: where it is, the key it takes, and with TLS the file of the authority to trust."""

    base_url: str
    api_key: str = MOCK_API_KEY
    ca_file: Path | None = None

    def requests(self, **query: object) -> list[dict[str, Any]]:
        """What was asked, oldest first: at most the newest thousand. `query`: provider, operation, method, status, phase, limit."""
        text = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        return list(self._ask("GET", f"requests?{text}")["requests"])

    def counters(self) -> dict[str, Any]:
        """How many requests, billed ones and pictures there were, in all and by operation and status."""
        return dict(self._ask("GET", "counters"))

    def conditions(self) -> dict[str, Any]:
        """The conditions in force, the seed of its service times among them."""
        return dict(self._ask("GET", "conditions")["conditions"])

    def configure(self, **conditions: Any) -> None:
        """Changes these conditions and leaves the others (see `testcard.mocks.conditions.Conditions`); a quota or balance that is named is full again.

        `UsageError` for what cannot be kept.
        """
        self._ask("PATCH", "conditions", conditions)

    def play(self, scenario: Mapping[str, Any]) -> None:
        """Begins a scenario: `{"phase": [{"name": …, "requests": …, …}, …]}`."""
        self._ask("PUT", "scenario", dict(scenario))

    def reset(self) -> None:
        """Puts back the conditions that it started with, ends a scenario, and forgets requests and counts, also of what is being answered.

        A replay answers from its beginning again.
        """
        self._ask("DELETE", "scenario")
        self._ask("DELETE", "requests")

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        parts = urllib.parse.urlsplit(self.base_url)
        request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/_testcard/{what}", data=data, method=method)
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file is not None else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(request, timeout=10) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = json.loads(error.read() or b"{}").get("error")
            told: dict[str, Any] = said if isinstance(said, dict) else {"message": said or error}
            raise UsageError(str(told.get("message", error)), hint=told.get("hint", "")) from None
        return json.loads(text) if text else None


@contextlib.contextmanager
def running_mock(
    provider: str | Path | Provider | None = None,
    *,
    api_key: str = MOCK_API_KEY,
    variant: str | None = None,
    scenario: Path | str | Mapping[str, Any] | None = None,
    replay: Path | str | None = None,
    tls: bool = False,
    cors: bool = False,
    **conditions: Any,
) -> Iterator[RunningMock]:
    """A mock on a free port of 127.0.0.1 until the block ends: of a provider, bundled or a folder, or of a recorded run.

    `scenario` is a TOML file, or what would stand in one: `{"phase": [{"requests": 3}, {"refuse": "503"}]}`.

    `conditions` are those of `testcard.mocks.conditions.Conditions`, such as `latency`, `faults`, `refuse`, `quota`. `UsageError` for what
    cannot be served.
    """
    if (provider is None) is (replay is None):
        raise UsageError("name a provider or a run to replay", hint='running_mock("nebul"), or running_mock(replay="testcard-runs/…")')
    with contextlib.ExitStack() as stack:
        if replay is not None:
            if conditions or scenario is not None or variant is not None:
                raise UsageError("a replay answers as the run did, and nothing else", hint="leave out conditions, scenario and variant")
            replayed = Replay(Path(replay))
            app: Any = for_pages(replayed) if cors else replayed
        else:
            first = conditions_from(conditions, "running_mock")
            story: Scenario | None = None
            if isinstance(scenario, Mapping):
                story = scenario_from(scenario, "scenario", over=first)
            elif scenario is not None:
                story = read_scenario(Path(scenario), over=first)
            named = provider if isinstance(provider, Provider) else str(provider)
            app = create_app([named], conditions=first, scenario=story, api_key=api_key, variant=variant, cors=cors)
        certificate = stack.enter_context(throwaway_certificate("127.0.0.1")) if tls else None
        url = stack.enter_context(serving(app, certificate=certificate))
        yield RunningMock(url, api_key, certificate.authority if certificate is not None else None)
