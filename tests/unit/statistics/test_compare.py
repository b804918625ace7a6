"""What may be compared, what is said of it, and when nothing is said."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from testcard.harness.runs.records import (
    CheckedTarget,
    ClauseRef,
    Environment,
    Run,
    Spend,
    TargetRecord,
    Verdict,
    Verdicts,
)
from testcard.harness.statistics import sentences
from testcard.harness.statistics.compare import Change, Comparison, compare
from testcard.harness.statistics.matching import Bench, Side, fingerprint
from testcard.harness.statistics.summary import StageFacts, summarise

WORKLOAD: dict[str, Any] = {
    "task": "generate", "sizes": ["512x512"], "n": 1, "prompts": "benign", "seeds": "fresh", "arrival": "poisson",
    "stage": [{"name": None, "rate_rps": 10.0, "users": None, "duration_s": 80.0}], "rounds": 8,
}  # fmt: skip


def some_bench(
    *,
    factor: float = 1.0,
    rounds: int = 8,
    each: int = 100,
    seed: int = 1,
    providers: tuple[str, ...] = ("nanogpt",),
    model: str = "m",
    mock: bool = True,
    slo: tuple[str, ...] = ("p95<8s",),
    workload: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **columns: Any,
) -> Side:
    """A benchmark with independent log-normal latencies around `factor` seconds; `columns` replace sample columns."""
    generator = np.random.default_rng(seed)
    frames = []
    for place, provider in enumerate(providers):
        number = np.repeat(np.arange(rounds), each)
        start = np.sort(generator.uniform(0, each / 10, rounds * each).reshape(rounds, each), axis=1).ravel() + 1000.0 * number
        done = start + factor * generator.lognormal(0, 0.1, rounds * each)
        frame = {
            "provider": provider, "model": model, "operation": "createImage", "stage": "10/s", "round": number, "scheduled_s": start,
            "sent_s": start, "first_byte_s": done, "done_s": done, "outcome": "ok", "images": 1, "megapixels": 0.25, "cost_usd": 0.01,
            "warmup": False, "target": place,
        }  # fmt: skip
        frames.append(pd.DataFrame({**frame, **columns}))
    samples = pd.concat(frames, ignore_index=True)
    stage = StageFacts(duration_s=rounds * each / 10, **(facts or {}))
    summary = summarise(samples, objectives=list(slo), facts={"10/s": stage}, workload={**WORKLOAD, **(workload or {})})
    record = Run(
        kind="bench",
        tool_version="1.0",
        ruleset_version="2026.11",
        started="2026-11-20T00:00:00.000Z",
        outcome="pass",
        environment=Environment(python="3.12.1", platform="Linux x86_64", cpu_count=2),
        targets=[TargetRecord(provider=name, name=name.title(), base_url=f"http://127.0.0.1/{name}", mock=mock) for name in providers],
    )
    return Side(benches=[Bench(msgspec.structs.replace(record, **(run or {})), summary, samples)])


def of(comparison: Comparison, metric: str) -> Change:
    return next(change for change in comparison.changes if change.metric.name == metric)


def test_slower_is_worse_faster_is_better_and_a_twin_is_noise() -> None:
    """20 % either way is told with its size; another run of the same shows no difference on any metric."""
    base = some_bench()
    slower = compare(some_bench(factor=1.2, seed=2), base)
    assert [(of(slower, name).verdict) for name in ("p50", "p95", "throughput", "error_rate", "cost")] == [
        "worse",
        "worse",
        *["no difference"] * 3,
    ]
    change = of(slower, "p50").change
    assert change is not None
    assert change.low is not None
    assert change.high is not None
    assert change.low <= 1.2 <= change.high
    assert slower.regressions == 2
    assert of(compare(some_bench(factor=0.8, seed=2), base), "p50").verdict == "better"
    twin = compare(some_bench(seed=4), base)
    assert {change.verdict for change in twin.changes} == {"no difference"}
    assert len(twin.changes) == 6


def test_the_margin_is_five_per_cent_on_mocks_and_fifteen_live() -> None:
    """A server 12 % slower is worse against mocks and below the margin live, which the sentence says; or what the user names."""
    mocks = compare(some_bench(factor=1.12, seed=2), some_bench())
    live = compare(some_bench(factor=1.12, seed=2, mock=False), some_bench(mock=False))
    assert (of(mocks, "p50").verdict, of(mocks, "p50").margin) == ("worse", 0.05)
    assert (of(live, "p50").verdict, of(live, "p50").margin) == ("below the margin", 0.15)
    text = sentences.sentence(of(live, "p50"))
    assert re.match(r"p50 latency is slower by 1\d to 1\d %, below the margin of 15 %: ", text)
    strict = compare(some_bench(factor=1.12, seed=2, mock=False), some_bench(mock=False), margin=0.05, metrics=["p50"])
    assert [(change.metric.name, change.verdict) for change in strict.changes] == [("p50", "worse")]
    assert (live.regressions, strict.regressions) == (0, 1)


def test_a_run_against_itself_says_that_it_says_nothing() -> None:
    """The same records and figures on both sides: no verdict is worth anything, and the first sentence says so."""
    side = some_bench()
    found = compare(side, side)
    assert found.itself
    assert sentences.verdict_line(found) == "Both are the same run: it cannot differ from itself, so this says nothing."
    assert not compare(some_bench(seed=2), side).itself
    late = {"saturated": ("late", "the load generator was late: 40 ms")}  # which cannot make a run differ from itself
    doubted, other = some_bench(facts=late), some_bench(seed=2)
    assert {change.verdict for change in compare(doubted, doubted).changes} == {"no difference"}
    assert {change.verdict for change in compare(doubted, other).changes} == {"no decision"}


def test_three_rounds_decide_nothing() -> None:
    """Fewer than 4 rounds on either side: no decision, however large the difference, with the reason; 4 are enough for a large one."""
    found = compare(some_bench(factor=3.0, rounds=3), some_bench())
    assert {change.verdict for change in found.changes} == {"no decision"}
    assert "3 rounds of alike size against 8" in of(found, "p50").reason
    assert of(compare(some_bench(factor=3.0, rounds=4), some_bench()), "p50").verdict == "worse"
    assert found.undecided == 6
    assert found.regressions == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workload": {"sizes": ["1024x1024"]}}, "size: 1024x1024 against 512x512"),
        ({"workload": {"n": 2}}, "n: 2 against 1"),
        ({"model": "other"}, "model: other against m"),
        ({"workload": {"arrival": "constant"}}, "arrival: constant against poisson"),
        ({"workload": {"stage": [{"name": "10/s", "rate_rps": 20.0, "users": None}]}}, "rate: 20 against 10"),
        ({"workload": {"prompts": ["a boat"]}}, "prompts differ"),
        ({"run": {"region": "eu"}}, "region: eu against none"),
        ({"run": {"environment": Environment(python="3.12.1", platform="Darwin arm64", cpu_count=2)}}, "environment: Darwin arm64"),
        (
            {"run": {"environment": Environment(python="3.12.1", platform="Linux x86_64", cpu_count=8)}},
            "environment: 8 CPUs against 2 CPUs",
        ),
        ({"mock": False}, "environment: a real service against a mock"),
        ({"operation": "edit"}, "operation: edit against createImage"),
        ({"stage": "soak"}, "stage: soak against 10/s"),
    ],
)
def test_another_fingerprint_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    """Operation, size, n, model, arrival, region, environment: what was measured under another one is not compared at all."""
    found = compare(some_bench(**changes), some_bench())
    assert found.changes == []
    assert any(reason in phrase for refused in found.refused for phrase in refused.reasons)
    assert reason in sentences.refusal(found.refused[0])
    assert "1 row not comparable" in sentences.verdict_line(found)


def asking(side: Side, **asked: str) -> Side:
    """The side as if its requests had asked for this."""
    (bench,) = side.benches
    rows = [msgspec.structs.replace(row, asked=asked) for row in bench.summary.rows]
    return Side(benches=[Bench(bench.run, msgspec.structs.replace(bench.summary, rows=rows), bench.samples)])


def test_what_was_asked_for_counts_and_not_how_the_workload_put_it() -> None:
    """The same size for all is another one with another target beside it: refused. One that is named and one that was settled on are
    the same where the requests were. Rows of before these were recorded go by the workload."""
    same = {"sizes": ["same"]}
    settled = asking(some_bench(workload=same), task="generate", size="1024×1024")
    other = asking(some_bench(workload=same, seed=2), task="generate", size="512×512")
    found = compare(other, settled)
    assert found.changes == []
    assert found.refused[0].reasons == ["size: 512×512 against 1024×1024"]
    named = asking(some_bench(workload={"sizes": ["1024x1024"]}, seed=2), task="generate", size="1024×1024")
    assert compare(named, settled).refused == []
    assert compare(asking(named, task="generate", size="1024×1024", quality="high"), settled).refused[0].reasons == [
        "quality: high against none"
    ]
    assert compare(some_bench(workload=same), settled).refused == []
    marks = {fingerprint(bench.run, bench.summary, bench.summary.rows[0]) for side in (settled, other, named) for bench in side.benches}
    assert len(marks) == 2


def test_a_stage_by_another_name_is_the_same_load() -> None:
    """What a stage is called does not matter where both workloads state its rate."""
    named = {"stage": [{"name": "soak", "rate_rps": 10.0, "users": None}]}
    found = compare(some_bench(stage="soak", workload=named), some_bench())
    assert found.refused == []
    assert len(found.changes) == 6


def test_other_versions_only_warn() -> None:
    """Tool, rule set, Python, a contract described otherwise and a run that was cut short are said and do not forbid."""
    target = TargetRecord(provider="nanogpt", name="Nanogpt", base_url="http://127.0.0.1/nanogpt", mock=True, spec_digest="ff")
    other = some_bench(run={"tool_version": "2.0", "ruleset_version": "2027.01", "outcome": "interrupted", "targets": [target]})
    found = compare(other, some_bench())
    assert found.refused == []
    said = " ".join(found.warnings)
    for part in ("Testcard 2.0 against 1.0", "rule set 2027.01", "contract of nanogpt", "was interrupted"):
        assert part in said
    assert compare(some_bench(), some_bench()).warnings == []


def test_rows_of_one_side_only_are_named() -> None:
    """A target that came or went is no verdict and no silence."""
    found = compare(some_bench(providers=("nanogpt", "nebul")), some_bench(providers=("nanogpt", "relay")))
    assert len({change.target for change in found.changes}) == 1
    assert found.alone == ["only in the new run: nebul m createImage 10/s", "only in the baseline: relay m createImage 10/s"]


def test_holm_counts_the_rows_of_a_metric() -> None:
    """Twenty targets, none changed, alike but for chance: nothing is called better or worse, and p-values are corrected by row."""
    names = tuple(f"p{number}" for number in range(20))
    found = compare(some_bench(providers=names, each=30, seed=5), some_bench(providers=names, each=30, seed=6))
    p50 = [change for change in found.changes if change.metric.name == "p50"]
    assert len(p50) == 20
    assert {change.verdict for change in p50} == {"no difference"}
    assert min(change.p for change in p50 if change.p is not None) > 0.05


def test_errors_are_compared_in_points() -> None:
    """From none to 6 % failing is worse, with the difference of shares; a fifth of a point more of many requests is below the margin."""
    outcome = np.where(np.random.default_rng(1).random(800) < 0.06, "server-error", "ok")
    found = compare(some_bench(seed=2, outcome=outcome), some_bench())
    errors = of(found, "error_rate")
    assert errors.verdict == "worse"
    assert errors.change is not None
    assert errors.change.value == pytest.approx(float(np.mean(outcome != "ok")))
    assert "points more" in sentences.sentence(errors)
    few = np.where(np.arange(8000) % 500 == 0, "server-error", "ok")
    assert of(compare(some_bench(each=1000, outcome=few), some_bench(each=1000, seed=9)), "error_rate").verdict == "below the margin"


def test_four_errors_by_chance_are_no_regression() -> None:
    """Four failures among 800, one each in four rounds, against none: counting alone explains it."""
    outcome = np.full(800, "ok", dtype=object)
    outcome[[10, 110, 210, 310]] = "server-error"
    assert of(compare(some_bench(outcome=outcome), some_bench(seed=2)), "error_rate").verdict == "no difference"


def test_no_error_of_sixty_does_not_show_that_there_are_none() -> None:
    """None on both sides in every round has no spread; up to 6 of 100 cannot be excluded all the same, and nothing lies within the margin."""
    errors = of(compare(some_bench(each=8, seed=2), some_bench(each=8)), "error_rate")
    assert errors.verdict == "no difference"
    assert errors.change is not None
    assert errors.change.high == pytest.approx(3.8415 / (64 + 3.8415), rel=1e-3)
    assert not errors.within_margin
    assert sentences.sentence(errors) == (
        "error rate: no difference found: 0 of 64 (≤ 5.7 %) against 0 of 64 (≤ 5.7 %), no change [−5.7 to +5.7]; "
        "up to 5.7 points more cannot be excluded."
    )


def test_a_dearer_picture_is_worse_and_no_price_says_so() -> None:
    """Prices do not scatter: 10 % is told exactly. No price on one side is not comparable, on both sides nothing."""
    dearer = of(compare(some_bench(cost_usd=0.011), some_bench()), "cost")
    assert dearer.verdict == "worse"
    assert dearer.change is not None
    assert (dearer.change.low, dearer.change.high) == (pytest.approx(1.1), pytest.approx(1.1))
    unknown = compare(some_bench(cost_usd=np.nan), some_bench())
    assert of(unknown, "cost").verdict == "not comparable"
    assert "no price is known in the new run" in of(unknown, "cost").reason
    both = compare(some_bench(cost_usd=np.nan), some_bench(cost_usd=np.nan))
    assert "cost" not in {change.metric.name for change in both.changes}


def test_a_server_that_falls_behind_loses_throughput_and_goodput() -> None:
    """The same offered load, half of it served in time: both are worse, whatever the arrivals happened to be."""
    side = some_bench()
    samples = side.benches[0].samples
    inside = samples["scheduled_s"] - 1000.0 * samples["round"]
    samples = samples.assign(done_s=samples["scheduled_s"] + 0.1 + inside)
    summary = summarise(samples, objectives=["p95<5s"], facts={"10/s": StageFacts(duration_s=80.0)}, workload=WORKLOAD)
    found = compare(Side(benches=[Bench(side.benches[0].run, summary, samples)]), some_bench(slo=("p95<5s",)))
    assert of(found, "throughput").verdict == "worse"
    assert of(found, "goodput").verdict == "worse"
    ratio = of(found, "throughput").change
    assert ratio is not None
    assert ratio.value == pytest.approx(0.5, rel=0.05)


def test_nothing_within_the_slo_is_worse_without_a_logarithm() -> None:
    """Goodput falls to zero in every round: worse, a ratio of 0, no error raised; from zero to something there is no ratio."""
    good, none = some_bench(slo=("p95<1.5s",)), some_bench(factor=9.0, slo=("p95<1.5s",))
    assert of(compare(none, good), "goodput").verdict == "worse"
    back = of(compare(good, none), "goodput")
    assert (back.verdict, back.reason) == ("no decision", "the baseline delivered none")


def test_another_slo_is_counted_by_the_new_runs() -> None:
    """Good means the same on both sides: the new run's bound, and a warning that says so."""
    found = compare(some_bench(slo=("p95<20s",), factor=9.0), some_bench(slo=("p95<1s",), factor=9.0))
    assert of(found, "goodput").verdict == "no difference"
    assert any("SLO differs" in warning for warning in found.warnings)


