"""Lies about how wrong requests are refused."""

from __future__ import annotations

from testcard.mocks.exchange import Answer, Call, Refused
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import EVERY, KEYED, NANOGPT, NEBUL, RELAY_PICTURES, TASK

#: what a request cannot do without, by operation; the prompt, for those that are not named
_CANNOT_DO_WITHOUT = {"createImageVariation": "image", "createVisionChatCompletion": "messages"}


@lie("method", "http.method-refused", KEYED)
def _any_method_will_do(call: Call, refused: Refused) -> Refused | None:
    """Serves a request whatever its method is."""
    return None


@lie("method", "http.method-refused/no-allow", EVERY)
def _methods_are_not_named(call: Call, refused: Refused) -> Refused | None:
    """Refuses undocumented methods with 405 and does not say in Allow which ones there are."""
    return Refused(405, refused.message, code=refused.code)


@lie("unread", "http.malformed-refused", KEYED)
def _half_a_body_will_do(call: Call, refused: Refused) -> Refused | None:
    """Takes a body that cannot be read for one without fields, and serves it."""
    return refused if refused.status == 415 else None


@lie("unread", "http.media-type-refused", KEYED)
def _any_media_type_will_do(call: Call, refused: Refused) -> Refused | None:
    """Reads a body as if it came under the documented media type, whatever it is called."""
    return None if refused.status == 415 else refused


@lie("answer", "http.error-not-200", KEYED, also=("request.refuses-invalid",))
def _refusal_as_success(call: Call, answer: Answer) -> Answer:
    """Says with status 200 that a required field is missing."""
    if answer.status in (400, 422) and call.body_size and _CANNOT_DO_WITHOUT.get(call.operation, "prompt") not in call.fields:
        answer.status = 200
    return answer


@lie("answer", "http.error-shape", (*NANOGPT, *NEBUL, *RELAY_PICTURES, *TASK), also=("schema.response",))
def _another_error(call: Call, answer: Answer) -> Answer:
    """Sends errors in a shape of its own."""
    if 400 <= answer.status < 500:
        answer.json = {"reason": "the request was refused", "status": answer.status}
    return answer
