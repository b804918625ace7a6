"""The answer to paste: for each group of rows that are alike, which target, by how much, at what price, and what is not settled."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.runs.folder import RunReader
from testcard.harness.statistics import slo
from testcard.harness.statistics.ranking import TargetPair, ranks
from testcard.harness.text.words import DOLLARS, clean, count, listing, shortened, significant, time_span
from testcard.reports.content.comparison import ComparisonRow, ComparisonTable, compared
from testcard.reports.content.evidence import Evidence, Series, gather
from testcard.reports.content.exhibits import AnswerText
from testcard.reports.content.ranks import pairs_of

#: So many sentences of ratios and of ties a group; the comparison holds them all.
MOST = 4


def answered(evidence: Evidence, comparison: ComparisonTable) -> AnswerText:
    """The answer that the measured rows give; empty where nothing was measured. Ratios stay within a group, whatever else is known."""
    groups: dict[str, list[ComparisonRow]] = {}
    for row in comparison.rows:
        if row.series is not None and not row.further and row.series.bench not in evidence.searches:
            groups.setdefault(row.group, []).append(row)
    paragraphs, ratios = _searched(evidence), []
    for group, rows in groups.items():
        series = [row.series for row in rows if row.series is not None]
        pairs = pairs_of(evidence, series) if len(series) > 1 else []
        names = [each.label for each in series]
        ratios += [(group, _sentence(names, pair)) for pair in pairs]
        paragraphs.append(_paragraph(group, series, names, pairs))
    if len(groups) > 1:
        paragraphs.append("Targets of different groups were asked for different things and are not ranked against each other.")
    if paragraphs:
        paragraphs.append(_confidence(evidence, comparison))
    return AnswerText(paragraphs, ratios)


def _searched(evidence: Evidence) -> list[str]:
    """What searches for the highest rate found; their stages are there to break, and no answer."""
    said = []
    for bench, search in evidence.searches.items():
        for found in search.results:
            rows = [each for each in evidence.series if each.bench == bench and each.row.target in (found.target, None)]
            rows = [each for each in rows if (each.row.operation, each.row.model) == (found.operation, found.model)]
            asked = next((" · ".join(each.row.asked[key] for key in ("task", "size") if key in each.row.asked) for each in rows), "")
            what = " · ".join(clean(part) for part in (asked, found.operation, *search.slo) if part)
            said.append(f"{what}: {rows[0].label if rows else clean(found.provider)} {clean(found.sentence)}.")
    return said


def answer_of(run: RunReader) -> AnswerText:
    """The answer that one run gives by itself."""
    evidence = gather([run])
    return answered(evidence, compared(evidence))


def _paragraph(group: str, rows: Sequence[Series], names: Sequence[str], pairs: Sequence[TargetPair]) -> str:
    said = [_speed(rows, names, pairs), *_failures(rows, names), _price(rows, names), _trouble(rows, names), _open(names, pairs)]
    return f"{group}: " + " ".join(part for part in said if part)


def _speed(rows: Sequence[Series], names: Sequence[str], pairs: Sequence[TargetPair]) -> str:
    known = [place for place, row in enumerate(rows) if _p50(row) is not None]
    if not known:
        return ""
    if len(rows) == 1:
        return f"{names[0]} takes {_seconds(rows[0])}."
    places = ranks(len(rows), pairs)
    first = [place for place in known if places[place] == 1]
    if not first:
        return "which is faster cannot be said: " + "; ".join(f"{names[place]} takes {_seconds(rows[place])}" for place in known) + "."
    if len(first) == len(known) and len(known) > 1:
        return f"no target is surely faster than another ({listing([f'{names[place]} {_seconds(rows[place])}' for place in known])})."
    lead = first[0] if len(first) == 1 else min(first, key=lambda place: _p50(rows[place]) or 0.0)
    said = (
        f"{names[lead]} is fastest ({_seconds(rows[lead])})"
        if len(first) == 1
        else f"{listing([names[place] for place in first])} share the first place ({_seconds(rows[lead])} for {names[lead]})"
    )
    behind = [_faster(pair, lead, names) for pair in pairs if pair.differs and lead in (pair.one, pair.other)]
    behind = [text for text in behind if text]
    return said + (f", {'; '.join(behind[:MOST])}" if behind else "") + "."


def _failures(rows: Sequence[Series], names: Sequence[str]) -> list[str]:
    """Who delivered too little for a median, and whose requests fail too often for its speed to count."""
    said = []
    for name, series in zip(names, rows, strict=True):
        row = series.row
        kinds = ", ".join(f"{number:,} {clean(kind)}" for kind, number in row.errors.items())
        if _p50(series) is None:
            share = f"{row.ok or 'none'} of {count(row.requests, 'request')}"
            end = ", too few for a median" if row.ok else ""
            if not row.ok and row.outcome == "inconclusive" and row.note:  # in the server's own words
                end = f": {shortened(clean(row.note.partition(';')[0]), 200)}"
            said.append(f"{name} delivered what was asked for in {share}{f' ({kinds})' if kinds else ''}{end}.")
        elif series.fails and kinds:
            said.append(f"{name} fails {sum(row.errors.values()):,} of {count(row.requests, 'request')} ({kinds}).")
    return said


def _faster(pair: TargetPair, lead: int, names: Sequence[str]) -> str:
    """How much faster the leader is than the other of the pair: "22 % faster than A [5 to 36 %]"."""
    ratio = pair.ratio
    if ratio.value is None or (ratio.value < 1.0) == (pair.one == lead):  # the other one is the faster
        return ""
    return f"{_gain(pair, lead)} faster than {names[pair.other if pair.one == lead else pair.one]} {_interval(pair, lead)}".rstrip()


def _share(pair: TargetPair, lead: int, factor: float | None) -> float | None:
    """By what share the leader's times are below the other's, of a factor that says `other` over `one`."""
    if factor is None or factor <= 0.0:
        return None
    return 1.0 - (1.0 / factor if pair.one == lead else factor)


def _gain(pair: TargetPair, lead: int) -> str:
    share = _share(pair, lead, pair.ratio.value)
    return "surely" if share is None else f"{100 * share:.0f} %"


def _interval(pair: TargetPair, lead: int) -> str:
    ends = [_share(pair, lead, end) for end in (pair.ratio.low, pair.ratio.high)]
    low, high = ends if pair.one == lead else ends[::-1]
    words = [f"{100 * end:.0f}" if end is not None else "?" for end in (low, high)]
    return f"[{words[0]} to {words[1]} %]"


def _sentence(names: Sequence[str], pair: TargetPair) -> str:
    """What the pair says: surely faster by so much, or what cannot be told apart, or why nothing is said."""
    one, other = names[pair.one], names[pair.other]
    if pair.p is None or pair.ratio.value is None:
        return f"{one} and {other} are not compared: {pair.reason or 'too few answers'}."
    lead = pair.one if pair.ratio.value >= 1.0 else pair.other
    rest = pair.other if lead == pair.one else pair.one
    if pair.differs:
        return f"{names[lead]} is {_gain(pair, lead)} faster than {names[rest]} {_interval(pair, lead)}."
    return f"{names[lead]} and {names[rest]} cannot be told apart: {_gain(pair, lead)} faster {_interval(pair, lead)}."


def _price(rows: Sequence[Series], names: Sequence[str]) -> str:
    priced = [(cost.value, place) for place, row in enumerate(rows) if (cost := row.row.cost_usd_per_1000_good_images) and cost.value]
    if not priced:
        return ""
    priced.sort()
    said = [f"{names[place]} {DOLLARS.said(usd)}{_megapixel(rows[place])}" for usd, place in priced]
    illustrative = " (illustrative prices)" if any(rows[place].party.target.prices == "illustrative" for _, place in priced) else ""
    return f"1,000 good pictures cost{illustrative}: {listing(said)}."


def _megapixel(series: Series) -> str:
    money = series.row.money
    each = money.cost_usd_per_megapixel if money is not None else None
    return f" ({DOLLARS.said(each.value)} a megapixel)" if each is not None and each.value is not None else ""


def _trouble(rows: Sequence[Series], names: Sequence[str]) -> str:
    """What objectives are missed or left undecided, each with all of whom that is said."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, series in zip(names, rows, strict=True):
        for verdict in ("fail", "inconclusive"):
            open_ones = [gate.expression for gate in slo.counted(series.row) if gate.verdict == verdict]
            if open_ones:
                found.setdefault((verdict, listing(open_ones, 3)), []).append(name)
    said = []
    for (verdict, what), whom in found.items():
        all_of_them = 2 < len(whom) == len(names)
        who, one = "every target" if all_of_them else listing(whom), all_of_them or len(whom) == 1
        if verdict == "fail":
            said.append(f"{who} {'misses' if one else 'miss'} {what}")
        else:
            said.append(f"{who} {'leaves' if one else 'leave'} {what} undecided")
    text = "; ".join(said)
    return f"{text.replace('every', 'Every', 1) if text.startswith('every') else text}." if said else ""


