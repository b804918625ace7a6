"""Lies about what an answer says beside its pictures: its shape, its fields, its time, its echoes, its counts of tokens, what it costs and what is
left on the account.
"""

from __future__ import annotations

from typing import Any

from testcard.mocks.exchange import Answer, Call
from testcard.mocks.faults.register import EVERY, KEYED, NANOGPT, NEBUL, VISION, fault

Body = dict[str, Any]


@fault("body", "answer.required-fields", KEYED, also=("image.count", "async.result"))
def _another_name(call: Call, body: Body) -> Body:
    """Calls the list of pictures or choices `results`."""
    listed = ("data", "artifacts", "images", "urls", "choices")
    return {("results" if name in listed else name): value for name, value in body.items()}


@fault("body", "answer.created-now", (*NANOGPT, *NEBUL))
def _milliseconds(call: Call, body: Body) -> Body:
    """Says when it was made in milliseconds."""
    return {**body, "created": body["created"] * 1000}


@fault("body", "answer.created-now/constant", (*NANOGPT, *NEBUL))
def _an_example(call: Call, body: Body) -> Body:
    """Says that it was made when the document's example was."""
    return {**body, "created": 1731500000}


@fault("body", "answer.created-now/local-time", (*NANOGPT, *NEBUL))
def _two_hours_ahead(call: Call, body: Body) -> Body:
    """Takes local time, two hours ahead, for universal time."""
    return {**body, "created": body["created"] + 7200}


@fault("body", "answer.echo", NEBUL)
def _one_size_for_all(call: Call, body: Body) -> Body:
    """Says the same size whatever was asked for."""
    return {**body, "size": "2048x2048"}


@fault("body", "answer.echo/format", NEBUL, also=("image.format",))
def _one_format_for_all(call: Call, body: Body) -> Body:
    """Says that every picture is a JPEG."""
    return {**body, "output_format": "jpeg"}


def _with_usage(body: Body, **changed: Any) -> Body:
    return {**body, "usage": {**body["usage"], **changed}}


@fault("body", "answer.usage-integers", (*NEBUL, *VISION))
def _negative(call: Call, body: Body) -> Body:
    """Says that fewer tokens than none went in."""
    return _with_usage(body, prompt_tokens=-5, total_tokens=body["usage"].get("completion_tokens", 0) - 5)


@fault("body", "answer.usage-integers/fraction", (*NEBUL, *VISION), also=("schema.response",))
def _fraction(call: Call, body: Body) -> Body:
    """Counts tokens in fractions."""
    return _with_usage(body, **{name: value + 0.5 for name, value in body["usage"].items()})


@fault("body", "answer.usage-sum", (*NEBUL, *VISION))
def _total_does_not_add_up(call: Call, body: Body) -> Body:
    """States more tokens that went in than tokens in all."""
    return _with_usage(body, prompt_tokens=body["usage"]["total_tokens"] + 1)


@fault("body", "answer.usage-sum/off-by-one", VISION)
def _one_too_many(call: Call, body: Body) -> Body:
    """States one token more in all than went in and came out."""
    return _with_usage(body, total_tokens=body["usage"]["total_tokens"] + 1)


@fault("body", "schema.response", EVERY, also=("async.result", "image.decodes"))
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


@fault("answer", "schema.response/not-json", EVERY)
def _not_json(call: Call, answer: Answer) -> Answer:
    """Answers with what Python prints of a dictionary, and calls it JSON."""
    if answer.status != 200 or answer.events is not None:
        return answer
    return Answer(200, data=b"{'status': 'ok'}", billed=answer.billed, images=answer.images)


@fault("body", "answer.cost-not-negative", NANOGPT, also=("answer.cost-grows",))
def _negative_cost(call: Call, body: Body) -> Body:
    """States the cost as a booking, with a minus."""
    return {**body, "cost": -body["cost"]}


@fault("body", "answer.balance-falls", NANOGPT)
def _same_balance(call: Call, body: Body) -> Body:
    """Says that as much is left as before."""
    return {**body, "remainingBalance": 10_000.0}


@fault("body", "answer.balance-falls/twice", NANOGPT)
def _charged_twice(call: Call, body: Body) -> Body:
    """Takes twice the cost from the balance."""
    return {**body, "remainingBalance": round(2 * body["remainingBalance"] - 10_000.0, 6)}


@fault("body", "answer.balance-falls/rises", NANOGPT)
def _credited(call: Call, body: Body) -> Body:
    """Adds the cost to the balance."""
    return {**body, "remainingBalance": round(20_000.0 - body["remainingBalance"], 6)}


@fault("body", "answer.cost-grows", NANOGPT)
def _flat_rate(call: Call, body: Body) -> Body:
    """States, and takes, the cost of one picture whatever their number."""
    cost = round(body["cost"] / max(1, len(body["data"])), 6)
    return {**body, "cost": cost, "remainingBalance": round(body["remainingBalance"] + body["cost"] - cost, 6)}
