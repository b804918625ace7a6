"""The result on stdout: a table of rows (on a narrow terminal, lines for each row), the gates, where the run is.

Under it, what a row holds beside its line: pictures, money, streams, tasks, rate limits, steadiness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from testcard.harness.runs.records import Estimate, Gate, Summary, SummaryRow
from testcard.harness.statistics.slo import counted, parse
from testcard.harness.statistics.steadiness import sentence as spells_sentence
from testcard.harness.text.words import DOLLARS, GLYPHS, NONE, is_unsure, one_line, significant, time_span


def spread(estimate: Estimate | None, *, factor: float = 1.0, unit: str = "") -> str:
    """A figure with its interval, such as `12 % [9.1, 15]`, `≈1.2 [0.9, ?]` where that is wide or open, `≥30` among timeouts; "–" where
    there is none."""
    if estimate is None or (estimate.value is None and estimate.low is None):
        return "–"
    if estimate.value is None or estimate.at_least:  # runs of before 2026-12 have only the lower end
        return f"≥{significant(((estimate.value if estimate.value is not None else estimate.low) or 0.0) * factor)}{unit}"
    text = f"{'≈' if is_unsure(estimate) else ''}{significant(estimate.value * factor)}{unit}"
    ends = ["?" if end is None else significant(end * factor) for end in (estimate.low, estimate.high)]
    if ends == ["?", "?"] or set(ends) == {significant(estimate.value * factor)}:  # no interval, or none that shows
        return text
    return f"{text} [{', '.join(ends)}]"


def percent(estimate: Estimate | None) -> str:
    """A share in percent with its interval."""
    return spread(estimate, factor=100.0, unit=" %")


def details(row: SummaryRow) -> Iterator[tuple[str, str]]:
    """Heading and sentence of every part that the row has; n where it is not the row's own."""
    delivery, money = row.delivery, row.money
    if row.latency_spread is not None:
        each = row.latency_spread
        least = "≥" if each.at_least else ""
        sd = "" if each.sd is None else f", standard deviation {significant(each.sd)}"
        yield (
            "all latencies s",
            f"mean {least}{significant(each.mean)}, least {significant(each.min)}, longest {least}{significant(each.max)}{sd}",
        )
    if row.spells and row.spells_over_s is not None:
        yield "spells", spells_sentence(row.spells, over=time_span(row.spells_over_s))
    if delivery is not None and delivery.delivered_images_per_s.value:
        came, valid = delivery.delivered_images_per_s, delivery.valid_images_per_s
        yield "pictures/s", f"{spread(valid)} valid, {spread(came)} delivered"
        yield (
            "megapixels/s",
            f"{spread(delivery.valid_megapixels_per_s)} valid, {spread(delivery.delivered_megapixels_per_s)} delivered",
        )
    if row.invalid_pictures:
        yield "invalid", ", ".join(f"{count} {flaw}" for flaw, count in row.invalid_pictures.items())
    if money is not None:
        wasted = (
            f"{percent(money.wasted_share)} of it wasted on {money.wasted_requests} requests" if money.wasted_usd else "none of it wasted"
        )
        parts = [f"${significant(money.spent_usd)} spent", wasted]
        if money.cost_usd_per_megapixel is not None:
            parts.append(f"${spread(money.cost_usd_per_megapixel)} a megapixel")
        if row.cost_usd_per_1000_good_images is not None:
            parts.append(f"${spread(row.cost_usd_per_1000_good_images)} for 1,000 good images")
        yield "money", ", ".join(parts)
    if delivery is not None and delivery.tokens_per_s is not None:
        yield "tokens/s", spread(delivery.tokens_per_s)
    if row.stream is not None:
        if row.stream.of == "pictures":
            yield "first preview s", _times(row.stream.first_token_s)
        else:
            yield "first token s", _times(row.stream.first_token_s)
            yield "inter-token s", _times(row.stream.inter_token_s)
    if row.tasks is not None:
        if any(each.n for each in row.tasks.queue_s.values()):
            yield "queue s", _times(row.tasks.queue_s)
            yield "generation s", _times(row.tasks.generation_s)
        if row.tasks.unseen:
            yield "tasks", f"{row.tasks.unseen} were done at the first poll that did not call them waiting: their queue is not known"
        if step := row.asked.get("poll_s"):
            yield "exact to", f"{one_line(step)} s, the time between polls"
    if row.rate_limits is not None:
        yield "rate limits", _limits(row)
    if row.steadiness is not None and row.steadiness.verdict != "unknown":
        yield row.steadiness.verdict, row.steadiness.detail


def _times(percentiles: Mapping[str, Estimate]) -> str:
    shown = [f"{name} {spread(percentiles[name])}" for name in _PERCENTILES if name in percentiles]
    n = max((each.n for each in percentiles.values()), default=0)
    return f"{', '.join(shown)}, n = {n}"


def _limits(row: SummaryRow) -> str:
    limits = row.rate_limits
    assert limits is not None
    parts = [f"{percent(limits.share)} got 429", f"Retry-After in {percent(limits.retry_after_given)} of them"]
    if limits.retry_after_s:
        ends = [significant(limits.retry_after_s[name].value) for name in ("shortest", "longest")]
        parts.append(f"asking for {ends[0]} to {ends[1]} s")
    if limits.refused_early is not None:
        parts.append(f"sent earlier: {percent(limits.refused_early)} refused again (n = {limits.refused_early.n})")
    if limits.accepted_after is not None:
        parts.append(f"first after the wait: {percent(limits.accepted_after)} accepted (n = {limits.accepted_after.n})")
    return ", ".join(parts)


