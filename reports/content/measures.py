"""Tables of what was measured beside latency: streams, async tasks, deliveries, steadiness, invalid pictures, rate limits, money;
and what other numbers of images a month would cost at the prices and with the waste that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from testcard.harness.runs.records import FLAWS, Delivery, Estimate, SummaryRow
from testcard.harness.text.words import DOLLARS, NONE, PER_SECOND, PERCENT, SECONDS, Unit, clean, time_unit
from testcard.reports.content.comparison import ComparisonTable, too_few
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.content.exhibits import Panel, Table

_PERCENTILES = ("p50", "p95", "p99")
ALL_IMAGES, GOOD_IMAGES = "images delivered, good or not", "good images, waste included"
ALL_GOOD = "images (all were good)"
ORIGINS = {"config": "configured"}
#: Images a month.
VOLUMES = (1_000, 10_000, 100_000, 1_000_000)
VOLUME_NOTE = (
    "Cost for one image times the number of images, with its interval: every kind of price that Testcard knows is linear in volume. "
    "Volume discounts, free tiers and minimum fees are not in the price model, so none is applied; where a provider has some, its bill differs. "
    "A figure without an interval came out the same in every round."
)


def panels(evidence: Evidence, comparison: ComparisonTable) -> dict[str, list[Panel]]:
    """The panels of each section, by its anchor; a section without any has no entry."""
    rows = sorted(evidence.series, key=lambda series: series.index)
    rows = [series for series in rows if series.row.requests]
    several = comparison.several_stages
    found = {
        "latency": [
            *_by_samples(evidence, rows, comparison.latency),
            _streams(rows, several),
            _previews(rows, several),
            _tasks(rows, several),
        ],
        "load": [_delivery(rows, several), _steadiness(rows, several)],
        "errors": [_flaws(rows, several), _limits(rows, several)],
        "cost": [_money(rows, several)],
    }
    return {
        anchor: kept
        for anchor, each in found.items()
        if (kept := [replace(panel, table=panel.table.filled) for panel in each if panel is not None])
    }


def _by_samples(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> list[Panel | None]:
    if not rows:
        return []
    from testcard.reports.content import varied  # pandas, which a check has no use for

    return [varied.by_size(evidence, rows, unit), varied.first_requests(evidence, rows, unit)]


def _head(several: bool) -> tuple[str, ...]:
    return ("target", "stage") if several else ("target",)


def _names(series: Series, several: bool) -> tuple[str, ...]:
    return (series.label, clean(series.row.stage)) if several else (series.label,)


def _streams(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.stream) for series in rows if series.row.stream is not None and series.row.stream.of == "text"]
    if not mine:
        return None
    unit = _unit([each for _, stream in mine for each in (stream.first_token_s, stream.inter_token_s)])
    body = [
        (
            *_names(series, several),
            *_times(stream.first_token_s, unit),
            *_times(stream.inter_token_s, unit),
            _bare(series.row.delivery.tokens_per_s if series.row.delivery else None, PER_SECOND),
            _n(stream.first_token_s),
        )
        for series, stream in mine
    ]
    spread = [f"{what} {name}, {unit.name}" for what in ("first token", "between tokens") for name in _PERCENTILES]
    header = (*_head(several), *spread, "tokens/s", "n")
    said = "How long a stream takes to its first piece of text, and from one token to the next. Lower is better."
    return Panel("streams", "Streams of text", said, Table(header, tuple(body)))


def _previews(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.stream) for series in rows if series.row.stream is not None and series.row.stream.of == "pictures"]
    if not mine:
        return None
    unit = _unit([stream.first_token_s for _, stream in mine])
    body = [(*_names(series, several), *_times(stream.first_token_s, unit), _n(stream.first_token_s)) for series, stream in mine]
    header = (*_head(several), *(f"first preview {name}, {unit.name}" for name in _PERCENTILES), "n")
    said = "How long a stream of pictures takes to its first preview. Lower is better."
    return Panel("previews", "Streams of pictures", said, Table(header, tuple(body)))


def _tasks(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.tasks) for series in rows if series.row.tasks is not None]
    if not mine:
        return None
    unit = _unit([each for _, tasks in mine for each in (tasks.queue_s, tasks.generation_s)])
    body = [
        (*_names(series, several), *_times(tasks.queue_s, unit), *_times(tasks.generation_s, unit), f"{tasks.unseen:,}", _n(tasks.queue_s))
        for series, tasks in mine
    ]
    spread = [f"{what} {name}, {unit.name}" for what in ("queue", "generation") for name in _PERCENTILES]
    steps = sorted({float(step) for series, _ in mine if (step := series.row.asked.get("poll_s"))})
    exact = f", {' to '.join(dict.fromkeys(f'{step:g}' for step in (steps[0], steps[-1])))} s at first" if steps else ""
    said = "How long accepted tasks wait for their turn, and how long they take then; these times, and the latency of a task, are only as "
    said += f"exact as the interval between polls{exact}. "
    said += "Not seen are tasks that were done at the first poll that did not call them waiting: they are in neither."
    return Panel("tasks", "Async tasks: waiting and generating", said, Table((*_head(several), *spread, "not seen", "n"), tuple(body)))


def _delivery(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.delivery) for series in rows if series.row.delivery is not None]
    if not mine:
        return None
    shown = [
        (series, delivery)
        for series, delivery in mine
        if delivery.delivered_images_per_s.value or (delivery.tokens_per_s is not None and delivery.tokens_per_s.value)
    ]
    tokens = any(delivery.tokens_per_s is not None for _, delivery in shown)
    body = [
        (
            *_names(series, several),
            _pictures(delivery, delivery.delivered_images_per_s),
            _pictures(delivery, delivery.valid_images_per_s),
            _pictures(delivery, delivery.delivered_megapixels_per_s),
            _pictures(delivery, delivery.valid_megapixels_per_s),
            *([_bare(delivery.tokens_per_s, PER_SECOND)] if tokens else []),
            f"{series.row.requests:,}",
        )
        for series, delivery in shown
    ]
    header = (
        *_head(several),
        "images/s delivered",
        "images/s valid",
        "MP/s delivered",
        "MP/s valid",
        *(["tokens/s"] if tokens else []),
        "n",
    )
    said = "Delivered is every picture that came; valid are those of requests that got what they asked for. Higher is better."
    return Panel("delivery", "Pictures and megapixels a second", said, Table(header, tuple(body))) if body else None


def _steadiness(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.steadiness) for series in rows if series.row.steadiness is not None]
    if not mine:
        return None
    body = [
        (
            *_names(series, several),
            "NOT STEADY" if steady.verdict in ("drifting", "settling") else steady.verdict,
            _change(steady.change),
            _change(steady.turn_change),
            clean(steady.detail),
            f"{steady.change.n:,}",
        )
        for series, steady in mine
    ]
    moving = [series.label for series, steady in mine if steady.verdict in ("drifting", "settling")]
    said = (
        f"{len(moving)} of {len(mine)} rows were not steady: their percentiles mix what was before with what was after. Nothing was trimmed."
        if moving
        else "No row was found to drift after its warm-up; “unknown” has too few independent answers to tell."
    )
    header = (*_head(several), "latency", "change over the stage", "change within a turn", "what was seen", "n")
    return Panel("steadiness", "Was latency steady?", said, Table(header, tuple(body)))


def _flaws(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [series for series in rows if series.row.invalid_pictures]
    if not mine:
        return None
    seen = {flaw for series in mine for flaw in series.row.invalid_pictures}
    kinds = [flaw for flaw in FLAWS if flaw in seen] + sorted(seen - set(FLAWS))
    body = [
        (
            *_names(series, several),
            *(f"{series.row.invalid_pictures.get(flaw, 0):,}" for flaw in kinds),
            f"{series.row.requests:,}",
        )
        for series in mine
    ]
    said = (
        "Requests that were answered with success and without the picture that was asked for. A duplicate was the answer to another request "
        "before, with another prompt or seed; equal requests may rightly get equal pictures, which are not counted."
    )
    return Panel("flaws", "What was wrong with pictures", said, Table((*_head(several), *map(clean, kinds), "n"), tuple(body)))


def _limits(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.rate_limits) for series in rows if series.row.rate_limits is not None]
    if not mine:
        return None
    body = []
    for series, limits in mine:
        waits = limits.retry_after_s
        body.append(
            (
                *_names(series, several),
                _full(limits.share, PERCENT),
                _counted(limits.retry_after_given),
                *(_full(waits.get(name), SECONDS) for name in ("p50", "p95")),
                f"{SECONDS.text(waits['shortest'].value)}–{SECONDS.text(waits['longest'].value)} s" if waits else NONE,
                _counted(limits.refused_early),
                _counted(limits.accepted_after),
                f"{series.row.requests:,}",
            )
        )
    waiting = [f"Retry-After {name}" for name in ("p50", "p95", "from–to")]
    header = (*_head(several), "got 429", "with Retry-After", *waiting, "sent earlier: refused", "first after it: accepted", "n")
    said = (
        "How often a target refuses what is too much, how long it asks to wait, and what became of the requests sent before and after that."
    )
    return Panel("limits", "Rate limits", said, Table(header, tuple(body)))


def _money(rows: Sequence[Series], several: bool) -> Panel | None:
    mine = [(series, series.row.money) for series in rows if series.row.money is not None]
    if not mine:
        return None
    body = [
        (
            *_names(series, several),
            series.party.target.prices,
            DOLLARS.text(money.spent_usd),
            _bare(series.row.cost_usd_per_image, DOLLARS),
            _bare(money.cost_usd_per_megapixel, DOLLARS),
            _bare(_each(series.row), DOLLARS),
            DOLLARS.text(money.wasted_usd),
            _full(money.wasted_share, PERCENT),
            f"{series.row.requests:,}",
        )
        for series, money in mine
    ]
    header = (*_head(several), "price", "spent", "per image", "per megapixel", "per good image", "wasted", "share wasted", "n")
    said = "In US dollars. Wasted is what was billed for requests that were not good: failed, invalid, or later than the SLO allows."
    return Panel("money", "What was spent, and what of it was wasted", said, Table(header, tuple(body)))


def _each(row: SummaryRow) -> Estimate | None:
    """The cost of one good image."""
    return scaled(row.cost_usd_per_1000_good_images, 1 / 1000)


def scaled(estimate: Estimate | None, factor: float) -> Estimate | None:
    """An estimate times a known number."""
    if estimate is None:
        return None

    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Estimate(value=times(estimate.value), low=times(estimate.low), high=times(estimate.high), n=estimate.n)


def _unit(series: Sequence[Mapping[str, Estimate]]) -> Unit:
    values = [each[name].value for each in series for name in _PERCENTILES if name in each]
    return time_unit(max((value for value in values if value is not None), default=None))


def _times(percentiles: Mapping[str, Estimate], unit: Unit) -> list[str]:
    found = []
    for name in _PERCENTILES:
        estimate = percentiles.get(name)
        if estimate is None or not estimate.n:
            found.append(NONE)
        elif estimate.value is None and estimate.low is None:
            found.append(too_few(name, estimate.n))
        else:
            found.append(_bare(estimate, unit))
    return found


def _n(percentiles: Mapping[str, Estimate]) -> str:
    return f"{max((estimate.n for estimate in percentiles.values()), default=0):,}"


def _full(estimate: Estimate | None, unit: Unit) -> str:
    return unit.full(estimate)


def _bare(estimate: Estimate | None, unit: Unit) -> str:
    """Value and interval without the unit, which the heading names."""
    return unit.bare(estimate)


def _pictures(delivery: Delivery, rate: Estimate) -> str:
    return _bare(rate, PER_SECOND) if delivery.delivered_images_per_s.value else NONE


def _change(estimate: Estimate | None) -> str:
    """A change with its sign, in percent: "+7 % [−12 to +31]"."""
    if estimate is None or estimate.value is None:
        return NONE
    ends = [estimate.low, estimate.high]
    spread = " to ".join(f"{end * 100:+.0f}" for end in ends if end is not None)
    return f"{estimate.value * 100:+.0f} % [{spread}]".replace("-", "\u2212")


def _counted(share: Estimate | None) -> str:
    """A share with its interval and its own n, which is not the row's."""
    if share is None or share.value is None:
        return NONE
    return f"{PERCENT.full(share)}, n = {share.n:,}"


