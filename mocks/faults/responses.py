"""Lies about the shape of an answer."""

from __future__ import annotations

from typing import Any

from testcard.mocks.exchange import Answer, Call
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import EVERY


@lie("body", "schema.response", EVERY, also=("async.result",))
def _wrong_type(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """One field of the answer has another type than documented."""
    match body:
        case {"choices": _, "usage": usage}:
            return {**body, "usage": {**usage, "total_tokens": str(usage["total_tokens"])}}
        case {"created": created}:
            return {**body, "created": str(created)}
        case {"artifacts": list(artifacts)}:
            return {**body, "artifacts": [{**item, "seed": str(item["seed"])} for item in artifacts]}
        case {"elapsed_seconds": elapsed}:
            return {**body, "elapsed_seconds": str(elapsed)}
        case {"images": list(images)}:
            return {**body, "images": [{"image": item} for item in images]}
        case {"urls": list(urls)}:
            return {**body, "urls": [{"url": item} for item in urls]}
    return body


@lie("answer", "schema.response/not-json", EVERY)
def _not_json(call: Call, answer: Answer) -> Answer:
    """Answers with what Python prints of a dictionary, and calls it JSON."""
    if answer.status != 200 or answer.events is not None:
        return answer
    return Answer(200, data=b"{'status': 'ok'}", billed=answer.billed, images=answer.images)
