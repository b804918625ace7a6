"""From what a user named to something that can be talked to: provider, base URL, key, prices; embedded mock where no URL is given.

Starts Testcard's own mocks as a process of their own and hands out their base URLs.

A process of its own, so that a load run measures a server and not itself. It ends when this process does: the mock
watches its standard input and leaves when that closes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from testcard.harness.config import Config, PricesSection
from testcard.harness.errors import Exit, TargetUnreachable, TestcardError, UsageError
from testcard.harness.extras import require
from testcard.harness.intake.limits import limits
from testcard.harness.intake.wire_bytes import Meter
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import keep_secret
from testcard.harness.runs.records import TargetRecord
from testcard.harness.wire.addresses import is_loopback as is_loopback
from testcard.specs.loader import BUNDLED, PUBLIC, Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY
from testcard.specs.user_files import content

#: How long mocks that a benchmark starts take to answer: made up, because a server that answers at once says nothing of any provider.
MOCK_LATENCY = "lognormal:0.06,0.3"


@dataclass(frozen=True, slots=True)
class EmbeddedMocks:
    """Running mocks: base URL by provider id, and the key they accept."""

    base_urls: Mapping[str, str]
    api_key: str


def mock_name(provider: Provider) -> str:
    """What `testcard mock` is to call a provider: its id when it comes with Testcard, else its folder."""
    return provider.id if provider.folder.parent in (BUNDLED, PUBLIC) else str(provider.folder)


@contextmanager
def embedded_mocks(providers: Sequence[str], *, options: Sequence[str] = ()) -> Iterator[EmbeddedMocks]:
    """Serves the providers (named as `mock_name` says) on a free port of 127.0.0.1 until the block ends.

    `options` are further flags of `testcard mock`. `UsageError` for what it refuses, such as a provider that has no mock.
    """
    require(("mock",), "a mock on this machine")
    command = [sys.executable, "-m", "testcard.harness.cli", "mock", *providers, "--port", "0", "--json", "--until-stdin-closes", *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    # Read all along: a mock whose talk fills the pipe would stop answering.
    talk: deque[str] = deque(maxlen=20)
    listener = threading.Thread(target=talk.extend, args=(process.stderr,), daemon=True)
    listener.start()
    try:
        line = process.stdout.readline()
        ready = json.loads(line) if line else {}
        if "base_urls" not in ready:
            process.wait()
            listener.join(5)
            raise _refusal(ready.get("error"), [said.strip() for said in talk if said.strip()])
        yield EmbeddedMocks(ready["base_urls"], ready["api_key"])
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join(5)
        process.stdout.close()
        process.stderr.close()


def _refusal(error: Mapping[str, Any] | None, talk: Sequence[str]) -> TestcardError:
    """The error of a mock that did not start: what it says of itself, else the last that it said."""
    said = error["message"] if error is not None else talk[-1] if talk else "it said nothing"
    if error is not None and error["code"] == Exit.USAGE:
        return UsageError(said, hint="name a running target with its base URL instead of an embedded mock")
    return TestcardError(f"the embedded mock did not start: {said}", hint="try it alone: testcard mock")


KEY_ENV = "TESTCARD_API_KEY"
#: A file with a key is no larger.
MOST_KEY_BYTES = 64 * 1024
#: What a gateway answers while the server behind it is not up yet.
_STARTING = (502, 503, 504)
_ASK_AGAIN_S = 0.25
_URL_HINT = "give one such as https://api.example.com or http://127.0.0.1:8080"


@dataclass(frozen=True)
class OpenTarget:
    """A provider at a base URL, with the key (None: send none) and the prices that count. `embedded`: a mock started for it."""

    provider: Provider
    base_url: str
    api_key: str | None
    mock: bool
    pricing: Pricing
    embedded: bool = False

    def record(self, models: Sequence[str] = ()) -> TargetRecord:
        """The target as run.json keeps it (no key)."""
        return TargetRecord(
            provider=self.provider.id,
            name=self.provider.profile.name,
            base_url=self.base_url,
            mock=self.mock,
            models=list(models),
            spec_digest=self.provider.spec_digest,
            profile_digest=self.provider.profile_digest,
            prices=self.pricing.origin,
            embedded=self.embedded,
        )


def named_target(text: str) -> tuple[str, str | None]:
    """What `PROVIDER[=URL]` names: the provider, and its base URL where one is given.

    `UsageError` for `PROVIDER=` with nothing after it. It is what a shell makes of a variable that is not set, and a gate
    that judged the mock on this machine instead would pass.
    """
    provider, equals, url = text.partition("=")
    if equals and not url.strip():
        raise UsageError(f"{text.strip()} names no URL", hint=f"is a variable not set? {provider} alone is the mock on this machine")
    return provider, url.strip() or None


def checked_base_url(base_url: str) -> str:
    """The URL without a final slash; `UsageError` when it is no http(s) URL."""
    base_url = base_url.strip()
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not set("?#") & set(base_url)
        usable = usable and parts.port != 0 and base_url.isprintable() and not set(' "<>\\^`{|}') & set(base_url)
    except ValueError:  # a port out of range, or brackets that hold no IPv6 address
        usable = False
    if not usable:
        # What stands before an @ or behind a ? may be a secret, wherever the mistake is.
        before, at, host = base_url.partition("?")[0].rpartition("@")
        shown = (f"…@{host}" if at else before + host) + ("?…" if "?" in base_url else "")
        raise UsageError(f"{shown!r} is no base URL", hint=_URL_HINT)
    if parts.username is not None or parts.password is not None:
        raise UsageError("the base URL carries a user name or password", hint="give the key in TESTCARD_API_KEY")
    return base_url.rstrip("/")


def read_key(provider: Provider, key_file: Path | None = None, key_env: str | None = None) -> str | None:
    """The key from the file where one is named, else from TESTCARD_API_KEY, else from the named or the profile's variable; None for none.

    Flags win over the environment. `UsageError` for a file that cannot be read or holds no key, and for a key that no header can
    carry; no message shows the key.
    """
    if key_file is not None:
        return _from_file(key_file)
    for name in (KEY_ENV, key_env, provider.profile.auth.key_env):
        if name and (key := os.environ.get(name, "").strip()):
            return sendable_key(key, name)
    return None


def _from_file(key_file: Path) -> str:
    try:
        key = content(key_file, MOST_KEY_BYTES).decode("utf-8-sig").strip()
    except OSError as error:
        raise UsageError(f"--api-key-file {key_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--api-key-file {key_file}: is not a text file") from None
    if not key:
        raise UsageError(f"--api-key-file {key_file}: holds no key", hint=f"write the key into it, or set {KEY_ENV} and leave the flag out")
    return sendable_key(key, f"--api-key-file {key_file}")


def sendable_key(key: str, source: str) -> str:
    """The key, kept secret from now on; `UsageError` for one that no header can carry, which names where it came from and not the key."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"the key in {source} holds characters that no header can carry", hint="it has to be one line of plain characters")
    keep_secret(key)
    return key