def test_percentiles_among_timeouts_are_not_guessed() -> None:
    """Where a round's p95 lies among the timeouts, p95 has no decision, and p50 still has one."""
    outcome = np.where(np.arange(800) % 10 == 0, "timeout", "ok")
    found = compare(some_bench(outcome=outcome), some_bench())
    assert of(found, "p95").verdict == "no decision"
    assert "in 8 of 8 rounds it lies among the timeouts" in of(found, "p95").reason
    assert of(found, "p50").verdict != "no decision"
    assert of(found, "error_rate").verdict == "worse"


def test_short_rounds_are_compared_and_unequal_ones_are_made_alike() -> None:
    """Rounds of six on both sides tell twice as slow; rounds of three are merged by twos; rounds of 30 against 100 by threes."""
    short = compare(some_bench(each=6, factor=2.0), some_bench(each=6, seed=2))
    assert (of(short, "p50").verdict, of(short, "p95").verdict) == ("worse", "worse")
    assert of(short, "p95").rounds == (8, 8)
    merged = compare(some_bench(each=3, factor=2.0), some_bench(each=6, seed=2))
    assert of(merged, "p95").rounds == (4, 8)
    assert of(merged, "p95").verdict == "worse"
    unequal = compare(some_bench(each=30, rounds=16), some_bench())
    assert of(unequal, "p95").rounds == (6, 8)
    assert of(unequal, "p95").verdict == "no difference"
    assert of(compare(some_bench(each=150), some_bench()), "p95").verdict == "no difference"
    few = compare(some_bench(each=3), some_bench(each=100))
    assert of(few, "p95").verdict == "not comparable"
    assert of(few, "p95").reason == "rounds of about 6 and 100 answers estimate different tails"


