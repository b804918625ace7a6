"""Lies about HTTP itself: statuses, media types, whole bodies, time, and how wrong requests are refused."""

from __future__ import annotations

import re
from typing import Literal

from testcard.mocks.exchange import Answer, Call, Problem, Refused
from testcard.mocks.faults.register import EVERY, KEYED, NANOGPT, NEBUL, RELAY_PICTURES, TASK, fault, own_keyed, own_pictures
from testcard.mocks.filling import put
from testcard.specs.loader import Provider


def _server_error(status: int) -> Answer:
    return Answer(status, {"error": {"message": "internal error", "type": "server_error", "param": None, "code": None}})


@fault("answer", "http.status-documented", EVERY)
def _success_with_another_status(call: Call, answer: Answer) -> Answer:
    """Answers 203 where the documents say 200."""
    if answer.status == 200:
        answer.status = 203
    return answer


@fault("answer", "http.status-documented/refusal", KEYED)
def _refusal_with_another_status(call: Call, answer: Answer) -> Answer:
    """Refuses with 418, which neither the documents nor HTTP give for the situation, where it should say 400 or 422."""
    if answer.status in (400, 422):
        answer.status = 418
    return answer


def _needs_something(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider that cannot do without a field, so that there is something to refuse."""
    return own_keyed(provider, operation) and bool(provider.operation(operation).required)


@fault("answer", "http.no-server-error", EVERY, own=_needs_something)
def _fault_of_the_client_as_500(call: Call, answer: Answer) -> Answer:
    """Answers 500 to whatever it should refuse with 400, 404 or 422."""
    if answer.status in (400, 404, 422):
        answer.status = 500
    return answer


@fault("answer", "http.no-server-error/malformed-task", TASK)
def _cannot_read_a_reference(call: Call, answer: Answer) -> Answer:
    """Answers 500 to references of tasks that are not spelt like its own, as a parser does that nobody catches."""
    reference = next(iter(call.path.values()))
    if answer.status == 404 and re.fullmatch(r"0x[0-9a-f]{40}", str(reference)) is None:
        answer.status = 500
    return answer


@fault("answer", "http.no-server-error/on-valid", EVERY)
def _every_answer_500(call: Call, answer: Answer) -> Answer:
    """Answers 500 to every valid request."""
    if answer.status < 300:
        return _server_error(500)
    return answer


@fault("answer", "http.status-documented/partial", EVERY)
def _success_as_partial(call: Call, answer: Answer) -> Answer:
    """Answers 206 where the documents say 200."""
    if answer.status == 200:
        answer.status = 206
    return answer


@fault("answer", "http.media-type", EVERY)
def _json_called_text(call: Call, answer: Answer) -> Answer:
    """Calls its JSON text/plain."""
    if answer.status == 200 and answer.events is None:
        answer.media_type = "text/plain"
    return answer


@fault("answer", "http.media-type/page", EVERY)
def _page_called_json(call: Call, answer: Answer) -> Answer:
    """Answers with a page of HTML that calls itself JSON."""
    if answer.status == 200 and answer.events is None:
        answer.data = b"<!DOCTYPE html><html><body>ok</body></html>"
    return answer


def _cut(answer: Answer, how: Literal["length", "chunks"]) -> Answer:
    if answer.status in (200, 201) and answer.events is None:
        answer.cut = how
    return answer


@fault("answer", "http.body-complete", EVERY, own=own_pictures)
def _shorter_than_declared(call: Call, answer: Answer) -> Answer:
    """Breaks the connection off in the middle of a body whose length it has declared."""
    return _cut(answer, "length")


@fault("answer", "http.body-complete/chunks", EVERY)
def _chunks_without_end(call: Call, answer: Answer) -> Answer:
    """Breaks the connection off before the last chunk of a body that comes in chunks."""
    return _cut(answer, "chunks")


@fault("answer", "http.body-complete/half-json", EVERY)
def _half_the_json(call: Call, answer: Answer) -> Answer:
    """Sends the first half of the JSON as if it were all."""
    if answer.status == 200 and answer.events is None:
        body = answer.payload()
        answer.data = body[: len(body) // 2]
    return answer


@fault("answer", "http.answer-time", RELAY_PICTURES)
def _too_late(call: Call, answer: Answer) -> Answer:
    """Answers five seconds after the five minutes that the document names."""
    if answer.status == 200:
        answer.late_s = 305.0
    return answer


@fault("answer", "http.answered", KEYED)
def _never(call: Call, answer: Answer) -> Answer:
    """Never answers what it should carry out; its refusals come at once."""
    if answer.status < 300:
        answer.late_s = 3600.0
    return answer


@fault("answer", "http.steady", EVERY, also=("http.no-server-error",))
def _second_time_503(call: Call, answer: Answer) -> Answer:
    """Answers every second request that is the same as an earlier one with 503."""
    return _server_error(503) if call.met % 2 else answer


@fault("problems", "http.steady/refused", KEYED, own=own_pictures, also=("request.accepts-valid",))
def _second_time_refused(call: Call, problems: list[Problem]) -> list[Problem]:
    """Refuses every second request that is the same as an earlier one, as one of several workers does that was set up otherwise."""
    return [*problems, Problem("", "type", "this worker takes no such body")] if call.met % 2 else problems


#: what a request cannot do without, by operation; the prompt, for those that are not named
_CANNOT_DO_WITHOUT = {"createImageVariation": "image", "createVisionChatCompletion": "messages"}


@fault("method", "http.method-refused", KEYED)
def _any_method_will_do(call: Call, refused: Refused) -> Refused | None:
    """Serves a request whatever its method is."""
    return None


@fault("method", "http.method-refused/no-allow", EVERY)
def _methods_are_not_named(call: Call, refused: Refused) -> Refused | None:
    """Refuses undocumented methods with 405 and does not say in Allow which ones there are."""
    return Refused(405, refused.message, code=refused.code)


def _reads_whole_bodies(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider whose bodies show where they end; half a form of names and values is a form as well."""
    return own_pictures(provider, operation) and provider.operation(operation).request_media_type != "application/x-www-form-urlencoded"


@fault("unread", "http.malformed-refused", KEYED, own=_reads_whole_bodies)
def _half_a_body_will_do(call: Call, refused: Refused) -> Refused | None:
    """Takes a body that cannot be read for one without fields, and serves it."""
    return refused if refused.status == 415 else None


@fault("unread", "http.media-type-refused", KEYED)
def _any_media_type_will_do(call: Call, refused: Refused) -> Refused | None:
    """Reads a body as if it came under the documented media type, whatever it is called."""
    return None if refused.status == 415 else refused


@fault("answer", "http.error-not-200", KEYED, also=("request.refuses-invalid",))
def _refusal_as_success(call: Call, answer: Answer) -> Answer:
    """Says with status 200 that a required field is missing."""
    if answer.status in (400, 422) and call.body_size and _CANNOT_DO_WITHOUT.get(call.operation, "prompt") not in call.fields:
        answer.status = 200
    return answer


def _told_in_the_body(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider that can be refused, and whose bodies say whether they are successes."""
    success = provider.profile.errors.success
    return _needs_something(provider, operation) and success is not None and bool(success.values)


@fault(
    "answer",
    "http.error-not-200/told-as-success",
    own=_told_in_the_body,
    also=("request.refuses-invalid", "schema.response", "image.count"),
)
def _refusal_told_as_success(call: Call, answer: Answer) -> Answer:
    """Says of a request that it did not carry out, in status and body alike, that it was a success."""
    assert call.described is not None
    success = call.described.profile.errors.success
    if answer.status in (400, 422) and success is not None:
        answer.status = call.described.operation(call.operation).success_statuses[0]
        answer.json = put({}, success.at, success.values[0])
    return answer


@fault("answer", "http.error-shape", (*NANOGPT, *NEBUL, *RELAY_PICTURES, *TASK))
def _another_error(call: Call, answer: Answer) -> Answer:
    """Sends errors in a shape of its own."""
    if 400 <= answer.status < 500:
        answer.json = {"reason": "the request was refused", "status": answer.status}
    return answer


def _errors_undescribed(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider whose document gives no error a body: where it does, schema.response is broken instead."""
    responses = provider.operation(operation).responses
    described = any(response.get("content") for status, response in responses.items() if status.startswith(("4", "default")))
    return own_keyed(provider, operation) and not described


@fault("answer", "http.error-shape/empty", KEYED, own=_errors_undescribed)
def _nothing_said(call: Call, answer: Answer) -> Answer:
    """Refuses without a word: the body is empty."""
    return Answer(answer.status, data=b"", headers=answer.headers) if 400 <= answer.status < 500 else answer


@fault("answer", "http.error-shape/page", KEYED, also=("http.media-type",), own=own_keyed)
def _a_page_for_a_person(call: Call, answer: Answer) -> Answer:
    """Refuses with a page of HTML, as a server in front of an API does."""
    if not 400 <= answer.status < 500:
        return answer
    return Answer(
        answer.status, data=b"<!DOCTYPE html><html><body>Bad Request</body></html>", media_type="text/html", headers=answer.headers
    )
