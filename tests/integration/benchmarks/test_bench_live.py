"""`bench --live`: careful with other people's servers and the user's money. The server stands at this machine's own address."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.targets import is_loopback
from testkit.command_line import typed
from testkit.pictures import in_base64, numbered
from testkit.servers import Request, Response, Server, answering, own_address

#: Status, body, further header fields and seconds for the request of that number (from 0).
Answer = Callable[[int], tuple[int, object, dict[str, str], float]]
#: A machine with other work to do may make the generator late, which leaves a row inconclusive.
LATE = "generator was late"
KEY = "key-of-the-live-tests-5f2b"


def picture(number: int) -> dict[str, object]:
    """An answer with a picture that no other number's equals."""
    return {"created": 1, "data": [{"b64_json": in_base64(numbered(number))}]}


@contextmanager
def service(answer: Answer) -> Iterator[Server]:
    """A live service: how often it was asked, when, and how many requests at once."""

    def respond(request: Request) -> Response:
        status, body, fields, seconds = answer(request.number)
        return Response(body, status, fields, seconds)

    with answering(respond, own_address()) as live:
        yield live


def bench(live: Server, out: Path, *arguments: str, prices: float | None = None) -> subprocess.CompletedProcess[str]:
    config = out.parent / "testcard.toml"
    config.write_text("" if prices is None else f'[prices.nanogpt.models]\n"*" = {{ kind = "per-image", usd_each = {prices} }}\n')
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return typed(
        [
            "bench", "--target", f"nanogpt={live.url}", "--live", "--config", str(config), "--warmup", "0", "--rounds", "1", "--size", "256x256",
            "--out", str(out), *arguments,
        ],
        env={**keep, "TESTCARD_PROGRESS": "none", "TESTCARD_API_KEY": KEY},
    )  # fmt: skip


def samples(out: Path) -> list[str]:
    return list(pq.read_table(out / "samples.parquet").sort_by("scheduled_s")["outcome"].to_pylist())


def always(seconds: float) -> Answer:
    return lambda number: (200, picture(number), {}, seconds)


def test_by_default_one_request_at_a_time_after_a_note_about_the_terms(tmp_path: Path) -> None:
    """The default workload is one user; the note comes before anything is sent, with --quiet too; no key in the run folder."""
    out = tmp_path / "run"
    with service(always(0.1)) as live:
        done = bench(live, out, "--max-requests", "8", "--duration", "5", "--quiet")
    assert (len(live.times), live.most_at_once) == (8, 1), done.stderr
    assert "check that the provider's terms allow load tests" in done.stderr
    assert "plan:" not in done.stderr
    assert samples(out) == ["ok"] * 8
    assert RunReader(out).run.config["workload"]["name"] == "live"
    assert all(KEY.encode() not in path.read_bytes() for path in out.iterdir())


def test_an_open_loop_has_one_in_flight_unless_more_is_asked_for(tmp_path: Path) -> None:
    """--rate 20 against a server of 0.2 s: one at a time, and this is said; with --max-in-flight 3: three."""
    with service(always(0.2)) as live:
        done = bench(live, tmp_path / "one", "--rate", "20", "--duration", "5", "--max-requests", "6")
    assert (len(live.times), live.most_at_once) == (6, 1), done.stderr
    assert "--max-in-flight N allows more" in done.stderr
    with service(always(0.2)) as live:
        done = bench(live, tmp_path / "three", "--rate", "40", "--duration", "5", "--max-requests", "12", "--max-in-flight", "3")
    assert (len(live.times), live.most_at_once) == (12, 3), done.stderr
    assert "--max-in-flight N allows more" not in done.stderr


