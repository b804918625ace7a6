"""What a run folder holds, record by record: run.json, exchanges.jsonl, verdicts.json, summary.json, samples.parquet and what is beside them.

The published JSON Schemas in `schemas/` are generated from these. Times ending in `_s` are monotonic seconds since the run's start;
`started` and `ended` are UTC in ISO 8601. A field that is added later has a default, so that folders written before still read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from testcard.harness.stops import Stop

#: A number of things: a file that says there are fewer than none was changed by hand, and no figure can be made of it.
Count = Annotated[int, msgspec.Meta(ge=0)]
#: So much of something, a second or in all; likewise.
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, frozen=True, omit_defaults=False, kw_only=True):
    """A frozen record that writes every field, so that a reader never has to guess a default."""


# ── run.json: the index of every run ──────────────────────────────────────────────────────────────────────────────────

Outcome = Literal["pass", "fail", "inconclusive", "error", "interrupted", "running"]


class TargetRecord(Record, frozen=True, kw_only=True):
    """What a run talked to. Digests are sha256 of openapi.yaml and profile.yaml. `embedded`: a mock that the run itself started."""

    provider: str
    name: str
    base_url: str
    mock: bool
    models: list[str] = []
    spec_digest: str = ""
    profile_digest: str = ""
    prices: Literal["illustrative", "list", "config", "none"] = "none"
    embedded: bool = False


class Environment(Record, frozen=True, kw_only=True):
    """Where a run happened: enough to tell whether two runs may be compared."""

    python: str
    platform: str
    cpu_count: int
    packages: dict[str, str] = {}


class Run(Record, frozen=True, kw_only=True):
    """run.json: the index of a run folder. `files` maps each kind of file to its path, relative to the folder.

    `reason` says in a sentence why the run is no pass; `stops` hold in words and numbers why nothing more was sent. None of them:
    everything planned was, or an earlier version wrote the run.
    """

    schema: Literal["testcard.run/1"] = "testcard.run/1"
    kind: Literal["check", "bench", "report", "evaluate", "selftest"]
    tool_version: str
    ruleset_version: str
    started: str
    ended: str | None = None
    outcome: Outcome = "running"
    exit_code: int | None = None
    reason: str | None = None
    stops: list[Stop] = []
    seed: int | None = None
    region: str | None = None
    targets: list[TargetRecord] = []
    config: dict[str, Any] = {}
    environment: Environment
    files: dict[str, str] = {}
    children: list[str] = []


# ── exchanges.jsonl: what a check sent and saw ────────────────────────────────────────────────────────────────────────


class Body(Record, frozen=True, kw_only=True):
    """A message body: `text` when it is short UTF-8, `base64` when it is short and not, else `sha256` names a file in bodies/."""

    size: Count
    text: str | None = None
    base64: str | None = None
    sha256: str | None = None


class SentRequest(Record, frozen=True, kw_only=True):
    """A request as it left, with the key replaced by $TESTCARD_API_KEY."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: Body