def test_what_is_too_wide_to_tell_is_no_finding() -> None:
    """Latencies that scatter wildly: where twice as much cannot be excluded, there is no decision, and the reason says how much."""
    generator = np.random.default_rng(3)

    def wild() -> Side:
        side = some_bench(each=6)
        samples = side.benches[0].samples
        samples = samples.assign(done_s=samples["scheduled_s"] + generator.lognormal(0.0, 1.6, len(samples)))
        summary = summarise(samples, facts={"10/s": StageFacts(duration_s=4.8)}, workload=WORKLOAD)
        return Side(benches=[Bench(side.benches[0].run, summary, samples)])

    found = of(compare(wild(), wild()), "p95")
    assert found.verdict == "no decision"
    assert "times as much cannot be excluded" in found.reason


def test_a_measurement_in_doubt_decides_nothing() -> None:
    """Where the generator was the bottleneck, a slower figure may be the generator's: no decision, with its note."""
    found = compare(some_bench(factor=2.0, facts={"saturated": ("busy", "the load generator was busy 99 % of the time")}), some_bench())
    assert {change.verdict for change in found.changes} == {"no decision"}
    assert "busy 99 %" in of(found, "p50").reason


def test_a_closed_loop_compares_what_was_delivered_per_second() -> None:
    """With users there is no offered rate: throughput follows the latency."""
    facts = {"users": 4}
    stage = {"stage": [{"name": "10/s", "rate_rps": None, "users": 4}]}
    found = compare(some_bench(factor=60.0, facts=facts, workload=stage), some_bench(factor=40.0, facts=facts, workload=stage))
    assert of(found, "throughput").verdict == "worse"


