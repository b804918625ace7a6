"""What a benchmark keeps of its requests: the columns of samples.parquet, and blocks.jsonl. Times are monotonic seconds since the run's start."""

from __future__ import annotations

from testcard.harness.runs.record import Record


class Block(Record, frozen=True, kw_only=True):
    """One line of a benchmark's blocks.jsonl: one turn of a target at a stage, on one worker, and how the generator itself did.

    `sequence` counts the blocks of a worker from 0; `instead_of` is the sequence of the block that this one was taken again
    for, whose samples are recorded and left out of figures. `dropped` requests were due and never sent; `held` of them because
    the target had asked to wait (Retry-After, with --live). A send lag is the time
    from when a request could have been sent (its deadline, or a free place under an in-flight cap) to when it was.
    `busy_percent`: CPU of the event loop alone, `cpu_percent`: of the whole load process, both while requests were sent.
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
    scheduled: int
    sent: int
    dropped: int
    held: int = 0
    send_lag_p99_s: float | None
    send_lag_max_s: float | None
    latency_p50_s: float | None
    busy_percent: float
    cpu_percent: float
    complete: bool


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
    "first_token_s": "float64",
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
}

#: What can be wrong with the pictures of an answer: none or no bytes, another number, not decodable, another size than asked for,
#: the same picture again (within the answer, or as an answer to another request).
FLAWS = ("empty", "count", "undecodable", "size", "duplicate")

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