class SeenResponse(Record, frozen=True, kw_only=True):
    """A response as it arrived. `complete` is False when the declared length or the final chunk never came."""

    status: int
    headers: list[tuple[str, str]]
    body: Body
    complete: bool = True
    key_echoed: bool = False

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def media_type(self) -> str:
        """What the answer says it is, in lower case and without parameters; "" where it does not say."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


class Case(Record, frozen=True, kw_only=True):
    """What a request of a check was meant to show, so that rules can judge it again without the plan.

    `accept`: the documents promise that it is carried out; `may-refuse`: a 4xx is no violation; `refuse`: it breaks the
    contract; `unauthorised`: its key is missing or wrong. `base` names the probe it was made from, `change` says the
    difference in words, `place` is a pointer into the request's schema, `rules` are the rules that asked for it and `level`
    caps the level of what it proves.
    """

    expects: Literal["accept", "may-refuse", "refuse", "unauthorised"]
    base: str | None = None
    change: str = ""
    place: str | None = None
    level: Literal["must", "should", "info"] = "must"
    rules: list[str] = []


class PlacedPicture(Record, frozen=True, kw_only=True):
    """A picture that a response's body holds: `place` is a JSON pointer to the text, "" the body itself; `spelling` is how it stands there.

    `base64`: of its bytes; `data-url`: the same, with its head; `url`: the address it was fetched from, by an exchange whose parent
    this one is; `bytes`: the body is the picture.
    """

    place: str
    spelling: Literal["base64", "data-url", "url", "bytes"]


class Exchange(Record, frozen=True, kw_only=True):
    """One line of exchanges.jsonl: one request with its response or its failure.

    `probe` names what the request was for (stable between runs of one seed, such as `generate/seed-a`), `asked` holds the
    task's terms it asked for, `parent` is the exchange that led to it (a poll, a fetched URL). `pictures` are those that the response
    holds, the first hundred; None in runs of before, which did not say. `failure`: no answer in the full time that a check waits is a
    `timeout`; in less of it, because others had got none, `given-up`, as is what this process sent too late on a connection that had been
    closed; what died on a kept connection is `stale`.
    """

    id: str
    operation: str
    probe: str
    source: Literal["probe", "schema-case", "poll", "fetch"]
    model: str | None = None
    parent: str | None = None
    billed: bool = False
    asked: dict[str, Any] = {}
    case: Case | None = None
    request: SentRequest
    response: SeenResponse | None = None
    failure: Literal["connect", "tls", "timeout", "given-up", "broken", "stale"] | None = None
    failure_detail: str | None = None
    sent_s: float
    first_byte_s: float | None = None
    done_s: float
    images: int = 0
    cost_usd: float | None = None
    pictures: list[PlacedPicture] | None = None


# ── verdicts.json and badge.json: what a check concludes ──────────────────────────────────────────────────────────────

#: What shows a finding: one exchange is the smallest example, two answers are held side by side, or their pictures are looked at.
EvidenceKind = Literal["exchange", "pair", "pictures"]
VerdictWord = Literal["pass", "fail", "deviates", "info", "unsupported", "unproven", "not-run", "waived"]
Level = Literal["must", "should", "info"]
#: From what matters most to what matters least, where one word has to stand for several.
SEVERITY: tuple[VerdictWord, ...] = ("fail", "deviates", "unproven", "not-run", "waived", "info", "pass", "unsupported")
#: From the strongest promise to the weakest, where one level has to stand for several.
LEVELS: tuple[Level, ...] = ("must", "should", "info")
#: Areas of rules whose findings pictures show, in runs whose verdicts do not say what does.
_OF_PICTURES = ("image", "seed", "delivery")


class ClauseRef(Record, frozen=True, kw_only=True):
    """Where the promise is made: the document's id, and the heading in it; what it is called and where it can be read, as far as known.

    `title` "" and `address` None in runs of before 2026-12.
    """

    document: str
    heading: str
    title: str = ""
    address: str | None = None


class Waived(Record, frozen=True, kw_only=True):
    """Why a broken promise does not count: the word that it would have, and the waiver's reason, owner and last day (ISO 8601)."""

    instead_of: Literal["fail", "deviates"]
    reason: str
    owner: str
    expires: str


class Verdict(Record, frozen=True, kw_only=True):
    """One rule judged on one operation. `detail` is what was seen against what was promised; `place` is a pointer into the request,
    the answer or the OpenAPI file, and `line` is where that file says what belongs there, else where the operation stands.

    `waiver` is set where the word is `waived`. `area` is the group of rules that the rule stands in, `evidence` what shows a finding.
    """

    rule: str
    operation: str
    level: Literal["must", "should", "info"]
    verdict: VerdictWord
    detail: str = ""
    clause: ClauseRef
    exchanges: list[str] = []
    place: str | None = None
    line: int | None = None
    title: str = ""
    waiver: Waived | None = None
    area: str = ""
    evidence: EvidenceKind | None = None

    def __post_init__(self) -> None:
        """Fills in what runs of before did not say: then as now the first word of a rule's id named its area."""
        if not self.area:
            msgspec.structs.force_setattr(self, "area", self.rule.partition(".")[0])
        if self.evidence is None:
            msgspec.structs.force_setattr(self, "evidence", "pictures" if self.area in _OF_PICTURES else "exchange")


