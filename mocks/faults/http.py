"""Lies about the status."""

from __future__ import annotations

from testcard.mocks.exchange import Answer, Call
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import EVERY, KEYED


@lie("answer", "http.status-documented", EVERY)
def _success_with_another_status(call: Call, answer: Answer) -> Answer:
    """Answers 203 where the documents say 200."""
    if answer.status == 200:
        answer.status = 203
    return answer


@lie("answer", "http.status-documented/refusal", KEYED)
def _refusal_with_another_status(call: Call, answer: Answer) -> Answer:
    """Refuses with 418, which neither the documents nor HTTP give for the situation, where it should say 400 or 422."""
    if answer.status in (400, 422):
        answer.status = 418
    return answer


@lie("answer", "http.no-server-error", EVERY)
def _fault_of_the_client_as_500(call: Call, answer: Answer) -> Answer:
    """Answers 500 to whatever it should refuse with 400, 404 or 422."""
    if answer.status in (400, 404, 422):
        answer.status = 500
    return answer


@lie("answer", "http.no-server-error/on-valid", EVERY)
def _every_answer_500(call: Call, answer: Answer) -> Answer:
    """Answers 500 to every valid request."""
    if answer.status < 300:
        return Answer(500, {"error": {"message": "internal error", "type": "server_error", "param": None, "code": None}})
    return answer


@lie("answer", "http.status-documented/partial", EVERY)
def _success_as_partial(call: Call, answer: Answer) -> Answer:
    """Answers 206 where the documents say 200."""
    if answer.status == 200:
        answer.status = 206
    return answer