def _open(names: Sequence[str], pairs: Sequence[TargetPair]) -> str:
    unsettled = [f"{names[pair.one]} against {names[pair.other]}" for pair in pairs if not pair.differs]
    return f"Not settled: {listing(unsettled, MOST)}." if unsettled and len(unsettled) < len(pairs) else ""


def _confidence(evidence: Evidence, comparison: ComparisonTable) -> str:
    counted = [series for series in evidence.series if series.bench in evidence.searches]
    counted += [series for series in comparison.compared if series.bench not in evidence.searches]
    requests = sum(series.row.requests for series in counted)
    rounds = min(series.row.rounds for series in comparison.compared)
    spans = []
    for frame in evidence.frames:
        at = frame["done_s"].dropna()
        spans += [float(at.max() - frame["scheduled_s"].min())] if len(at) else []
    regions = sorted({run.run.region for run in evidence.runs if run.run.region})
    where = f", sent from {listing(regions)}" if regions else ""
    mock = ", against mocks" if any(series.party.target.mock for series in comparison.compared) else ""
    over = f" over {time_span(sum(spans))}" if spans else ""
    return f"Measured on {count(requests, 'request')} in {count(rounds, 'round')}{over}{where}{mock}; brackets are 95 % intervals."


def _p50(series: Series) -> float | None:
    estimate = series.row.latency_s.get("p50")
    return None if estimate is None else estimate.value


def _seconds(series: Series) -> str:
    estimate = series.row.latency_s.get("p50")
    if estimate is None or estimate.value is None:
        return "no p50"
    least = "≥ " if estimate.at_least else ""
    return f"p50 {least}{significant(estimate.value)} s"