class WaiverNote(Record, frozen=True, kw_only=True):
    """What became of a waiver in a run, with the rules and operations that it covers (expired: would cover).

    `used`: it covers a finding. `expired`: its last day is over; what it covers counts, and the run fails. `unused`: nothing
    that it names was decided. `unexpected-pass`: what it names is kept. `detail` says it in a sentence.
    """

    rule: str
    operation: str | None
    reason: str
    owner: str
    expires: str
    state: Literal["used", "expired", "unused", "unexpected-pass"]
    findings: list[tuple[str, str]] = []
    detail: str = ""


class RuleFailure(Record, frozen=True, kw_only=True):
    """A rule that raised while it judged: a mistake of Testcard's own, never a verdict on the target.

    `exchanges`: those that it raised on, as far as it could be narrowed down to them; the rest was judged without them. `rule` is empty where
    an answer could not even be read for the rules.
    """

    rule: str
    operation: str
    message: str
    exchanges: list[str] = []

    @property
    def what(self) -> str:
        """What raised, for a sentence."""
        return f"rule {self.rule}" if self.rule else "reading an answer"


class SpecGap(Record, frozen=True, kw_only=True):
    """Something the provider's document leaves out (an undocumented 401, say); never the server's fault.

    `line`: of the OpenAPI file. `status`: the one that is left out, and `answered` what it answered; None in runs of before 2026-12.
    """

    operation: str
    detail: str
    line: int | None = None
    status: int | None = None
    answered: str | None = None


class Spend(Record, frozen=True, kw_only=True):
    """What a run sent and what it cost; `cost_usd` is None when no price is known.

    `sent_again`: requests that died on a kept connection before a byte of an answer, and went out once more. They count twice in `requests`
    and, where they may be billed, in all else. `unanswered`: billed or not, those to which no answer began. `downloads`: of the requests, those
    for pictures behind addresses, redirects included.
    """

    requests: Count = 0
    billed_requests: Count = 0
    images: Count = 0
    cost_usd: float | None = None
    sent_again: Count = 0
    unanswered: Count = 0
    downloads: Count = 0


class CheckedTarget(Record, frozen=True, kw_only=True):
    """The target of verdicts.json."""

    base_url: str
    mock: bool


class Verdicts(Record, frozen=True, kw_only=True):
    """verdicts.json."""

    schema: Literal["testcard.verdicts/1"] = "testcard.verdicts/1"
    provider: str
    target: CheckedTarget
    outcome: Literal["pass", "fail", "inconclusive"]
    spend: Spend
    verdicts: list[Verdict]
    spec_gaps: list[SpecGap] = []
    waivers: list[WaiverNote] = []
    errors: list[RuleFailure] = []


class Badge(Record, frozen=True, kw_only=True):
    """badge.json, in the shape that shields.io's endpoint badges read."""

    schemaVersion: Literal[1] = 1  # noqa: N815 (shields.io's name)
    label: str
    message: str
    color: str


# ── measures: figures of a benchmark's row, each an `Estimate` with its 95 % interval and its n ───────────────────────


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its 95 % interval and the number of samples; `value` None where there are too few for one.

    An end of the interval is None where the samples do not mark it: a percentile whose upper end lies beyond the longest sample, or
    among timeouts, is at least `low`. With neither end no interval is claimed, and the figure proves nothing by itself.
    `quality`, of percentiles: "ok", "wide" (the high end is more than half as much again as the low one) or "lower-bound" (no high
    end); None in runs of before 2026-12 and of figures that are no percentiles. `at_least`: the value is a lower bound itself
    (it lies among timeouts). In runs of before 2026-12 such a figure has no `value` and only `low`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: Count = 0
    quality: Literal["ok", "wide", "lower-bound"] | None = None
    at_least: bool = False


class Spread(Record, frozen=True, kw_only=True):
    """Mean, least and greatest of n values, and their standard deviation (None of one). `at_least`: some of them are timeouts,
    so mean and greatest are lower bounds."""

    mean: float
    min: float
    max: float
    sd: float | None
    n: Count
    at_least: bool = False


