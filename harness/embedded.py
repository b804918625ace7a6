"""Starts Testcard's own mocks as a process of their own and hands out their base URLs.

A process of its own, so that a load run measures a server and not itself. It ends when this process does: the mock
watches its standard input and leaves when that closes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from testcard.harness.errors import Exit, TestcardError, UsageError
from testcard.harness.extras import require
from testcard.specs.loader import BUNDLED, PUBLIC, Provider

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
