"""What a person reads: the table, the findings with a command that runs, nothing that a stranger's bytes could do to a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.cli.check import text as present
from testcard.harness.runs.records import Body, CheckedTarget, ClauseRef, Exchange, SentRequest, SpecGap, Spend, Verdict, Verdicts
from testcard.harness.text.words import GLYPHS


def exchange(body: Body) -> Exchange:
    request = SentRequest(method="POST", url="http://t/v1/x", headers=[("authorization", "Bearer $TESTCARD_API_KEY")], body=body)
    return Exchange(id="e1", operation="o", probe="p", source="probe", request=request, sent_s=0, done_s=1)


def verdict(word: str, detail: str = "seen", rule: str = "image.size") -> Verdict:
    return Verdict(
        rule=rule,
        operation="createImage",
        level="must",
        verdict=word,  # type: ignore[arg-type]
        detail=detail,
        clause=ClauseRef(document="doc.txt", heading="Size"),
        exchanges=["e1"],
        title="A picture has the size.",
    )


def judged_as(*verdicts: Verdict, gaps: Sequence[SpecGap] = (), spend: Spend | None = None, outcome: str = "fail") -> Verdicts:
    return Verdicts(
        provider="nebul",
        target=CheckedTarget(base_url="http://t", mock=True),
        outcome=outcome,  # type: ignore[arg-type]
        spend=spend or Spend(),
        verdicts=list(verdicts),
        spec_gaps=list(gaps),
    )


def test_findings_say_promise_and_sight() -> None:
    """A finding names rule, clause, what was seen, the exchange and a command; passes are not repeated."""
    judged = judged_as(verdict("fail", "512x512 was asked for"), verdict("pass"))
    lines = list(present.findings(judged, {"e1": exchange(Body(size=2, text="{}"))}))
    assert "✗ image.size · createImage · must" in lines
    assert "            doc.txt, “Size”" in lines
    assert "  seen      512x512 was asked for" in lines
    assert any(line.startswith("  again     curl") for line in lines)
    assert sum("image.size" in line for line in lines) == 1


def test_a_strangers_bytes_stay_text() -> None:
    """Escape sequences and newlines from a server's message reach no terminal, and half surrogates do not stop the printing."""
    judged = judged_as(
        verdict("fail", "\x1b[31mred\x1b[0m\nsecond line\x07\ud800"), gaps=[SpecGap(operation="o", detail="\x1b]0;title\x07")]
    )
    text = "\n".join([*present.table(judged), *present.findings(judged, {}), *present.gaps(judged)])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "second line" in text
    assert text.encode()


def test_what_was_not_run_for_one_reason_is_one_line() -> None:
    """A check that was stopped early shows what it knows, not a table of what it does not; a few of them keep their lines."""
    names = [f"image.promise-{number}" for number in range(30)]
    unsent = [verdict("not-run", "interrupted before it was sent", name) for name in names]
    lines = list(present.table(judged_as(verdict("pass"), *unsent)))
    assert [line.split()[1:4] for line in lines[1:]] == [["pass", "image.size", "must"], ["not-run", "30", "rules"]]
    assert lines[-1].endswith("interrupted before it was sent")
    assert sum("not-run" in line for line in present.table(judged_as(*unsent[: present.FOLDED - 1]))) == present.FOLDED - 1
    reasons = [verdict("not-run", f"reason {number}", name) for number, name in enumerate(names)]
    assert len(list(present.table(judged_as(*reasons)))) == 31


def test_the_summary_counts_and_prices() -> None:
    """One line: outcome, verdicts by word, spend; no price is said as such and illustrative prices are named."""
    three = [verdict("pass"), verdict("fail"), verdict("pass")]
    unpriced = judged_as(*three, spend=Spend(requests=5, billed_requests=3, images=4, cost_usd=None))
    assert present.summary(unpriced, "none") == "FAIL: 2 pass, 1 fail; 5 requests, 3 billed, 4 images, no price"
    assert "$0.04 (illustrative prices)" in present.summary(judged_as(*three, spend=Spend(cost_usd=0.04)), "illustrative")


def test_every_word_has_a_glyph() -> None:
    """No verdict is printed without its mark."""
    words = ("pass", "fail", "deviates", "info", "unsupported", "unproven", "not-run", "waived")
    assert len({GLYPHS[word] for word in words}) == len(words)


def test_gaps_of_a_document_are_grouped() -> None:
    """One line for each status, with the operations that have it in common; a single one keeps what was answered so."""
    gaps = [SpecGap(operation=name, detail="status 405", status=405, answered="GET in place of POST") for name in "abcdef"]
    gaps.append(SpecGap(operation="a", detail="status 401", status=401, answered="no key"))
    assert list(present.gaps(judged_as(gaps=gaps)))[2:] == [
        "  status 405 is not documented: a, b, c, d and 2 more; answered GET in place of POST",
        "  status 401 is not documented: a; answered no key",
    ]
