"""What a mock has served, by provider and operation: requests, billed requests (2xx that cost money) and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Count:
    """Of one operation. `images` counts pictures in billed answers, at acceptance for async tasks; `open` what is being served."""

    requests: int = 0
    billed_requests: int = 0
    images: int = 0
    open: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, status: int, *, billed: bool, images: int) -> None:
        """One answered request."""
        self.requests += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if billed:
            self.billed_requests += 1
            self.images += images


class Counters:
    """The counts of every operation that is served; `other` holds requests that reached none."""

    def __init__(self) -> None:
        self.by_operation: dict[str, dict[str, Count]] = {}

    def of(self, provider: str, operation: str) -> Count:
        """The operation's count, to be added to."""
        return self.by_operation.setdefault(provider, {}).setdefault(operation, Count())

    def report(self) -> dict[str, object]:
        """The body of `GET /_testcard/counters`: totals, and the counts of each operation."""
        every = [count for operations in self.by_operation.values() for count in operations.values()]
        return {
            "requests": sum(count.requests for count in every),
            "billed_requests": sum(count.billed_requests for count in every),
            "images": sum(count.images for count in every),
            "open": sum(count.open for count in every),
            "providers": {
                provider: {
                    name: {
                        "requests": count.requests,
                        "billed_requests": count.billed_requests,
                        "images": count.images,
                        "statuses": {str(status): number for status, number in sorted(count.statuses.items())},
                    }
                    for name, count in operations.items()
                }
                for provider, operations in self.by_operation.items()
            },
        }
