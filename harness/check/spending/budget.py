"""What a run may spend. Every request reserves its worst case before it is sent, so that no limit is passed at any concurrency.

A target that brings or charges more than was asked for is believed the next time: what it added at most is added to every
reservation from then on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import Exchange, Spend
from testcard.harness.stops import Stop, StopReason
from testcard.harness.wire.billing import COST_NOTHING, MOST_TIMES, booked_cost, charged, delivered
from testcard.harness.wire.model import Answer, PictureInfo
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import Provider

_CENT_DUST = 1e-9  # sums of binary fractions: 10 x 0.01 may still be spent from 0.10


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """The limits of a run; None means no limit. Requests count all that are sent, images and USD only billed ones, downloads each request
    for a picture behind an address, redirects included.
    """

    max_requests: int | None = None
    max_images: int | None = None
    max_cost_usd: float | None = None
    max_downloads: int | None = None


NO_LIMITS = SpendingLimits()


@dataclass(slots=True)
class Reservation:
    """What one request may cost at most, taken from the budget until it is settled or released.

    `asked_images` and `asked_usd` are the worst case by the contract, the others that of a target which adds to it. `follow`: requests that
    are kept for what its answer leads to.
    """

    billed: bool
    images: int
    cost_usd: float | None
    asked_images: int = 0
    asked_usd: float | None = None
    open: bool = True
    follow: int = 0


class CheckBudget:
    """Counts what was spent and what is reserved; may be used from several threads."""

    def __init__(self, limits: SpendingLimits = NO_LIMITS) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._requests = 0
        self._downloads = 0
        self._billed = 0
        self._images = 0
        self._cost = 0.0
        self._unknown_usd = 0.0  # worst cases, by the contract, of what nobody knows the cost of
        self._cost_known = True
        self._held_images = 0
        self._held_cost = 0.0
        self._held = 0
        self._held_billed = 0
        self._settled = 0
        self._sent_again = 0
        self._kept = 0
        self._unanswered = 0
        self._extra_images = 0
        self._times_images = 1.0
        self._times_cost = 1.0
        #: Why the latest request for a reservation was refused; None where it was granted.
        self.refusal: Stop | None = None

    def reserve(
        self,
        *,
        billed: bool,
        images: int = 0,
        cost_usd: float | None = None,
        follow: int = 0,
        following: bool = False,
        download: bool = False,
    ) -> Reservation | None:
        """A reservation of the worst case, or None when it does not fit into what is left; then `refusal` says why.

        A billed request whose cost is not known never fits a limit on cost. With it so many requests are kept that `follow` it, until
        `followed`: a picture that is paid for and not fetched shows nothing. `following`: this is one of those; `download`: it fetches a picture.
        """
        asked_images, asked_usd = images if billed else 0, cost_usd
        with self._lock:
            images = self._expected(asked_images)
            cost_usd = None if asked_usd is None else asked_usd * self._times_cost
            self.refusal = self._refusal(billed, images, cost_usd, follow, 0 if following else self._kept)
            most = self.limits.max_downloads
            if self.refusal is None and download and most is not None and self._downloads >= most:
                self.refusal = Stop(reason=StopReason.DOWNLOADS_SPENT, limit=most)
            if self.refusal is not None:
                return None
            self._requests += 1
            self._downloads += download
            self._held += 1
            self._held_billed += billed
            self._held_images += images
            self._held_cost += (cost_usd or 0.0) if billed else 0.0
            self._kept += follow
            return Reservation(billed, images, cost_usd, asked_images, asked_usd, follow=follow)

    def followed(self, reservation: Reservation) -> None:
        """What the answer led to was asked for, or it led to nothing: what was kept for it is free again."""
        with self._lock:
            self._kept -= reservation.follow
            reservation.follow = 0

    def _expected(self, images: int) -> int:
        return max(images + self._extra_images, math.ceil(images * self._times_images)) if images else 0

    def _refusal(self, billed: bool, images: int, cost_usd: float | None, follow: int, kept: int) -> Stop | None:
        limits = self.limits
        if limits.max_requests is not None and self._requests + kept + 1 + follow > limits.max_requests:
            return Stop(reason=StopReason.REQUESTS_SPENT, limit=limits.max_requests)
        if billed and limits.max_images is not None and self._images + self._held_images + images > limits.max_images:
            return Stop(reason=StopReason.IMAGES_SPENT, limit=limits.max_images)
        if billed and limits.max_cost_usd is not None:
            gone = self._cost + self._held_cost
            if cost_usd is None or gone + cost_usd > limits.max_cost_usd + _CENT_DUST:
                return Stop(reason=StopReason.COST_SPENT, limit=limits.max_cost_usd, spent=gone, following=cost_usd)
        return None

    def settle(self, reservation: Reservation, *, images: int, cost_usd: float | None) -> None:
        """Replaces a reservation by what was delivered. `cost_usd` None: the answer was billed and nobody knows what it cost."""
        with self._lock:
            self._book(reservation, images, cost_usd)
            if reservation.billed:
                self._settled += 1
                self._learn(reservation, images, cost_usd)

    def _book(self, reservation: Reservation, images: int, cost_usd: float | None) -> None:
        self._close(reservation)
        if reservation.billed:
            self._billed += 1
            self._images += images
            self._cost += cost_usd or 0.0
            self._cost_known = self._cost_known and cost_usd is not None

    def _learn(self, reservation: Reservation, images: int, cost_usd: float | None) -> None:
        if reservation.asked_images:
            self._extra_images = max(self._extra_images, images - reservation.asked_images)
            self._times_images = max(self._times_images, images / reservation.asked_images)
        if reservation.asked_usd and cost_usd is not None:
            times = min(max(self._times_cost, cost_usd / reservation.asked_usd), MOST_TIMES)
            self._cost += self._unknown_usd * (times - self._times_cost)
            self._times_cost = times

    def keep(self, reservation: Reservation) -> None:
        """Books the worst case: the request went out and nobody knows whether it was carried out."""
        with self._lock:
            self._keep(reservation)

    def _keep(self, reservation: Reservation) -> None:
        self._book(reservation, reservation.images, reservation.cost_usd)
        self._unknown_usd += (reservation.asked_usd or 0.0) if reservation.billed else 0.0

    def again(self, reservation: Reservation) -> bool:
        """Books the worst case of a request that died on a kept connection, where another like it fits: then it may be sent once more.

        The reservation is the second one's from then on. Otherwise nothing changes, and `refusal` says why.
        """
        more = self.reserve(billed=reservation.billed, images=reservation.asked_images, cost_usd=reservation.asked_usd)
        if more is None:
            return False
        with self._lock:
            self._keep(more)
            self._sent_again += 1
        return True

    def note_unanswered(self) -> None:
        """Counts a request to which no answer began."""
        with self._lock:
            self._unanswered += 1

    def release(self, reservation: Reservation) -> None:
        """Gives a reservation back: the request was refused and cost nothing. It stays counted as a request."""
        with self._lock:
            self._close(reservation)

    def cancel(self, reservation: Reservation) -> None:
        """Gives everything back: the request was never sent."""
        with self._lock:
            self._close(reservation)
            self._requests -= 1

    @property
    def is_probing(self) -> bool:
        """Whether the next billed request should wait: pictures or cost are limited, and the first answer that is billed is still under way.

        What a target adds to a request is known from that answer on; many sent before it could pass a limit together.
        """
        with self._lock:
            limited = self.limits.max_images is not None or self.limits.max_cost_usd is not None
            return limited and not self._settled and self._held_billed > 0

    @property
    def in_flight(self) -> int:
        """How many reservations are open."""
        with self._lock:
            return self._held

    @property
    def spend(self) -> Spend:
        """What was spent so far; the cost is None when some of it is not known."""
        with self._lock:
            cost = round(self._cost, 9) if self._cost_known else None
            return Spend(
                requests=self._requests,
                billed_requests=self._billed,
                images=self._images,
                cost_usd=cost,
                downloads=self._downloads,
                sent_again=self._sent_again,
                unanswered=self._unanswered,
            )

    def _close(self, reservation: Reservation) -> None:
        if not reservation.open:
            raise ValueError("the reservation was closed before")
        reservation.open = False
        self._held -= 1
        self._held_billed -= reservation.billed
        self._held_images -= reservation.images
        self._held_cost -= (reservation.cost_usd or 0.0) if reservation.billed else 0.0


@dataclass(frozen=True, slots=True)
class Booked:
    """What an answer was booked with. `again`: it led to a task that was paid for before, so that there is nothing to pay."""

    images: int = 0
    cost_usd: float | None = None
    again: bool = False


NOTHING = Booked()


class Booking:
    """Books what each answer brought against what was reserved for it."""

    def __init__(self, provider: Provider, budget: CheckBudget, pricing: Pricing) -> None:
        self._provider = provider
        self._budget = budget
        self._pricing = pricing
        self._submitted: dict[tuple[str, str], str] = {}

    def settle(self, step: PlanStep, status: int | None, failure: str | None, answer: Answer | None, reservation: Reservation) -> Booked:
        """Settles the reservation by what came for the step: an answer with a status, or none; with a failure it is not whole."""
        whole = failure is None
        budget = self._budget
        if status is None:
            budget.note_unanswered()
            (budget.release if failure in ("connect", "tls") else budget.keep)(reservation)
            return NOTHING
        price = self._pricing.price(step.model, step.operation)
        if status >= 300 or answer is None:
            always = price is not None and price.billed_on == "always" and step.key_use == "right"
            if not always or status < 400 or status in COST_NOTHING:
                budget.release(reservation)
                return NOTHING
            budget.settle(reservation, images=0, cost_usd=reservation.cost_usd)
            return Booked(0, reservation.cost_usd)
        if self._led_to_the_same_task(step, answer):
            budget.release(reservation)
            return Booked(0, 0.0, again=True)
        if answer.task is not None:  # accepted, to be carried out later
            images, cost = reservation.images, reservation.cost_usd
        else:
            # Fewer pictures than were asked for may have been charged for all the same: nobody can tell.
            images = max(len(answer.pictures), reservation.asked_images)
            asked = self._provider, step.operation, step.terms, answer
            cost = booked_cost(price, answer, charged(*asked, delivered(*asked, _looked_at(answer))))
            if not whole or answer.problem is not None:  # it may have held more than can be seen of it
                images = max(images, reservation.images)
                cost = max((amount for amount in (cost, reservation.cost_usd) if amount is not None), default=None)
        budget.settle(reservation, images=images, cost_usd=cost)
        return Booked(images, cost)

    def _led_to_the_same_task(self, step: PlanStep, answer: Answer) -> bool:
        """Whether a submission was sent again under its idempotency key and led to no second task, so that there is nothing to pay."""
        protocol = self._provider.protocol(step.operation)
        key = protocol.idempotency_key(step.headers) if protocol is not None else None
        if key is None or answer.task is None or not answer.task.reference:
            return False
        before = self._submitted.get((step.operation, key))
        self._submitted[step.operation, key] = answer.task.reference
        return before == answer.task.reference


def _looked_at(answer: Answer) -> list[PictureInfo]:
    """What the pictures are that stand in the answer itself."""
    data = (
        picture.data if picture.data is not None else lenient_base64(picture.base64 or "")
        for picture in answer.pictures
        if picture.data is not None or picture.base64 is not None
    )
    return [inspect(content, pixels=False) for content in data if content is not None]


def bill(step: PlanStep, records: Sequence[Exchange]) -> tuple[int, bool]:
    """For how many pictures (or answers of a chat) a step was billed, the worst where nobody knows; and whether it was carried out."""
    own = next((record for record in records if record.id == step.id), None)
    if own is None and records:
        return 0, False  # refused with 429 each time
    if own is None or (own.response is None and own.failure not in ("connect", "tls")):
        return step.weight, False
    billed = own.images if step.images else int(own.billed)
    return billed, own.response is not None and own.response.status < 300