class Spell(Record, frozen=True, kw_only=True):
    """Successive requests over a time, more in a row than chance brings: how many, from when to when they were due, the longest."""

    requests: Count
    start_s: float
    end_s: float
    longest_s: float


class Delivery(Record, frozen=True, kw_only=True):
    """Pictures and tokens per second of the time in which answers came in (as `achieved_rps`).

    Delivered: every picture that came, whatever was wrong with it or its answer (megapixels: of those that can be read at all).
    Valid: those of requests that got what they asked for. Tokens: those that answers state to have generated, None without any.
    """

    delivered_images_per_s: Estimate
    valid_images_per_s: Estimate
    delivered_megapixels_per_s: Estimate
    valid_megapixels_per_s: Estimate
    tokens_per_s: Estimate | None = None


class Stream(Record, frozen=True, kw_only=True):
    """Streams of text, or of pictures. Percentile keys: as of latencies.

    `first_token_s`: from the moment of sending to the first piece of text, of pictures to the first preview. `inter_token_s`: a
    request's mean time from one token to the next (from its first to its last piece, over tokens − 1); the percentiles are over
    requests, and there are none of pictures.
    """

    first_token_s: dict[str, Estimate]
    inter_token_s: dict[str, Estimate]
    of: Literal["text", "pictures"] = "text"


class AsyncTasks(Record, frozen=True, kw_only=True):
    """Tasks that are accepted first and polled until done. Percentile keys: as of latencies.

    `queue_s`: from the acceptance to the first poll that says the task no longer waits, so it is exact to one poll interval.
    `generation_s`: from there to the poll that says it is done, downloads left out. `unseen`: tasks that the first poll which did
    not call them waiting called done; how their time is divided is not known, and they are in neither.
    """

    queue_s: dict[str, Estimate]
    generation_s: dict[str, Estimate]
    unseen: Count = 0


class RateLimits(Record, frozen=True, kw_only=True):
    """How a target refuses what is too much (status 429).

    `share`: of all requests. `retry_after_given`: of the 429s. `retry_after_s`: the waits asked for (keys shortest, p50, p95,
    longest). `refused_early`: of requests sent before such a wait was over, the share that got 429 again.
    `accepted_after`: of the first requests sent after such a wait was over, the share that did not get 429. None where no request
    was sent then.
    """

    share: Estimate
    retry_after_given: Estimate
    retry_after_s: dict[str, Estimate]
    refused_early: Estimate | None = None
    accepted_after: Estimate | None = None


class Money(Record, frozen=True, kw_only=True):
    """Where the money of a row went. `wasted_share`: of what was spent, the part for requests that were billed and not good
    (failed, invalid, or later than the SLO allows); `wasted_requests` counts them. A delivered image is every picture that came,
    whatever was wrong with it."""

    spent_usd: float
    wasted_usd: float
    wasted_requests: Count
    wasted_share: Estimate | None = None
    cost_usd_per_megapixel: Estimate | None = None
    cost_usd_per_delivered_image: Estimate | None = None


class Steadiness(Record, frozen=True, kw_only=True):
    """Whether latency stood still after the warm-up. `change`: how much higher it ended than it began, as a share, from the
    first request of the stage to the last; `turn_change`: the same within a turn (a round), None with too few turns.

    drifting: the stage as a whole moves; settling: each turn does (a warm-up that is too short, or a queue that grows);
    unknown: too few answers to tell.
    """

    verdict: Literal["steady", "drifting", "settling", "unknown"]
    change: Estimate
    turn_change: Estimate | None = None
    detail: str = ""


# ── summary.json and saturation.json: what a benchmark found ──────────────────────────────────────────────────────────


class Generator(Record, frozen=True, kw_only=True):
    """How the load generator itself did in a stage.

    `limit`: how it was itself the bottleneck. `late`: it sent late; `busy`: its event loop had no time left; `unsent`: it never
    sent some of what was due. None: it was not, or an earlier version wrote the run (whose row says it in its note).
    """

    send_lag_p99_s: float | None
    cpu_percent: float | None
    limit: Literal["late", "busy", "unsent"] | None = None