#: Columns of a terminal from which on a table is tried; where its names or intervals would have to be broken, lines say the same.
_ROOM = 170
_BOUNDLESS = 10_000
_PERCENTILES = ("p50", "p90", "p95", "p99")
_COLUMNS = ("offered/s", "achieved/s", *(f"{name} s" for name in _PERCENTILES), "goodput/s", "errors", "price an image", "n")
_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


def _dollars(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "no price"
    return DOLLARS.said(estimate.value)


def render(summary: Summary, console: Console, *, illustrative: bool, folder: Path) -> None:
    """Prints the rows, the gates that did not pass, and the run's folder."""
    table = _table(summary)
    wide = console.width >= _ROOM and console.measure(table, options=console.options.update(width=_BOUNDLESS)).maximum <= console.width
    if wide:
        console.print(table)
    for row in summary.rows:
        found = list(details(row)) if wide else [*_lines(row), *details(row)]
        if found:
            outcome = ("", "") if wide else (f"  {_outcome(row.outcome)}", _STYLES.get(row.outcome, ""))
            console.print(Text.assemble((_name(row), "bold"), (f"  {asked}", "dim") if (asked := _asked(row)) else "", outcome))
            for heading, said in found:
                console.print(Text(f"  {heading}: {said}"))
    for row in summary.rows:
        if row.note:
            console.print(Text(f"{row.provider} {row.operation} {row.stage}: {row.note}", style="yellow"))
        for gate in counted(row):
            if gate.verdict != "pass":
                console.print(_gate_line(row, gate))
    gates = [gate for row in summary.rows for gate in row.gates]
    if gates and all(gate.verdict == "pass" for gate in gates):
        console.print(f"gates: {', '.join(dict.fromkeys(gate.expression for gate in gates))}: all passed", markup=False)
    console.print(
        "latency counts from the scheduled start; [low, high] is a 95 % interval, ≈ a wide one or one without an upper end (?)",
        markup=False,
    )
    if illustrative:
        console.print("prices are illustrative: they were made up for runs against the mocks")
    console.print(f"run: {folder}", soft_wrap=True, markup=False)


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("provider", "model", "operation", "stage"):
        table.add_column(name, overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("outcome")
    for row in summary.rows:
        names = (row.provider, row.model or "–", row.operation, row.stage)
        table.add_row(*names, *_cells(row), Text(_outcome(row.outcome), style=_STYLES.get(row.outcome, "")))
    return table


def _outcome(word: str) -> str:
    """A verdict's word behind the glyph that it has everywhere."""
    return f"{GLYPHS[word]} {word}" if word in GLYPHS else word


def _lines(row: SummaryRow) -> list[tuple[str, str]]:
    """The row's cells in lines of words, for a terminal too narrow for the table."""
    cells = dict(zip(_COLUMNS, _cells(row), strict=True))
    times = ", ".join(f"{name} {cells[f'{name} s']}" for name in _PERCENTILES)
    rate = f"{cells['achieved/s']} achieved" + (f" of {cells['offered/s']} offered" if row.offered_rps is not None else "")
    return [
        ("latency s", times),
        ("requests/s", f"{rate}, goodput {cells['goodput/s']}"),
        ("requests", f"{cells['n']}, errors {cells['errors']}{_each(cells['price an image'])}"),
    ]


def _each(price: str) -> str:
    """What an image costs, as the end of a sentence; nothing where a row has no images."""
    return "" if price == NONE else f", {price} of an image" if price.startswith("no ") else f", price an image {price}"


def _cells(row: SummaryRow) -> list[str]:
    """What `_COLUMNS` name, in words."""
    errors = ", ".join(f"{count} {name}" for name, count in row.errors.items()) or "0"
    cost = row.cost_usd_per_image
    if cost is not None and cost.value is None:
        cost = None
    return [
        "–" if row.offered_rps is None else significant(row.offered_rps),
        significant(row.achieved_rps),
        *(spread(row.latency_s.get(name)) for name in _PERCENTILES),
        significant(row.goodput_rps),
        errors,
        _dollars(cost) if row.images_per_s or cost else "–",
        str(row.requests),
    ]


def _name(row: SummaryRow) -> str:
    return " ".join(part for part in (row.provider, row.model, row.operation, row.stage) if part)


def _asked(row: SummaryRow) -> str:
    """What its requests asked for, for only rows that are alike in it are compared: "generate · 1024×1024 · quality high"."""
    said = {"task": "{}", "size": "{}", "n": "{} pictures a request", "quality": "quality {}", "steps": "steps {}", "delivery": "{}"}
    return " · ".join(form.format(one_line(row.asked[name])) for name, form in said.items() if name in row.asked)


def _gate_line(row: SummaryRow, gate: Gate) -> Text:
    place = _name(row)
    unit = parse(gate.expression).unit
    observed = spread(gate.observed, factor=unit.factor, unit="" if unit.before else f" {unit.name}")
    if unit.before and observed != NONE:
        observed = f"{unit.name}{observed}"
    return Text(f"{_outcome(gate.verdict)}: {gate.expression} on {place}: observed {observed}. {gate.detail}", style=_STYLES[gate.verdict])
