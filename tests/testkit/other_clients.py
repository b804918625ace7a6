"""Clients that other people wrote: where they are, the mocks that they are run against, and what their programs said."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcard.mocks.app import create_app
from testcard.mocks.serving import serving

PROGRAMS = Path(__file__).parents[1] / "peers" / "clients"
_PYTHON = "TESTCARD_CLIENTS_PYTHON"
_NODE = "TESTCARD_CLIENTS_NODE"
#: nothing listens on port 9: a request to any host but this one ends there
_OFFLINE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class OtherClient:
    """One client: its name, the program of `tests/peers/clients` that uses it, the package it is in, and the mocks it is for.

    `module` is what Python imports or Node requires; of a command such as curl the executable.
    """

    name: str
    program: str
    package: str
    module: str
    providers: tuple[str, ...]

    @property
    def in_node(self) -> bool:
        """Whether it runs under Node."""
        return self.program.endswith(".mjs")

    def command(self) -> list[str]:
        """The interpreter with the program."""
        program = str(PROGRAMS / self.program)
        return [shutil.which("node") or "node", program] if self.in_node else [_python(self.module) or sys.executable, program]

    def missing(self) -> str | None:
        """Why it cannot be run here; None where it can."""
        if self.in_node:
            folder = os.environ.get(_NODE)
            if shutil.which("node") is None or folder is None or not (Path(folder) / "node_modules" / self.module).is_dir():
                return f"{self.name} is not here: npm install {self.package}, and the folder that has node_modules in {_NODE}"
            return None
        if self.program == "with_curl.py":
            return None if shutil.which(self.module) else f"{self.module} is not on the PATH"
        if _python(self.module) is None:
            return f"{self.name} is not here: pip install {self.package}, into this environment or that of the Python named in {_PYTHON}"
        return None


@functools.cache
def _python(module: str) -> str | None:
    """The first Python that can import it: this one, or the one that is named."""
    for python in (sys.executable, os.environ.get(_PYTHON)):
        if python is not None:
            find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
            if subprocess.run([python, "-c", find], check=False).returncode == 0:
                return python
    return None


CLIENTS = (OtherClient("relaygpu", "with_relaygpu.py", "relaygpu-client", "relaygpu", ("opengpu-relay",)),)

#: (client, case) → the demand of the client's own that the document does not make
OUTSIDE_THE_DOCUMENT: Mapping[tuple[str, str], str] = {}


@contextlib.contextmanager
def mocks(providers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The base URL of each provider's mock."""
    with contextlib.ExitStack() as stack:
        urls = {provider: stack.enter_context(serving(create_app([provider]))) for provider in providers}
        yield urls


def cases(client: OtherClient, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the client's program said of each case."""
    environment = {**os.environ, **_OFFLINE}
    if client.in_node:
        environment["NODE_PATH"] = str(Path(os.environ[_NODE]) / "node_modules")
    done = subprocess.run(
        [*client.command(), json.dumps(dict(urls))], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