class Gate(Record, frozen=True, kw_only=True):
    """One threshold with what was observed.

    `over_share`: of a percentile's objective, the share of requests on the wrong side of the threshold, which decides it.
    `more_requests`: where it is undecided, about how many further requests like these would decide it; None where none would.
    """

    expression: str
    observed: Estimate
    verdict: Literal["pass", "fail", "inconclusive"]
    detail: str = ""
    over_share: Estimate | None = None
    more_requests: Count | None = None


#: Percentiles that a summary row carries, by their keys.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


class SummaryRow(Record, frozen=True, kw_only=True):
    """One provider × model × operation × stage of a benchmark. Percentile keys: p50, p90, p95, p99 (p99.9 may follow).

    `target` is the place (from 0) of its target in run.json's list; None in runs that do not record it. Images and megapixels per
    second are those of requests that got what they asked for. `invalid_pictures` counts the outcome of that name by what was
    wrong (`FLAWS`). `achieved`: `achieved_rps` with its interval. `rounds_s`: seconds in which each round was scheduled. The spreads have mean, least, greatest and standard deviation of the three times. `spells`: requests over
    `spells_over_s` (the latency limit of the objectives, else four times p50) that came in a row, as one event brings them.
    `asked`: what its requests say beside the prompt (task, size, n, quality, steps, delivery), and `poll_s`, the seconds to the first poll of a task; what is not said is left out.
    """

    provider: str
    model: str | None
    operation: str
    stage: str
    offered_rps: Amount | None
    achieved_rps: Amount
    requests: Count
    ok: Count
    errors: dict[str, Count]
    latency_s: dict[str, Estimate]
    service_s: dict[str, Estimate]
    ttfb_s: dict[str, Estimate]
    images_per_s: Amount
    megapixels_per_s: Amount
    goodput_rps: Amount
    cost_usd_per_image: Estimate | None
    generator: Generator
    outcome: Literal["pass", "fail", "inconclusive"]
    duration_s: Amount = 0.0
    rounds: Count = 1
    users: Count | None = None
    error_rate: Estimate | None = None
    wasted_usd: float | None = None
    cost_usd_per_1000_good_images: Estimate | None = None
    goodput: Estimate | None = None
    gates: list[Gate] = []
    note: str | None = None
    target: int | None = None
    invalid_pictures: dict[str, Count] = {}
    delivery: Delivery | None = None
    stream: Stream | None = None
    tasks: AsyncTasks | None = None
    rate_limits: RateLimits | None = None
    money: Money | None = None
    steadiness: Steadiness | None = None
    achieved: Estimate | None = None
    rounds_s: list[float] = []
    latency_spread: Spread | None = None
    service_spread: Spread | None = None
    ttfb_spread: Spread | None = None
    spells: list[Spell] = []
    spells_over_s: float | None = None
    asked: dict[str, str] = {}


class Summary(Record, frozen=True, kw_only=True):
    """summary.json."""

    schema: Literal["testcard.summary/1"] = "testcard.summary/1"
    rows: list[SummaryRow]
    workload: dict[str, Any] = {}
    slo: list[str] = []


class SaturationStage(Record, frozen=True, kw_only=True):
    """A stage that a search for saturation tried. `sure`: 95 % intervals decided, else the figures alone."""

    rate_rps: float
    held: bool
    sure: bool
    why: str = ""
    achieved_rps: float | None = None
    requests: Count = 0


class Saturation(Record, frozen=True, kw_only=True):
    """What a search found for one row: the highest rate that held, the lowest that broke, and where between them it surely lies.

    `low_rps` and `high_rps` are the highest rate that surely held and the lowest that surely broke. `target` as in summary.json.
    `stop`: what ended the search before it had its answer.
    """

    provider: str
    model: str | None
    operation: str
    target: int | None
    holds_rps: float | None
    breaks_rps: float | None
    low_rps: float | None
    high_rps: float | None
    broke_first: str | None
    conclusive: bool
    sentence: str
    stages: list[SaturationStage] = []
    stop: Stop | None = None


class Saturations(Record, frozen=True, kw_only=True):
    """saturation.json of a benchmark with --find-saturation."""

    schema: Literal["testcard.saturation/1"] = "testcard.saturation/1"
    results: list[Saturation]
    slo: list[str] = []


