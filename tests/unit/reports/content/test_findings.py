"""Findings: what shows them is what their rule says, whatever it is called, and commands show it again from where one stands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import (
    CheckedTarget,
    ClauseRef,
    Exchange,
    SeenResponse,
    SentRequest,
    Spend,
    TargetRecord,
    Verdict,
    Verdicts,
)
from testcard.reports.ci.junit import junit_xml
from testcard.reports.content.evidence import gather
from testcard.reports.content.findings import Finding, arranged
from testcard.reports.pages.html import render_html
from testcard.reports.pages.page import compose


def found(tmp_path: Path, synthetic: ModuleType, rule: str, **more: Any) -> Finding:
    """The finding of one broken must that two answers with a picture each are the evidence of."""
    import base64
    import json

    target = TargetRecord(provider="nebul", name="Nebul", base_url="http://127.0.0.1:1", mock=False)
    writer = RunWriter.create(tmp_path / "run", "check", targets=[target], config={}, seed=0)
    for number in (1, 2):
        answer = json.dumps({"data": [{"b64_json": base64.b64encode(synthetic.picture(number, (32, 32))).decode()}]}).encode()
        writer.append(
            Exchange(
                id=f"e{number}",
                operation="createImage",
                probe="p",
                source="probe",
                request=SentRequest(method="POST", url="http://127.0.0.1:1/v1", headers=[], body=writer.body(b"{}")),
                response=SeenResponse(status=200, headers=[("content-type", "application/json")], body=writer.body(answer)),
                sent_s=1.0,
                done_s=1.5,
                images=1,
            )
        )
    verdict = Verdict(
        rule=rule,
        operation="createImage",
        level="must",
        verdict="fail",
        clause=ClauseRef(document="d", heading="h"),
        exchanges=["e1", "e2"],
        **more,
    )
    checked = CheckedTarget(base_url=target.base_url, mock=False)
    writer.write("verdicts", "verdicts.json", Verdicts(provider="nebul", target=checked, outcome="fail", spend=Spend(), verdicts=[verdict]))
    writer.finish("fail", 1)
    (finding,) = arranged(gather([RunReader(writer.folder)])).each
    return finding


@pytest.mark.parametrize(
    ("evidence", "witnesses", "thumbs"), [("exchange", ["e1"], False), ("pair", ["e1", "e2"], False), ("pictures", ["e1", "e2"], True)]
)
def test_what_is_shown_is_what_the_rule_says(
    evidence: str, witnesses: list[str], thumbs: bool, tmp_path: Path, synthetic: ModuleType
) -> None:
    """One exchange, two side by side, or their pictures: recorded with the verdict, not guessed from the rule's name."""
    finding = found(tmp_path, synthetic, "stranger.image-like", area="stranger", evidence=evidence)
    assert [witness.id for witness in finding.witnesses] == witnesses
    assert all(bool(witness.thumbs) is thumbs for witness in finding.witnesses)


@pytest.mark.parametrize(("rule", "thumbs"), [("image.size", True), ("seed.varies", True), ("http.steady", False)])
def test_runs_of_before_show_what_they_did(rule: str, thumbs: bool, tmp_path: Path, synthetic: ModuleType) -> None:
    """Verdicts that do not say it are taken by their area."""
    finding = found(tmp_path, synthetic, rule)
    assert bool(finding.witnesses[0].thumbs) is thumbs


Make = Callable[..., RunReader]
As = Callable[..., Verdict]


def with_a_long_body(run: RunReader) -> RunReader:
    """The run with a request body that the folder keeps in a file."""
    writer = RunWriter(run.folder, run.run)
    (only,) = run.exchanges()
    long = msgspec.structs.replace(only.request, body=writer.body(b"x" * 5000))
    (run.folder / "exchanges.jsonl").write_bytes(msgspec.json.encode(msgspec.structs.replace(only, request=long)) + b"\n")
    return RunReader(run.folder)


def test_commands_of_findings_run_from_the_working_directory(
    check_run: Make, judged_as: As, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run folder and body are named as seen from where the report is made, in the page as in junit.xml; a bare name would lead nowhere."""
    run = with_a_long_body(check_run(judged_as("fail")))
    monkeypatch.chdir(tmp_path)
    evidence = gather([run])
    (finding,) = arranged(evidence).each
    witness = finding.witnesses[0]
    bodies = [re.search(r"@([^\s<]+)", command) for command in (witness.curl, junit_xml(evidence))]
    for body in bodies:
        assert body is not None
        assert Path(body[1]).read_bytes() == b"x" * 5000
        assert not os.path.isabs(body[1])
    assert RunReader(shlex.split(witness.rejudge)[-1]).run.kind == "check"
    assert shlex.split(witness.resend)[-2:] == ["runs/check-1", "e1"]


@pytest.mark.parametrize("layout", ["hops under hops", "hops beside hops"])
def test_a_chain_of_redirects_is_written_out(layout: str, tmp_path: Path, judged_as: As) -> None:
    """Every address with the status it answered, from the first to the picture, however the hops are recorded: as downloads and as polls."""
    target = TargetRecord(provider="nebul", name="Nebul", base_url="http://127.0.0.1:1", mock=False)
    writer = RunWriter.create(tmp_path / "run", "check", targets=[target], seed=0)

    def asked(name: str, path: str, status: int, parent: str | None, location: str = "") -> None:
        writer.append(
            Exchange(
                id=name,
                operation="createImage",
                probe="p",
                source="probe" if parent is None else "fetch" if layout == "hops under hops" else "poll",
                parent=parent,
                request=SentRequest(method="GET", url=f"http://127.0.0.1:1{path}", headers=[], body=writer.body(b"")),
                response=SeenResponse(status=status, headers=[("location", location)] if location else [], body=writer.body(b"x")),
                sent_s=1.0,
                done_s=1.5,
            )
        )

    asked("e1", "/v1/images", 200, None)
    asked("e1.f1", "/a", 302, "e1", "/b?x=1")
    asked("e1.f1.1", "/b?x=1", 307, "e1.f1" if layout == "hops under hops" else "e1", "http://127.0.0.1:1/c")
    asked("e1.f1.2", "/c", 200, "e1.f1.1" if layout == "hops under hops" else "e1")
    asked("e1.f2", "/d", 302, "e1", "http://127.0.0.1:1/d")  # in a circle
    checked = CheckedTarget(base_url=target.base_url, mock=False)
    verdicts = [judged_as("fail", rule="delivery.url-is-image", exchanges=[name]) for name in ("e1.f1", "e1.f1.2", "e1", "e1.f2")]
    writer.write("verdicts", "verdicts.json", Verdicts(provider="nebul", target=checked, outcome="fail", spend=Spend(), verdicts=verdicts))
    writer.finish("fail", 1)
    evidence = gather([RunReader(writer.folder)])
    routes = [finding.witnesses[0].route for finding in arranged(evidence).each]
    whole = "http://127.0.0.1:1/a (302) → http://127.0.0.1:1/b?x=1 (307) → http://127.0.0.1:1/c (200)"
    assert routes == [whole, whole, "", ""]
    assert f"Redirects: {whole}" in render_html(compose(evidence)).replace("&#39;", "'")
