"""A user's program over the client is wholly typed: pyright finds nothing in it, in strict mode.

Needs `pyright` on the PATH, or its path in TESTCARD_PYRIGHT (`npm install pyright`); without it this file is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYRIGHT = os.environ.get("TESTCARD_PYRIGHT") or shutil.which("pyright")
PROGRAM = """
from pathlib import Path

from testcard.harness.api import (
    AsyncClient,
    BatchItem,
    Client,
    ClientError,
    ClientEvent,
    Mask,
    RateLimited,
    Retry,
    SpendingGuard,
    run_batch,
)
from testcard.mocks.running import running_mock


def hook(event: ClientEvent) -> None:
    print(event.kind, event.seconds)


def draw(client: Client) -> list[bytes]:
    found: list[bytes] = []
    try:
        result = client.generate("x", size=(256, 256), n=2, seed=7, delivery="base64")
        found += [picture.data for picture in result.pictures]
        cost: float | None = result.cost_usd
        print(cost, result.timings.total_s, result.pictures[0].image().size)
        for preview in client.generate("x", stream=True):
            print(preview.finished, len(preview.data))
        with client.describe(b"", stream=True) as words:
            text: str = "".join(words)
            print(text, words.finish().usage)
        client.edit([Path("a.png"), b""], "x", mask=Mask("m.png", edits="white"))
        task = client.submit("x", idempotency_key=True)
        name: str | None = task.id
        print(name, task.wait(lambda update: print(update.phase)).notes)
    except RateLimited as error:
        wait: float | None = error.retry_after_s
        print(wait, error.exchange.status if error.exchange else None)
    except ClientError as error:
        print(error.hint)
    return found


async def draw_async(client: AsyncClient) -> None:
    result = await client.generate("x")
    print(result.pictures[0].width)
    async for preview in await client.generate("x", stream=True):
        print(preview.index)


with running_mock("nebul", latency="0.1") as mock, Client(
    "nebul", base_url=mock.base_url, retry=Retry(attempts=3), budget=SpendingGuard(max_usd=1.0), hooks=[hook]
) as one:
    draw(one)
    outcomes = run_batch(one, [BatchItem("x", terms={"n": 2})], "folder", on_outcome=lambda outcome: print(outcome.files))
    print([str(outcome.error) for outcome in outcomes], mock.requests()[0]["status"])
"""


@pytest.mark.skipif(PYRIGHT is None, reason="pyright is not here: npm install pyright, and its path in TESTCARD_PYRIGHT")
def test_a_program_over_the_client_is_typed_throughout(tmp_path: Path) -> None:
    """No unknown type, no missing stub, no error."""
    (tmp_path / "program.py").write_text(PROGRAM)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT / ".ns")], "pythonVersion": "3.11", "include": ["program.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == 1
    assert [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in told["generalDiagnostics"]] == []
