"""Other people's judges on our mocks: Schemathesis in all its phases, and Prism as a proxy that holds each answer against the document.

They find gaps of the documents (a refusal whose status is written nowhere, a value that the schema allows and the prose does not), and nothing
else. Prism's path goes into TESTCARD_PRISM. It hands the bytes of files on as text, so that forms with pictures are left to Schemathesis.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.harness.client.terms import task_request
from testcard.harness.wire.encode import encode
from testcard.mocks.running import running_mock
from testcard.specs.loader import bundled_ids, load_provider
from testkit.pictures import gradient

PRISM = os.environ.get("TESTCARD_PRISM") or shutil.which("prism")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
#: what Schemathesis calls the two gaps that documents have
GAPS = {"UndefinedStatusCode", "RejectedPositiveData"}
#: refusals that every HTTP server has, documented or not
REFUSALS = {400, 401, 404, 405, 413, 415, 422}


@pytest.mark.parametrize("name", bundled_ids())
def test_schemathesis_finds_only_gaps_of_the_document(name: str, tmp_path: Path) -> None:
    """No failure of the server, no answer that breaks its schema, nothing taken that should be refused, no key ignored."""
    told = tmp_path / "report.json"
    document = load_provider(name).folder / "openapi.yaml"
    with running_mock(name) as mock:
        keys = ["-H", f"Authorization: Bearer {mock.api_key}", "-H", f"X-API-Key: {mock.api_key}"]
        bounds = ["-n", "3", "--warnings", "off", "--request-timeout", "20", "--generation-deterministic", "--continue-on-failure"]
        command = [str(SCHEMATHESIS), "run", str(document), "--url", mock.base_url, *keys, *bounds, "--report-json-path", str(told)]
        done = subprocess.run([*command, "--no-color"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        served = mock.counters()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(told.read_text())
    beyond = [one for one in report["failures"] if one["type"] not in GAPS]
    assert (beyond, report["errors"]) == ([], []), done.stdout
    refused = {int(status) for status in re.findall(r"- ST103 [^\n]*\n\s+Received: (\d+)", done.stdout)}
    assert refused <= REFUSALS, done.stdout
    assert served["requests"] > 20


@pytest.mark.skipif(PRISM is None, reason="Prism is not here: npm install @stoplight/prism-cli@5.14.2, and its path in TESTCARD_PRISM")
@pytest.mark.parametrize("name", bundled_ids())
def test_prism_s_proxy_finds_nothing_in_what_is_carried_out(server: Callable[..., AbstractContextManager[str]], name: str) -> None:
    """Each operation that takes JSON is carried out through the proxy, tasks and their polls too, and no answer breaks the document."""
    provider = load_provider(name)
    answers: list[httpx.Response] = []
    with running_mock(name) as mock:
        command = [str(PRISM), "proxy", str(provider.folder / "openapi.yaml"), mock.base_url, "-h", "127.0.0.1", "-p", "{port}"]
        with server(command) as url, httpx.Client(trust_env=False, timeout=60) as client:
            for operation, profile in provider.profile.operations.items():
                if provider.operation(operation).request_media_type == "application/json" and profile.tasks:
                    protocol = provider.protocol(operation)
                    for asynchronous in (False, True) if protocol is not None and protocol.flag is not None else (False,):
                        answers.append(_asked(client, provider, operation, url, mock.api_key, asynchronous))
                        if answers[-1].status_code == 202:
                            path = answers[-1].json()["poll_url"]
                            answers.append(client.get(url + path, params={"wait": 5}, headers={"X-API-Key": mock.api_key}))
    assert answers
    assert {one.status_code for one in answers} <= {200, 202}, [one.text[:300] for one in answers]
    found = [violation for one in answers for violation in json.loads(one.headers.get("sl-violations", "[]"))]
    assert found == []


def _asked(client: httpx.Client, provider: Any, operation: str, url: str, key: str, asynchronous: bool) -> httpx.Response:
    """The answer to a documented request of an operation."""
    task = provider.operation_profile(operation).tasks[0]
    pictures = () if task == "generate" else (gradient(256, 256),)
    request = task_request(task, "a red boat", pictures, asynchronous=True if asynchronous else None)
    sent = encode(provider, request, base_url=url, api_key=key, operation=operation)
    return client.request(sent.method, sent.url, headers=dict(sent.headers), content=sent.body)