def refuse_one_key_for_all(targets: Sequence[tuple[Provider, str]], key_file: Path | None = None) -> None:
    """`UsageError` where one key would be shown to several providers off this machine: those that did not issue it could use it."""
    strangers = {one.id: one.profile.auth.key_env for one, base_url in targets if one.profile.auth.header and not is_loopback(base_url)}
    if len(set(strangers.values())) < 2:  # providers of one house share a key
        return
    for source in (f"--api-key-file {key_file}" if key_file is not None else None, KEY_ENV if os.environ.get(KEY_ENV) else None):
        if source is not None:
            raise UsageError(
                f"{source} would send one key to {' and '.join(strangers)}",
                hint="leave it out, and set each provider's own variable: " + ", ".join(dict.fromkeys(strangers.values())),
            )


def require_live(base_url: str, live: bool, *, bounded: bool = True) -> None:
    """`UsageError` for a target off this machine without --live, or with --live but without a bound on what is spent."""
    if is_loopback(base_url):
        return
    if not live:
        raise UsageError(f"{base_url} is not on this machine", hint="add --live to talk to it; requests there can cost money")
    if not bounded:
        raise UsageError("a live run needs a bound on what it may spend", hint="add --max-cost USD or --max-requests N")


def answers(base_url: str, timeout_s: float = 2.0) -> bool:
    """Whether something is ready at the URL: it answers a keyless GET, and not as a gateway whose server is still starting does."""
    return date_of(base_url, timeout_s) is not None


