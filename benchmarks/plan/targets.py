"""The targets of a run: which ones, opened with their keys and prices, on embedded mocks where no URL is given, and reachable."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from testcard.benchmarks.plan.job import TargetJob
from testcard.harness.config import Config, PricesSection, TargetSection, providers_of
from testcard.harness.errors import TargetUnreachable
from testcard.harness.pricing import Pricing
from testcard.harness.targets import MOCK_LATENCY, OpenTarget, embedded_mocks, mock_name, named_target, open_target, refuse_one_key_for_all
from testcard.specs.loader import bundled_ids, load_provider

REACH_S = 5.0


def sections_of(names: Sequence[str], raw_sections: Sequence[str], config: Config, live: bool) -> list[TargetSection]:
    """The targets that the flags name, else those of the configuration, else every bundled provider on its mock.

    `raw_sections`: targets as another process of ours hands them over, each a `[[target]]` as JSON, with its own models and `live`.
    """
    if names or raw_sections:
        found = [TargetSection.model_validate_json(section) for section in raw_sections]
        for name in names:
            provider, url = named_target(name)
            found.append(TargetSection(provider=provider, base_url=url, live=live))
        return found
    if config.target:
        providers_of(config)  # what is wrong there is told with its line
        return [target.model_copy(update={"live": live or target.live}) for target in config.target]
    return [TargetSection(provider=name) for name in bundled_ids()]


def are_live(sections: Sequence[TargetSection]) -> bool:
    """Whether one of the targets is said to be live: its requests can cost money."""
    return any(section.live and section.base_url is not None for section in sections)


@contextmanager
def opened_targets(wanted: Sequence[TargetSection], config: Config, bounded: bool, key_file: Path | None) -> Iterator[list[OpenTarget]]:
    """The targets in the order they were named, those without a URL on one embedded mock."""
    providers = [load_provider(entry.provider, config.providers.path) for entry in wanted]  # wrong names are told before a mock starts
    refuse_one_key_for_all(
        [(provider, entry.base_url) for entry, provider in zip(wanted, providers, strict=True) if entry.base_url is not None], key_file
    )
    embedded = {provider.id: mock_name(provider) for entry, provider in zip(wanted, providers, strict=True) if entry.base_url is None}
    with ExitStack() as stack:
        mocks = None
        if embedded:
            mocks = stack.enter_context(embedded_mocks(list(embedded.values()), options=["--latency", MOCK_LATENCY]))
        found = []
        for entry, provider in zip(wanted, providers, strict=True):
            if entry.base_url is not None:
                target = open_target(
                    entry.provider,
                    entry.base_url,
                    config=config,
                    live=entry.live,
                    bounded=bounded,
                    key_file=key_file,
                    key_env=entry.key_env,
                )
                found.append(stack.enter_context(target))
                continue
            assert mocks is not None
            pricing = Pricing(provider, True, config.prices.get(provider.id, PricesSection()))
            found.append(OpenTarget(provider, mocks.base_urls[provider.id], mocks.api_key, True, pricing, embedded=True))
        yield found


def target_job(target: OpenTarget, live: bool, key_env: str | None) -> TargetJob:
    """The target as a load process is handed it, key included."""
    return TargetJob(
        provider=mock_name(target.provider),
        base_url=target.base_url,
        api_key=target.api_key,
        key_env=key_env,
        digests=[target.provider.spec_digest, target.provider.profile_digest],
        illustrative_prices=target.pricing.mock,
        may_leave_machine=live,
        prices=target.pricing.section.model_dump(mode="json"),
    )


def reach(target: OpenTarget) -> None:
    """Connects once, sends nothing; `TargetUnreachable` when nobody listens."""
    parts = urlsplit(target.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=REACH_S).close()
    except OSError as error:
        raise TargetUnreachable(
            f"nothing answers at {target.base_url}: {error.strerror or error}",
            hint=f"is the server running, and the address right? A mock: testcard mock {target.provider.id}",
        ) from None