def verdicts(*found: tuple[str, str, str], started: str) -> tuple[Run, Verdicts]:
    run = Run(
        kind="check", tool_version="1.0", ruleset_version="2026.11", started=started, outcome="pass",
        environment=Environment(python="3.12.1", platform="Linux x86_64", cpu_count=2),
    )  # fmt: skip
    listed = [
        Verdict(
            rule=rule,
            operation="createImage",
            level=level,  # type: ignore[arg-type]
            verdict=word,  # type: ignore[arg-type]
            detail="seen",
            clause=ClauseRef(document="d", heading="h"),
        )
        for rule, level, word in found
    ]
    return run, Verdicts(
        provider="nanogpt", target=CheckedTarget(base_url="http://x", mock=True), outcome="pass", spend=Spend(), verdicts=listed
    )


def test_rules_newly_broken_fixed_and_still_broken() -> None:
    """Each with when it was first seen; only a must that was kept before is a regression."""
    old = verdicts(("a", "must", "pass"), ("b", "must", "fail"), ("c", "should", "deviates"), ("d", "must", "unproven"), ("e", "should", "pass"),
                   ("f", "must", "fail"), started="2026-11-01T00:00:00.000Z")  # fmt: skip
    new = verdicts(("a", "must", "fail"), ("b", "must", "pass"), ("c", "should", "deviates"), ("d", "must", "fail"), ("e", "should", "deviates"),
                   ("f", "must", "not-run"), started="2026-11-20T00:00:00.000Z")  # fmt: skip
    found = compare(Side(checks=[new]), Side(checks=[old]))
    assert [(rule.rule, rule.kind, rule.first_seen[:10], rule.regression) for rule in found.rules] == [
        ("a", "newly broken", "2026-11-20", True),
        ("e", "newly broken", "2026-11-20", False),
        ("d", "broken, not judged before", "2026-11-20", False),
        ("c", "still broken", "2026-11-01", False),
        ("f", "no longer shown", "2026-11-01", False),
        ("b", "fixed", "2026-11-01", False),
    ]
    assert found.regressions == 1
    assert "1 must newly broken (a)" in sentences.verdict_line(found)
    assert "newly broken, pass before, first seen 2026-11-20 (seen)" in sentences.rule_sentence(found.rules[0])


