"""One finished attempt with its judgement as a row of samples."""

from __future__ import annotations

from typing import Any

from testcard.benchmarks.judging.judge import Judgement
from testcard.benchmarks.plan.cells import Attempt


def sample(attempt: Attempt, judgement: Judgement, zero_s: float, worker: int) -> tuple[Any, ...]:
    """The row, its values in the order of `SAMPLE_COLUMNS`; its times count from `zero_s`, the run's start on the load clock."""
    cell, reply, sent_s = attempt.cell, attempt.reply, attempt.sent_s
    first = last = status = connect = None
    if reply is not None:
        status = reply.status
        if reply.first_byte_s:
            first = reply.first_byte_s - zero_s
        if reply.last_byte_s and reply.failure is None:
            last = reply.last_byte_s - zero_s
        if reply.connected_s:
            connect = reply.connected_s - reply.sent_s
    token = judgement.first_token_s
    return (
        cell.label,
        cell.model,
        cell.operation,
        attempt.round,
        attempt.stage,
        attempt.scheduled_s - zero_s,
        sent_s - zero_s,
        first,
        last,
        attempt.done_s - zero_s,
        status,
        judgement.outcome,
        judgement.bytes,
        judgement.images,
        judgement.megapixels,
        judgement.tokens,
        judgement.cost_usd,
        attempt.warmup,
        attempt.queue_s,
        attempt.download_s,
        token - sent_s if token else None,
        cell.target,
        worker,
        attempt.lag_s,
        connect,
        judgement.inter_token_s,
        judgement.retry_after_s,
        judgement.pictures,
        judgement.flaw,
        asked(attempt),
        judgement.picture_hashes,
    )


def asked(attempt: Attempt) -> int:
    """Equal numbers within a cell for requests that may rightly be answered with the same picture: those of the same bytes.

    Another prompt or another seed asks for another picture. Without a seed no document promises one to a request that is only
    repeated.
    """
    return (attempt.cell.asks[attempt.ask].alike + 1) << 32 | (attempt.seed or 0)
