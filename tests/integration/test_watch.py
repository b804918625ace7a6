"""A watch against a mock that breaks a promise: the verdict, what was spent over two processes' worth of looks, and the end of the budget."""

from __future__ import annotations

import json
from pathlib import Path

from testcard.harness.targets import embedded_mocks
from testkit.command_line import typed


def test_looks_add_up_over_starts_and_end_with_the_budget(tmp_path: Path) -> None:
    """Each start is a process of its own as far as the files can tell. Every request that is counted is in a run folder, and none beside."""
    with embedded_mocks(["nvidia-nim-image"], options=["--fault", "schema.response"]) as mocks:
        target = f"nvidia-nim-image={mocks.base_urls['nvidia-nim-image']}"
        arguments = ["watch", target, "--once", "--max-requests-per-day", "30", "--exit-on-change", "--json"]
        first = typed(arguments, cwd=tmp_path)
        again = typed(arguments, cwd=tmp_path)
        last = typed([*arguments, "--no-probe"], cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    looks = [json.loads(line) for line in first.stdout.splitlines()]
    assert [(one["kind"], one["word"]) for one in looks] == [("check", "fail"), ("probe", "fail")]
    assert ["schema.response", "generateImage"] in looks[0]["broken"]
    assert looks[1]["latency_s"] > 0
    assert "first look → fail; broken: " in first.stderr
    assert again.returncode == 0, "the same verdict is no change"
    assert "spent today, before this start" in again.stderr
    assert "today's budget has no room for it" in last.stderr
    folder = tmp_path / "testcard-runs" / "watch"
    recorded = sum(len(path.read_text().splitlines()) for path in folder.glob("*/*/exchanges.jsonl"))
    state = json.loads((folder / "state.json").read_text())["targets"]["nvidia-nim-image"]
    assert state["requests"] == recorded <= 30
    assert state["held_requests"] == 0