def test_a_live_run_without_a_bound_or_without_live_sends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2: off this machine --live is needed, and with it --max-cost or --max-requests."""
    with service(always(0.0)) as live:
        if is_loopback(live.url):
            pytest.skip("this machine has no address but 127.0.0.1")
        assert run(["bench", "--target", f"nanogpt={live.url}", "--out", str(tmp_path / "a")]) == 2
        assert "--live" in capsys.readouterr().err
        assert run(["bench", "--target", f"nanogpt={live.url}", "--live", "--out", str(tmp_path / "b")]) == 2
        assert "--max-cost" in capsys.readouterr().err
    assert live.times == []


@pytest.mark.parametrize(
    ("load", "budget", "served"),
    [
        (("--users", "40"), ("--max-requests", "25"), 25),
        (("--rate", "400", "--max-in-flight", "200"), ("--max-requests", "25"), 25),
        (("--users", "40"), ("--max-cost", "0.1"), 20),
        (("--rate", "400", "--max-in-flight", "200"), ("--max-cost", "0.099"), 19),
    ],
)
def test_never_one_request_more_than_the_budget(tmp_path: Path, load: tuple[str, ...], budget: tuple[str, ...], served: int) -> None:
    """At any concurrency: worst cases ($0.005 each) are reserved before sending; the limit is reached and not passed; there the plan ends, and the run is finished."""
    with service(always(0.3)) as live:
        done = bench(live, tmp_path / "run", *load, *budget, "--duration", "5", prices=0.005)
    assert len(live.times) == served == len(samples(tmp_path / "run")), done.stderr
    assert samples(tmp_path / "run") == ["ok"] * len(live.times), done.stderr
    assert done.returncode == (5 if LATE in done.stderr else 0), done.stderr
    assert "if all goes well" in done.stderr


def test_two_processes_together_keep_to_the_budget(tmp_path: Path) -> None:
    """Dollars leased to two workers: not one request more than twenty; a lease may keep back what is left over at its end."""
    with service(always(0.3)) as live:
        done = bench(live, tmp_path / "run", "--users", "40", "--processes", "2", "--max-cost", "0.1", "--duration", "5", prices=0.005)
    assert 18 <= len(live.times) == len(samples(tmp_path / "run")) <= 20, done.stderr
    assert samples(tmp_path / "run") == ["ok"] * len(live.times), done.stderr
    assert done.returncode == (5 if LATE in done.stderr else 0), done.stderr


@pytest.mark.parametrize("stated", [0, -1, 10**400])
def test_no_stated_cost_makes_the_budget_larger(tmp_path: Path, stated: float | None) -> None:
    """The price is $0.005 a picture, and answers claim less, nothing or what no amount can be: twenty pictures for $0.1, not one more."""
    with service(lambda number: (200, {**picture(number), "cost": stated}, {}, 0.02)) as live:
        done = bench(live, tmp_path / "run", "--users", "30", "--max-cost", "0.1", "--duration", "2", prices=0.005)
    assert len(live.times) == 20, done.stderr
    assert samples(tmp_path / "run") == ["ok"] * 20
    assert done.returncode == (5 if LATE in done.stderr else 0), done.stderr


def test_a_stated_cost_above_the_price_ends_a_run_earlier(tmp_path: Path) -> None:
    """A target that charges $0.02 where the price says $0.005 is believed: one at a time, five requests for $0.1."""
    with service(lambda number: (200, {**picture(number), "cost": 0.02}, {}, 0.02)) as live:
        done = bench(live, tmp_path / "run", "--users", "1", "--max-cost", "0.1", "--duration", "2", prices=0.005)
    assert len(live.times) == 5, done.stderr
    assert done.returncode == 5, done.stderr  # five cannot show that fewer than 20 % fail
    assert "answers cost $0.02 on average, more than the prices say, so $0.1 paid for 5 requests instead of 20" in done.stderr


def test_a_budget_is_used_up_where_answers_cost_less_than_reserved(tmp_path: Path) -> None:
    """Every other request is refused and costs nothing: thirty users wait for what is on its way instead of stopping at twenty."""
    with service(lambda number: (200, picture(number), {}, 0.1) if number % 2 else (400, {"error": "no"}, {}, 0.1)) as live:
        done = bench(live, tmp_path / "run", "--users", "30", "--max-cost", "0.1", "--duration", "9", prices=0.005)
    assert samples(tmp_path / "run").count("ok") == 20, done.stderr
    assert len(live.times) > 30, done.stderr
    assert "more than the prices say" not in done.stderr
    assert done.returncode == (5 if LATE in done.stderr else 1), done.stderr  # about half of them are refused, and 20 % may be
    assert LATE in done.stderr or "error_rate<20% failed" in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (402, {"error": {"message": "no balance"}}, "answered 402: the account has no credit left"),
        (403, {"error": {"message": "your monthly quota is used up"}}, "answered 403: the account may not go on"),
    ],
)
def test_a_run_stops_when_the_account_may_not_go_on(tmp_path: Path, status: int, body: object, reason: str) -> None:
    """From the fifth request on: that one is the last, exit 5 with the reason, the four before it are kept, and what to do is said."""
    out = tmp_path / "run"
    with service(lambda number: (200, picture(number), {}, 0.02) if number < 4 else (status, body, {}, 0.02)) as live:
        done = bench(live, out, "--max-requests", "100", "--duration", "20")
    assert done.returncode == 5, done.stderr
    assert reason in done.stderr
    assert "look at the account" in done.stderr
    assert len(live.times) == 5
    assert samples(out)[:4] == ["ok"] * 4
    assert len(samples(out)) == 5
    assert (RunReader(out).run.outcome, reason in (RunReader(out).run.reason or "")) == ("inconclusive", True)


def test_a_403_on_one_prompt_belongs_to_that_request(tmp_path: Path) -> None:
    """A refusal of content does not stop the run."""
    refusal = {"error": {"message": "this prompt is not allowed"}}
    with service(lambda number: (403, refusal, {}, 0.02) if number == 3 else (200, picture(number), {}, 0.02)) as live:
        bench(live, tmp_path / "run", "--max-requests", "10", "--duration", "5")
    assert len(live.times) == 10
    assert samples(tmp_path / "run").count("ok") == 9


@pytest.mark.parametrize("load", [(), ("--rate", "5"), ("--rate", "10", "--max-in-flight", "3", "--processes", "2")])
def test_nothing_is_sent_before_the_time_that_a_429_asks_for(tmp_path: Path, load: tuple[str, ...]) -> None:
    """Retry-After: 1 on the third request: the next one comes no earlier, from no process, whatever is due; then the run goes on."""
    with service(
        lambda n: (429, {"error": {"message": "slow down"}}, {"Retry-After": "1"}, 0.0) if n == 2 else (200, picture(n), {}, 0.05)
    ) as live:
        done = bench(live, tmp_path / "run", *load, "--max-requests", "30", "--duration", "3")
    assert len(live.times) > 5, done.stderr
    # By our own clock: on a busy machine the answer is heard some time after it was sent.
    rows = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    (refused,) = (row for row in rows if row["outcome"] == "rate-limited")
    gaps = [(row["worker"] == refused["worker"], row["sent_s"] - refused["done_s"]) for row in rows if row["sent_s"] > refused["done_s"]]
    assert min(gap for same, gap in gaps if same) >= 0.95
    # The other process hears of it from the first, which takes a moment: of its five in that second at most some are sent.
    assert sum(gap < 0.95 for same, gap in gaps if not same) <= 3


def test_refusals_that_are_all_alike_end_the_run_before_the_money_is_gone(tmp_path: Path) -> None:
    """A model that nobody serves, refused in the same words but for a number: a few of forty are sent, and the words are told. Exit 5."""
    out = tmp_path / "run"
    with service(lambda number: (404, {"error": {"message": f"no model nosuch (request {number}); ask {KEY}"}}, {}, 0.01)) as live:
        done = bench(live, out, "--model", "nosuch", "--max-requests", "40", "--duration", "5", "--quiet")
    assert done.returncode == 5, done.stderr
    assert 3 <= len(live.times) <= 5
    assert "first refused of nanogpt createImage: status 404, no model nosuch (request 0)" in done.stderr
    assert "answered 404 to 3 requests in a row: no model nosuch" in done.stderr
    assert "name a model that the target serves with --model" in done.stderr
    assert KEY not in done.stderr + done.stdout + (out / "run.json").read_text()