# ── samples.parquet and blocks.jsonl: what a benchmark keeps of its requests ──────────────────────────────────────────


class Block(Record, frozen=True, kw_only=True):
    """One line of a benchmark's blocks.jsonl: one turn of a target at a stage, on one worker, and how the generator itself did.

    `sequence` counts the blocks of a worker from 0; `instead_of` is the sequence of the block that this one was taken again
    for, whose samples are recorded and left out of figures. `dropped` requests were due and never sent; `held` of them because
    the target had asked to wait (Retry-After, with --live). `sent_again`: requests that died on a kept connection before a byte of their
    answer and went out once more on a new one; `sent` counts each once. A send lag is the time
    from when a request could have been sent (its deadline, or a free place under an in-flight cap) to when it was.
    `target`: its place in run.json's list, None in runs that do not record it. `busy_percent`: CPU of the event loop alone, `cpu_percent`: of the whole load process, both while requests were sent.
    """

    sequence: int
    instead_of: int | None
    cell: int
    provider: str
    model: str | None
    operation: str
    stage: str
    round: int
    worker: int
    started_s: float
    ended_s: float
    warmup_s: float
    duration_s: float
    offered_rps: float | None
    users: int | None
    scheduled: Count
    sent: Count
    dropped: Count
    held: Count = 0
    sent_again: Count = 0
    send_lag_p99_s: float | None
    send_lag_max_s: float | None
    latency_p50_s: float | None
    busy_percent: float
    cpu_percent: float
    complete: bool
    target: int | None = None


#: Columns of samples.parquet, in order, with their Arrow type names. Times: see the module's docstring.
SAMPLE_COLUMNS: dict[str, str] = {
    "provider": "string",
    "model": "string",
    "operation": "string",
    "round": "int32",
    "stage": "string",
    "scheduled_s": "float64",
    "sent_s": "float64",
    "first_byte_s": "float64",
    "last_byte_s": "float64",
    "done_s": "float64",
    "status": "int32",
    "outcome": "string",
    "bytes": "int64",
    "images": "int32",
    "megapixels": "float64",
    "tokens": "int64",
    "cost_usd": "float64",
    "warmup": "bool",
    "queue_s": "float64",
    "download_s": "float64",
    "first_token_s": "float64",  # of a stream of pictures: the first preview
    "target": "int32",
    "worker": "int32",
    "lag_s": "float64",  # from when the request could have been sent to when it was: the generator's own lateness
    "connect_s": "float64",  # until a connection was there, a new one or a kept one
    "inter_token_s": "float64",  # mean time from one token of a stream to the next
    "retry_after_s": "float64",  # what a 429 asked to wait
    "pictures": "int32",  # that came in the answer, sound or not; `images` are the sound ones
    "flaw": "string",  # what was wrong with an invalid picture: one of `FLAWS`
    "asked": "int64",  # equal numbers: requests of the same bytes, which may rightly be answered with the same picture
    "picture_hashes": "string",  # of each picture its bytes and, where they were decoded, its pixels; by spaces
    "unterminated": "bool",  # a stream of text that came to its finish reason, but not to its [DONE]
    "steps": "int32",  # that were asked for
}

#: What can be wrong with the pictures of an answer: none or no bytes, another number, an address that gives none, not decodable, another size than asked for,
#: the same picture again (within the answer, or as an answer to another request).
FLAWS = ("empty", "count", "dead-address", "undecodable", "size", "duplicate")

#: Every way a benchmarked request can end; `ok` and `slow` delivered what was asked for. `interrupted` was cut off by whoever
#: stopped the run: like a timeout its latency is censored, but it is no failure of the target.
OUTCOMES = (
    "ok",
    "slow",
    "rate-limited",
    "refused",
    "policy",
    "server-error",
    "timeout",
    "connect",
    "tls",
    "broken",
    "invalid-picture",
    "interrupted",
)


#: Kind of file → its record, as the schemas are named.
RECORD_TYPES: dict[str, Any] = {
    "run": Run,
    "exchange": Exchange,
    "verdicts": Verdicts,
    "summary": Summary,
    "badge": Badge,
    "block": Block,
    "saturation": Saturations,
}
