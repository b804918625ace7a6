"""Service-level objectives: read from text such as `p95<8s`, judged on a summary row.

An expression is METRIC OP VALUE[UNIT], spaces allowed:

- `p50` … `p99.9` (latency from the scheduled start), `service_p95` (from the moment of sending), `ttfb_p95`, and of streams and
  async tasks `first_token_p95`, `inter_token_p95`, `queue_p95`, `generation_p95`; unit s or ms.
- `error_rate`, `ok_rate`, `rate_limited`, `wasted`; unit % (or none for a share).
- `usd_per_image`, `usd_per_megapixel`, `usd_per_1000_good_images`; unit USD or none.
- `goodput_rps`, `achieved_rps`, `images_per_s`, `megapixels_per_s`, `tokens_per_s`; no unit.

OP is one of < <= > >=. An upper bound on a percentile is judged by the share of requests that took longer, with an interval that
allows for correlation (`limit_share`). Every other objective passes when the whole 95 % interval keeps it, fails when the whole
interval breaks it, and is inconclusive when the interval holds the threshold or there are too few samples for one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.runs.records import PERCENTILES, Estimate, Gate, SummaryRow
from testcard.harness.text.words import DOLLARS, PER_SECOND, PERCENT, Unit, time_unit

if TYPE_CHECKING:  # numpy: not for whoever only reads an objective
    from testcard.harness.statistics.limit_share import LimitVerdict

Operator = Literal["<", "<=", ">", ">="]

_EXPRESSION = re.compile(
    r"\s*([a-z_]+(?:[0-9]+(?:\.[0-9]+)?)?|[a-z_0-9]+)\s*(<=|>=|<|>)\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(%|[a-z]*)\s*", re.IGNORECASE
)
_PERCENTILE = re.compile(r"(?:(service|ttfb|latency|first_token|inter_token|queue|generation)_)?p([0-9]{1,2}(?:\.[0-9]+)?)")
_SERIES = {None: "latency_s", "latency": "latency_s", "service": "service_s", "ttfb": "ttfb_s"}
_PARTS = {"first_token": "stream", "inter_token": "stream", "queue": "tasks", "generation": "tasks"}
#: A load generator that sends later than this, or than 1 % of the median latency, at its 99th percentile was itself the bottleneck.
LAG_LIMIT_S = 0.010
#: Metrics that are a share of the requests, judged by Wilson's interval.
SHARES = ("error_rate", "ok_rate", "rate_limited")
_HINT = "objectives look like: p95<8s, service_p50<=900ms, error_rate<1%, usd_per_image<0.05, goodput_rps>2"

_FIGURES: dict[str, tuple[str, Callable[[SummaryRow], Estimate | None]]] = {
    "error_rate": ("share", lambda row: row.error_rate),
    "ok_rate": ("share", lambda row: _complement(row.error_rate)),
    "rate_limited": ("share", lambda row: _limited(row)),
    "wasted": ("share", lambda row: row.money.wasted_share if row.money else None),
    "usd_per_image": ("usd", lambda row: row.cost_usd_per_image),
    "usd_per_megapixel": ("usd", lambda row: row.money.cost_usd_per_megapixel if row.money else None),
    "usd_per_1000_good_images": ("usd", lambda row: row.cost_usd_per_1000_good_images),
    "goodput_rps": ("rate", lambda row: row.goodput),
    "achieved_rps": ("rate", lambda row: row.achieved or _point(row.achieved_rps, row.requests)),
    "images_per_s": ("rate", lambda row: row.delivery.valid_images_per_s if row.delivery else _point(row.images_per_s, row.requests)),
    "megapixels_per_s": (
        "rate",
        lambda row: row.delivery.valid_megapixels_per_s if row.delivery else _point(row.megapixels_per_s, row.requests),
    ),
    "tokens_per_s": ("rate", lambda row: row.delivery.tokens_per_s if row.delivery else None),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """One threshold. `metric` is normalised ("p95", "service_p95", "error_rate"), `threshold` is in seconds, a share, USD or per second."""

    expression: str
    metric: str
    operator: Operator
    threshold: float

    @property
    def latency_limit_s(self) -> float | None:
        """The seconds that a single request may take, where this objective bounds a latency percentile from above; else None."""
        return self.threshold if self.metric in PERCENTILES and self.operator in ("<", "<=") else None

    @property
    def unit(self) -> Unit:
        """What its figures are shown in; a latency in what suits its limit, so that all targets' figures have one unit."""
        kind = _FIGURES[self.metric][0] if self.metric in _FIGURES else "time"
        return {"share": PERCENT, "usd": DOLLARS, "rate": PER_SECOND}.get(kind) or time_unit(self.threshold)

    def keeps(self, figure: float) -> bool:
        """Whether a figure is on the right side of the threshold."""
        if self.operator == "<":
            return figure < self.threshold
        if self.operator == "<=":
            return figure <= self.threshold
        return figure > self.threshold if self.operator == ">" else figure >= self.threshold


