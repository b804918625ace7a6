"""What Prometheus reads of a watch. Every name begins with `testcard_`; times are in seconds, money in US dollars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from testcard.harness.errors import UsageError
from testcard.harness.watch.ledger import DayLedger
from testcard.harness.watch.looking import LookKind, WatchLook
from testcard.harness.watch.watching import VerdictChange

_WORDS = ("pass", "fail", "inconclusive", "unreachable", "error")
_BUCKETS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


def _spent(ledger: DayLedger, target: str, index: int) -> float:
    return float(ledger.spent(target)[index])


class Metrics:
    """Metrics of a watch's targets, in a registry of their own."""

    def __init__(self, targets: Sequence[str], ledger: DayLedger) -> None:
        self.registry = CollectorRegistry()
        one = ("target",)
        self._looks = Counter("testcard_looks", "Looks that are over.", ("target", "kind", "verdict"), registry=self.registry)
        self._put_off = Counter(
            "testcard_looks_put_off", "Looks that today's budget had no room for.", ("target", "kind"), registry=self.registry
        )
        self._verdict = Gauge(
            "testcard_verdict", "1 for the verdict of the last check, 0 for the others.", ("target", "verdict"), registry=self.registry
        )
        self._broken = Gauge("testcard_broken_musts", "Broken musts at the last check.", one, registry=self.registry)
        self._deviating = Gauge("testcard_broken_shoulds", "Broken shoulds at the last check.", one, registry=self.registry)
        self._up = Gauge("testcard_up", "Whether the last probe was answered, and with what was asked for.", one, registry=self.registry)
        self._latency = Histogram(
            "testcard_probe_latency_seconds", "From sending a probe to its whole answer.", one, buckets=_BUCKETS, registry=self.registry
        )
        self._last = Gauge("testcard_last_look_timestamp_seconds", "When the last look began.", ("target", "kind"), registry=self.registry)
        self._changes = Counter("testcard_verdict_changes", "Changes of the verdict.", one, registry=self.registry)
        for name, index, said in (("requests", 0, "Requests"), ("cost_usd", 1, "US dollars")):
            spent = Gauge(f"testcard_spent_today_{name}", f"{said} spent or reserved today (UTC).", one, registry=self.registry)
            for target in targets:
                spent.labels(target).set_function(partial(_spent, ledger, target, index))
        limits = {"requests": ledger.limits.max_requests, "cost_usd": ledger.limits.max_cost_usd}
        for name, limit in limits.items():
            if limit is not None:
                Gauge(f"testcard_budget_{name}", "What all targets together may spend in a day.", registry=self.registry).set(limit)

    def serve(self, port: int, host: str) -> int:
        """Serves /metrics from a thread until the process ends; the port. `UsageError` where the port is taken."""
        try:
            server, _ = start_http_server(port, addr=host, registry=self.registry)
        except (OSError, UnicodeError) as error:  # a name that IDNA cannot spell is none, too
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"metrics cannot be served on {host}:{port}: {why}", hint="choose another --port") from None
        return int(server.server_port)

    def looked(self, look: WatchLook) -> None:
        """Counts a look."""
        self._looks.labels(look.target, look.kind, look.word).inc()
        self._last.labels(look.target, look.kind).set(datetime.fromisoformat(look.at).timestamp())
        if look.kind == "probe":
            self._up.labels(look.target).set(look.word == "pass")
            if look.latency_s is not None:
                self._latency.labels(look.target).observe(look.latency_s)
            return
        for word in _WORDS:
            self._verdict.labels(look.target, word).set(word == look.word)
        if look.word in ("pass", "fail"):
            self._broken.labels(look.target).set(len(look.broken))
            self._deviating.labels(look.target).set(look.deviating)

    def put_off(self, target: str, kind: LookKind) -> None:
        """Counts a look that was not sent."""
        self._put_off.labels(target, kind).inc()

    def changed(self, change: VerdictChange) -> None:
        """Counts a change."""
        self._changes.labels(change.target).inc()