def test_sentences_read_like_sentences() -> None:
    """Worse, no difference and no decision, each with its figures, units, interval and margin; no errors is a bound, not a zero."""
    found = compare(some_bench(factor=1.2, seed=2), some_bench())
    text = sentences.sentence(of(found, "p50"))
    assert re.fullmatch(
        r"p50 latency is worse: 1,\d{3} ms against [\d,]+ ms, \d\d % more \[\+\d\d to \+\d\d %\], beyond the margin of 5 %\.", text
    )
    assert sentences.sentence(of(found, "cost")) == (
        "cost of a good image: no difference beyond the margin of 5 %: $0.01 against $0.01, the same in every round."
    )
    assert sentences.place(of(found, "p50")) == "Nanogpt · m · createImage · 10/s"
    assert "error rate: no difference beyond the margin of 0.5 points: 0 of 800 (≤ 0.48 %)" in sentences.sentence(of(found, "error_rate"))
    folded = sentences.unchanged([of(found, name) for name in ("error_rate", "cost")])
    assert (
        folded
        == "no difference beyond the margin (0.5 points, 5 %): error rate 0 of 800 (≤ 0.48 %) [−0.5 to +0.5 points]; cost of a good image."
    )
    few = compare(some_bench(rounds=3), some_bench())
    assert "no decision, because 3 rounds of alike size against 8" in sentences.sentence(of(few, "p50"))
    assert sentences.undecided(few.changes[:3]) == (
        "p50 latency, p95 latency and throughput: no decision, because 3 rounds of alike size against 8; a decision needs 4 on each side."
    )