def parse(expression: str) -> Objective:
    """The objective that an expression states; `UsageError` that says what is wrong with it and shows right ones."""
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise UsageError(f"{expression!r} is no objective", hint=_HINT)
    name, number, unit = match.group(1).lower(), float(match.group(3)), match.group(4).lower()
    operator: Operator = match.group(2)  # type: ignore[assignment]  # the pattern admits only these
    percentile = _PERCENTILE.fullmatch(name)
    if percentile:
        key = f"p{percentile.group(2)}"
        if key not in PERCENTILES:
            raise UsageError(f"{expression!r}: {key} is not computed", hint="percentiles are: " + ", ".join(PERCENTILES))
        series = percentile.group(1)
        return Objective(
            expression, key if series in (None, "latency") else f"{series}_{key}", operator, _seconds(expression, number, unit)
        )
    if name not in _FIGURES:
        raise UsageError(f"{expression!r}: there is no metric {name}", hint=_HINT)
    kind = _FIGURES[name][0]
    allowed = {"share": ("%", ""), "usd": ("usd", ""), "rate": ("",)}[kind]
    if unit not in allowed:
        raise UsageError(f"{expression!r}: the unit {unit} does not fit {name}", hint=_HINT)
    if kind == "share":
        number = number / 100.0 if unit == "%" else number
        if number > 1.0:
            raise UsageError(f"{expression!r}: a share lies between 0 and 1", hint="write percent as in error_rate<1%")
    return Objective(expression, name, operator, number)


def _seconds(expression: str, number: float, unit: str) -> float:
    if unit not in ("s", "ms"):
        raise UsageError(f"{expression!r}: a latency needs the unit s or ms", hint=_HINT)
    return number if unit == "s" else number / 1000.0


def limit_s(objectives: Sequence[Objective]) -> float | None:
    """Seconds within which one request counts as good: the loosest latency bound stated (p50<2s, p95<8s: 8), None where none is."""
    limits = [limit for objective in objectives if (limit := objective.latency_limit_s) is not None]
    return max(limits, default=None)


def lag_limit_s(median_s: float | None) -> float:
    """The send lag in seconds that a load generator may have at its 99th percentile where the median latency is this."""
    return max(LAG_LIMIT_S, 0.01 * (median_s or 0.0))


def observed(objective: Objective, row: SummaryRow) -> Estimate | None:
    """The row's figure that the objective is about, or None where the row has none (no price, say)."""
    percentile = _PERCENTILE.fullmatch(objective.metric)
    if percentile:
        name = percentile.group(1)
        part = getattr(row, _PARTS[name]) if name in _PARTS else row
        series: dict[str, Estimate] = getattr(part, _SERIES.get(name, f"{name}_s"), {})
        return series.get(f"p{percentile.group(2)}")
    return _FIGURES[objective.metric][1](row)


def percentile_of(objective: Objective) -> tuple[str, float] | None:
    """The series ("latency_s", "ttfb_s", "queue_s" …) and the level of a percentile that is bounded from above; else None."""
    percentile = _PERCENTILE.fullmatch(objective.metric)
    if percentile is None or objective.operator in (">", ">="):
        return None
    name = percentile.group(1)
    return _SERIES.get(name, f"{name}_s"), PERCENTILES[f"p{percentile.group(2)}"]


