"""Starts Testcard's own mocks as a process of their own and hands out their base URLs.

A process of its own, so that a load run measures a server and not itself. It ends when this process does: the mock
watches its standard input and leaves when that closes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from testcard.harness.errors import TestcardError

DEFAULT_KEY = "testcard"


@dataclass(frozen=True, slots=True)
class EmbeddedMocks:
    """Running mocks: base URL by provider id, and the key they accept."""

    base_urls: Mapping[str, str]
    api_key: str


@contextmanager
def embedded_mocks(providers: Sequence[str], *, options: Sequence[str] = ()) -> Iterator[EmbeddedMocks]:
    """Serves the providers on a free port of 127.0.0.1 until the block ends; `options` are further flags of `testcard mock`."""
    command = [sys.executable, "-m", "testcard.harness.cli", "mock", *providers, "--port", "0", "--json", "--until-stdin-closes", *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        if not line:
            talk = process.stderr.read().strip().splitlines()
            raise TestcardError(
                "the embedded mock did not start: " + (talk[-1] if talk else "it said nothing"), hint="try it alone: testcard mock"
            )
        ready = json.loads(line)
        yield EmbeddedMocks(ready["base_urls"], ready["api_key"])
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
