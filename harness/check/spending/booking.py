"""What answers cost: settles what was reserved for a request, and tells how many pictures it was billed for."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.recording import Recording
from testcard.harness.check.running.transport import Received
from testcard.harness.check.spending.budget import CheckBudget, Reservation
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.billing import answer_cost, delivered
from testcard.harness.wire.model import Answer, WireRequest
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import Provider


class Booking:
    """Books what each answer brought against what was reserved for it."""

    def __init__(self, provider: Provider, budget: CheckBudget, pricing: Pricing, recording: Recording) -> None:
        self._provider = provider
        self._budget = budget
        self._pricing = pricing
        self._recording = recording
        self._submitted: dict[tuple[str, str], str] = {}

    def settled(self, step: PlanStep, wire: WireRequest, sent: Received, answer: Answer | None, reservation: Reservation) -> Exchange:
        """Books what the answer brought and returns its record."""
        images, cost, again = 0, None, False
        if sent.status is None:
            (self._budget.release if sent.failure in ("connect", "tls") else self._budget.keep)(reservation)
        elif sent.status >= 300 or answer is None:
            self._budget.release(reservation)
        elif self._led_to_the_same_task(step, answer):
            again, cost = True, 0.0
            self._budget.release(reservation)
        else:
            accepted_later = answer.task is not None
            came = len(answer.pictures)
            # Fewer pictures than were asked for may have been charged for all the same: nobody can tell.
            short = came < reservation.asked_images and answer.cost_usd is None
            images = reservation.images if accepted_later else max(came, reservation.asked_images)
            cost = reservation.cost_usd if accepted_later or short else self._cost(step, answer)
            self._budget.settle(reservation, images=images, cost_usd=cost)
        return self._recording.record(step, step.id, wire, sent, images=images, cost_usd=cost, free=again)

    def _led_to_the_same_task(self, step: PlanStep, answer: Answer) -> bool:
        """Whether a submission was sent again under its idempotency key and led to no second task, so that there is nothing to pay."""
        protocol = self._provider.profile.asynchronous
        key = protocol.idempotency_key(step.headers) if protocol is not None else None
        if key is None or answer.task is None or not answer.task.reference:
            return False
        before = self._submitted.get((step.operation, key))
        self._submitted[step.operation, key] = answer.task.reference
        return before == answer.task.reference

    def _cost(self, step: PlanStep, answer: Answer) -> float | None:
        pictures = []
        for picture in answer.pictures:
            data = lenient_base64(picture.base64) if picture.base64 is not None else None
            if data is not None:
                pictures.append(inspect(data, pixels=False))
        billable = delivered(self._provider, step.operation, step.terms, answer, pictures)
        return answer_cost(self._pricing.price(step.model, step.operation), answer, billable)


def bill(step: PlanStep, records: Sequence[Exchange]) -> tuple[int, bool]:
    """For how many pictures (or answers of a chat) a step was billed, the worst where nobody knows; and whether it was carried out."""
    own = next((record for record in records if record.id == step.id), None)
    if own is None or (own.response is None and own.failure not in ("connect", "tls")):
        return step.weight, False
    billed = own.images if step.images else int(own.billed)
    return billed, own.response is not None and own.response.status < 300