def date_of(base_url: str, timeout_s: float = 2.0) -> str | None:
    """What the server's clock says (its Date header, "" without one) where something `answers` at the URL; None where nothing does."""
    found = _asked(base_url, urlsplit(base_url).path or "/", timeout_s)
    if found is None or found[0] in _STARTING:
        return None
    return found[1]


#: So much of a body is read where only its begin matters.
_BEGIN_BYTES = 4096


def _asked(base_url: str, path: str, within_s: float) -> tuple[int, str, bytes] | None:
    """Status, Date field ("" without one) and the begin of the body that a GET without a key is answered with; None where no answer came
    in the time.

    That is for all of it: who drips its head, or floods it with interim answers, answers nothing.
    """
    import httpx  # here: whoever only names a target does not wait for it

    from testcard.harness.kept_connections import KeptConnections, direct, metered

    meter, body = Meter(limits(), time.monotonic() + within_s), b""
    try:
        with httpx.Client(mounts=direct(base_url), headers={"accept-encoding": "identity", "connection": "close"}) as http:
            KeptConnections(http)
            url = httpx.URL(base_url).copy_with(raw_path=path.encode("ascii"))
            response = http.send(metered(http.build_request("GET", url), meter, limits()), stream=True)
            try:
                for block in response.iter_raw(_BEGIN_BYTES):
                    body += block
                    if len(body) >= _BEGIN_BYTES:
                        break
            except httpx.HTTPError:
                pass  # what is there by then may do
            finally:
                response.close()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return None
    return response.status_code, response.headers.get("date", "").strip(), body


def wait_until_ready(base_url: str, limit_s: float) -> None:
    """Returns when something `answers` at the URL; `TargetUnreachable` where nothing did within the time."""
    end = time.monotonic() + limit_s
    while not answers(base_url):
        if time.monotonic() >= end:
            raise TargetUnreachable(
                f"nothing was ready at {base_url} within {limit_s:g} s", hint="look at the server's own log, or wait longer with --wait-for"
            )
        time.sleep(_ASK_AGAIN_S)


def is_testcard_mock(base_url: str) -> bool:
    """Whether one of our own mocks serves there, so that a run can never pass for one against the real provider."""
    found = _asked(base_url, "/_testcard/health", 2.0)
    return found is not None and found[0] == 200 and b'"testcard' in found[2][:_BEGIN_BYTES]


@contextmanager
def open_target(
    name: str,
    base_url: str | None,
    *,
    config: Config,
    live: bool = False,
    bounded: bool = True,
    key_file: Path | None = None,
    key_env: str | None = None,
    no_auth: bool = False,
    mock_options: Sequence[str] = (),
) -> Iterator[OpenTarget]:
    """The target that a command's arguments name, for as long as the block runs; starts the embedded mock when there is no URL.

    Raises `UsageError` for an unknown provider, a wrong URL, a missing `--live` or a missing key.
    """
    provider = load_provider(name, config.providers.path)
    section = config.prices.get(provider.id, PricesSection())
    if base_url is not None:
        base_url = checked_base_url(base_url)
        require_live(base_url, live, bounded=bounded)
        keyless = no_auth or provider.profile.auth.header is None
        key = None if keyless else read_key(provider, key_file, key_env)
        if key is None and not keyless:
            if not is_loopback(base_url):
                raise UsageError(
                    f"there is no key for {provider.profile.name}",
                    hint=f"set {KEY_ENV} or {provider.profile.auth.key_env}, or name a file with --api-key-file",
                )
            key = MOCK_API_KEY
        mock = is_loopback(base_url) and is_testcard_mock(base_url)
        yield OpenTarget(provider, base_url, key, mock, Pricing(provider, mock, section))
        return
    with embedded_mocks([mock_name(provider)], options=mock_options) as mocks:
        yield OpenTarget(provider, mocks.base_urls[provider.id], mocks.api_key, True, Pricing(provider, True, section), embedded=True)
