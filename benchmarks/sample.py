"""One finished attempt with its judgement as a row of samples."""

from __future__ import annotations

from typing import Any

from testcard.benchmarks.drive import Attempt
from testcard.benchmarks.judge import Judgement
from testcard.benchmarks.recorder import row


def sample(attempt: Attempt, judgement: Judgement, zero_s: float, worker: int) -> tuple[Any, ...]:
    """The row; its times count from `zero_s`, the run's start on the load clock."""
    cell, reply = attempt.cell, attempt.reply
    return row(
        {
            "provider": cell.label,
            "model": cell.model,
            "operation": cell.operation,
            "round": attempt.round,
            "stage": attempt.stage,
            "scheduled_s": attempt.scheduled_s - zero_s,
            "sent_s": attempt.sent_s - zero_s,
            "first_byte_s": reply.first_byte_s - zero_s if reply and reply.first_byte_s else None,
            "last_byte_s": reply.last_byte_s - zero_s if reply and reply.last_byte_s and reply.failure is None else None,
            "done_s": attempt.done_s - zero_s,
            "status": reply.status if reply else None,
            "outcome": judgement.outcome,
            "bytes": judgement.bytes,
            "images": judgement.images,
            "megapixels": judgement.megapixels,
            "tokens": judgement.tokens,
            "cost_usd": judgement.cost_usd,
            "warmup": attempt.warmup,
            "queue_s": attempt.queue_s,
            "download_s": attempt.download_s,
            "first_token_s": judgement.first_token_s - attempt.sent_s if judgement.first_token_s else None,
            "target": cell.target,
            "worker": worker,
            "lag_s": attempt.lag_s,
            "connect_s": reply.connected_s - reply.sent_s if reply and reply.connected_s else None,
        }
    )