# ── what other volumes would cost ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Forecast:
    """One line of the what-if: a target's cost of one image, delivered or good, or why there is none. `each` is for one image."""

    target: str
    model: str
    what: str
    each: Estimate | None
    absent: str
    origin: str
    again: bool = False  # the second line of its target

    @property
    def worth(self) -> tuple[str, ...]:
        """What it says at every volume."""
        return tuple(map(self.at, VOLUMES))

    def at(self, images: int) -> str:
        """The cost of so many images with its interval, in US dollars."""
        estimate = scaled(self.each, float(images))
        if estimate is None or estimate.value is None:
            return self.absent
        spread, text = DOLLARS.interval(estimate), DOLLARS.text(estimate.value)
        return text if spread in ("", f"{text}–{text}") else f"{text} [{spread}]"


def forecasts(comparison: ComparisonTable) -> list[Forecast]:
    """Two lines for each target, model and operation that delivers pictures, at the stage compared: all images, and good ones with
    the waste beside them; one line where these are the same, and one that says so without a price."""
    found = []
    for series in comparison.compared:
        row = series.row
        if row.ok and not row.images_per_s:
            continue  # words, not pictures
        origin = ORIGINS.get(series.party.target.prices, series.party.target.prices)
        each = row.money.cost_usd_per_delivered_image if row.money is not None else row.cost_usd_per_image
        if each is None or each.value is None:
            found.append(Forecast(series.label, row.model or "", ALL_IMAGES, None, "no price" if row.ok else "nothing delivered", "none"))
            continue
        good = scaled(row.cost_usd_per_1000_good_images, 1 / 1000)
        every = Forecast(series.label, row.model or "", ALL_IMAGES, each, "no price", origin)
        those = Forecast(series.label, row.model or "", GOOD_IMAGES, good, "no good image", origin, again=True)
        found += [replace(every, what=ALL_GOOD)] if every.worth == those.worth else [every, those]
    return found


def forecast_table(lines: list[Forecast]) -> Table:
    """The lines at every volume, for Markdown."""
    body = tuple((line.target, line.origin, line.what, *map(line.at, VOLUMES), _forecast_n(line)) for line in lines)
    return Table(("target", "price", "$ for", *(f"{volume:,} a month" for volume in VOLUMES), "n"), body)


def _forecast_n(line: Forecast) -> str:
    return f"{line.each.n:,}" if line.each is not None else Unit("", 1.0).text(None)