def judge(objective: Objective, row: SummaryRow, limit: LimitVerdict | None = None) -> Gate:
    """The objective judged on a row (see the module for when it passes, fails or is inconclusive).

    `limit` is `limit_share`'s verdict on the samples, where `percentile_of` says that the objective is one for it.
    """
    figure = observed(objective, row)
    if figure is None or (limit is not None and limit.n == 0):
        return _gate(objective, figure or Estimate(value=None, n=row.requests), "inconclusive", _missing(objective))
    if limit is not None:
        return _by_share(objective, figure, limit)
    if figure.low is None and figure.high is None:
        return _gate(objective, figure, "inconclusive", f"{figure.n} samples are too few for a 95 % interval")
    low = -math.inf if figure.low is None else figure.low
    high = math.inf if figure.high is None else figure.high  # beyond the longest sample
    worst, best = (low, high) if objective.operator in (">", ">=") else (high, low)
    if objective.keeps(worst):
        return _gate(objective, figure, "pass")
    if not objective.keeps(best):
        return _gate(objective, figure, "fail", "the whole 95 % interval is beyond the threshold")
    unknown = "its upper end is not known" if figure.high is None else "the 95 % interval holds the threshold"
    more = _more(objective, figure)
    decides = "" if more is None else f"; about {_round(more):,} more would decide it"
    return _gate(objective, figure, "inconclusive", f"{unknown} (n = {figure.n}){decides}", more)


def counted(row: SummaryRow) -> list[Gate]:
    """The row's gates as they count: where the measurement itself is in doubt (the generator was late, or every request was refused, so
    that what was asked for was wrong), the row is inconclusive and none of them fails it."""
    if row.outcome != "inconclusive":
        return row.gates
    why = f"; not counted, because {(row.note or 'the measurement is in doubt').partition(';')[0]}"
    return [
        msgspec.structs.replace(gate, verdict="inconclusive", detail=gate.detail + why) if gate.verdict == "fail" else gate
        for gate in row.gates
    ]


def _more(objective: Objective, figure: Estimate) -> int | None:
    """Further requests that would decide a share, were as many of them hits and as alike; None for what is no share, and where none would."""
    from testcard.harness.statistics.limit_share import MOST
    from testcard.harness.statistics.rates import wilson, wilson_worth

    if objective.metric not in SHARES or figure.value is None or not figure.n:
        return None
    share, effect = figure.value, figure.n / wilson_worth(figure)

    def decides(n: int) -> bool:
        ends = wilson(share * n, n, worth=n / effect)
        return objective.keeps(ends.low or 0.0) == objective.keeps(1.0 if ends.high is None else ends.high)

    low, high = figure.n, MOST
    if not decides(high):
        return None
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high - figure.n


def _gate(
    objective: Objective, figure: Estimate, verdict: Literal["pass", "fail", "inconclusive"], detail: str = "", more: int | None = None
) -> Gate:
    return Gate(expression=objective.expression, observed=figure, verdict=verdict, detail=detail, more_requests=more)


def _by_share(objective: Objective, figure: Estimate, limit: LimitVerdict) -> Gate:
    verdict: Literal["pass", "fail", "inconclusive"] = (
        "pass" if limit.verdict == "holds" else "fail" if limit.verdict == "breaks" else "inconclusive"
    )
    may, share = f"{100 * limit.allowed:.3g} %", limit.share
    took = f"{limit.over} of {limit.n} took longer"
    if limit.over and share.value is not None:
        took += f" ({_percent(share.value)} %)"
    if verdict == "inconclusive":
        more = limit.more
        decides = "no number of requests like these would decide it" if more is None else f"about {_round(more):,} more would decide it"
        low, high = (_percent(end) for end in (share.low or 0.0, 1.0 if share.high is None else share.high))
        detail = f"{took}, which says {low} to {high} %, and {may} may; {decides}"
    else:
        detail = f"{took}, surely {'less' if verdict == 'pass' else 'more'} than the {may} that may"
    return Gate(
        expression=objective.expression,
        observed=figure,
        verdict=verdict,
        detail=detail,
        over_share=share,
        more_requests=limit.more,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _round(number: int) -> int:
    """Up, to two digits: no more is known of it."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return int(-(-number // step) * step)


def _missing(objective: Objective) -> str:
    return "no price is known" if objective.metric.startswith("usd_") or objective.metric == "wasted" else "nothing was measured"


def _limited(row: SummaryRow) -> Estimate | None:
    from testcard.harness.statistics.rates import wilson  # numpy: not for whoever only reads an objective, as a configuration does

    return row.rate_limits.share if row.rate_limits is not None else wilson(0, row.requests)


def _complement(rate: Estimate | None) -> Estimate | None:
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return rate
    return Estimate(value=1.0 - rate.value, low=1.0 - rate.high, high=1.0 - rate.low, n=rate.n)


def _point(value: float, n: int) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=n)
