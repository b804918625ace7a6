"""Clients that other people wrote: where they are, the mocks that they are run against, and what their programs said."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcard.mocks.running import running_mock

PROGRAMS = Path(__file__).parents[1] / "peers" / "clients"
_PYTHON = "TESTCARD_CLIENTS_PYTHON"
_NODE = "TESTCARD_CLIENTS_NODE"
#: nothing listens on port 9: a request to any host but this one ends there
_OFFLINE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
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

    def version(self) -> str:
        """The version that is here."""
        package = self.package.split()[0]
        if self.in_node:
            return str(json.loads((Path(os.environ[_NODE]) / "node_modules" / package / "package.json").read_text())["version"])
        if self.module == "curl":
            return subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        ask = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
        return subprocess.run([self.command()[0], "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


@functools.cache
def _python(module: str) -> str | None:
    """The first Python that can import it: this one, or the one that is named."""
    for python in (sys.executable, os.environ.get(_PYTHON)):
        if python is not None:
            find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
            if subprocess.run([python, "-c", find], check=False).returncode == 0:
                return python
    return None


CLIENTS = (
    OtherClient("openai (Python)", "with_openai.py", "openai", "openai", ("nebul", "nanogpt", "nvidia-nim-vision")),
    OtherClient("openai (Node)", "with_openai_node.mjs", "openai", "openai", ("nebul", "nanogpt", "nvidia-nim-vision")),
    OtherClient("litellm", "with_litellm.py", "litellm", "litellm", ("nebul", "nanogpt", "nvidia-nim-vision")),
    OtherClient(
        "langchain-nvidia-ai-endpoints",
        "with_langchain.py",
        "langchain-nvidia-ai-endpoints langchain-openai",
        "langchain_nvidia_ai_endpoints",
        ("nvidia-nim-vision",),
    ),
    OtherClient("instructor", "with_instructor.py", "instructor", "instructor", ("nvidia-nim-vision",)),
    OtherClient("huggingface_hub", "with_huggingface_hub.py", "huggingface_hub", "huggingface_hub", ("nvidia-nim-vision",)),
    OtherClient(
        "@huggingface/inference",
        "with_huggingface_inference.mjs",
        "@huggingface/inference",
        "@huggingface/inference",
        ("nvidia-nim-vision",),
    ),
    OtherClient(
        "Vercel AI SDK",
        "with_vercel_ai.mjs",
        "ai @ai-sdk/openai @ai-sdk/openai-compatible",
        "ai",
        ("nebul", "nanogpt", "nvidia-nim-vision"),
    ),
    OtherClient("webuiapi", "with_webuiapi.py", "webuiapi", "webuiapi", ("opengpu-relay",)),
    OtherClient("relaygpu-client", "with_relaygpu.py", "relaygpu-client", "relaygpu", ("opengpu-relay",)),
    OtherClient("curl", "with_curl.py", "curl", "curl", ("nebul", "nanogpt", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay")),
)

#: (client, provider, case) → the demand of the client's own that the document does not make
OUTSIDE_THE_DOCUMENT: Mapping[tuple[str, str, str], str] = {
    (
        "litellm",
        "nebul",
        "image_edit",
    ): "reads usage as OpenAI's own API has it (input_tokens); Nebul documents prompt_tokens and total_tokens",
    ("instructor", "nvidia-nim-vision", "create, structured"): "wants JSON of a schema for an answer, which the document does not promise",
}

#: statuses that every client is refused with → what a mock is told for that, and what its answer says
REFUSED: Mapping[int, tuple[str, str]] = {
    400: ("400", "refused as the mock was told"),
    401: ("401", "refused as the mock was told"),
    402: ("credit", "there is no credit left"),
    403: ("account", "this account is not active"),
    404: ("404", "refused as the mock was told"),
    413: ("413", "refused as the mock was told"),
    422: ("422", "refused as the mock was told"),
    429: ("limit", "too many requests"),
}
#: what mocks of one provider refuse everything with, under PROVIDER:NAME
_REFUSING: Mapping[str, dict[str, Any]] = {
    **{str(status): {"refuse": [name]} for status, (name, _) in REFUSED.items()},
    "500": {"refuse": ["error"]},
    "moderated": {"moderate": ["x", "boat"]},
}

_NO_WORDS = "looks for the words in `error`, where NanoGPT documents the status; the error's `{}` holds them in `message`"
#: (client, provider, operation) → what the client makes of every refusal in place of an error of its own with status and words
THE_CLIENTS_OWN: Mapping[tuple[str, str, str], str] = {
    ("openai (Python)", "nanogpt", "images.generate"): _NO_WORDS.format("response"),
    (
        "openai (Node)",
        "nanogpt",
        "images.generate",
    ): "looks for the words in `error`, where NanoGPT documents the status, and keeps no others",
    (
        "langchain-nvidia-ai-endpoints",
        "nvidia-nim-vision",
        "ChatNVIDIA.invoke",
    ): "raises Python's own Exception; status and words stand in its text",
    (
        "instructor",
        "nvidia-nim-vision",
        "create, structured",
    ): "raises InstructorRetryException for whatever ends its attempts, also where it is to make none; status and words stand in its text",
    ("webuiapi", "opengpu-relay", "txt2img"): "raises Python's RuntimeError, with the status and the body as its two arguments",
}


@contextlib.contextmanager
def mocks(providers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The base URL of each provider's mock, and under PROVIDER:NAME those of mocks that refuse everything in one way."""
    with contextlib.ExitStack() as stack:
        urls = {}
        for provider in providers:
            urls[provider] = stack.enter_context(running_mock(provider)).base_url
            for name, conditions in _REFUSING.items():
                urls[f"{provider}:{name}"] = stack.enter_context(running_mock(provider, **conditions)).base_url
        yield urls


def word(client: OtherClient, case: Mapping[str, Any]) -> str:
    """What a case came to: works, outside the document, or our fault; of an error that the client words itself "the client's own".

    An error works where it is of one of the client's own types, carries the status, and says what the mock said.
    """
    if "status" in case:
        status = case["status"]
        works = case["typed"] and case["carried"] == status and REFUSED[status][1] in case["detail"]
    else:
        works = case["works"]
    if works:
        return "works"
    if "status" not in case:
        return "outside the document" if reason(client, case) is not None else "our fault"
    return "the client's own" if case["raised"] is not None and reason(client, case) is not None else "our fault"


def reason(client: OtherClient, case: Mapping[str, Any]) -> str | None:
    """What it is of the client's own because of which a case cannot work; None where nothing is known."""
    known = THE_CLIENTS_OWN if "status" in case else OUTSIDE_THE_DOCUMENT
    return known.get((client.name, case["provider"], case["operation"]))


def cases(client: OtherClient, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the client's program said of each case."""
    with contextlib.ExitStack() as stack:
        command = client.command()
        if client.in_node:
            # Node looks for packages beside the program.
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for file in PROGRAMS.glob("*.mjs"):
                shutil.copy(file, place)
            (place / "node_modules").symlink_to(Path(os.environ[_NODE]).resolve() / "node_modules")
            command[-1] = str(place / client.program)
        done = subprocess.run(
            [*command, json.dumps(dict(urls))], env={**os.environ, **_OFFLINE}, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
