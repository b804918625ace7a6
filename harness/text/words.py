"""How numbers, intervals, lists, verdicts and what strangers wrote are put down, the same in every table, caption and file for people.

Prices in a few words, for tables that people read.
"""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from testcard.harness.runs.records import SEVERITY, Estimate, Waived, WaiverNote
from testcard.specs.prices import Grid, PerImage, PerMegapixel, PerSteps, PerTier, PerToken, Price

#: What stands before a figure whose interval is wide or open; the space does not break.
UNSURE = "≈\u00a0"
#: What stands where there is no number.
NONE = "–"
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
_SPANS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, thousands separated, never an exponent: 0.412, 0.500, 12.3, 1,230.

    Trailing zeros are kept, so that columns of numbers line up in precision; NONE where there is no finite number.
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value)) + 1e-9), 0)
    return f"{round(value, places):,.{places}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """As `fixed` without trailing zeros, for prose and axes: 0.5, 2, 12.3."""
    text = fixed(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float, places: int = 0) -> str:
    """A share in percent: 40 %, 97.5 %."""
    return f"{100 * share:.{places}f} %"


def data_size(count: int) -> str:
    """A number of bytes in B, kB or MB (powers of 1,000): 512 B, 12.3 kB, 1.4 MB."""
    return f"{count:,} B" if count < 1000 else f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"


def time_span(seconds: float) -> str:
    """A length of time, whatever its sign, in the unit that suits it: "12 µs", "4.2 ms", "1.5 hours", "7 days"."""
    if seconds == 0:
        return "0 s"
    size, unit = next(((size, unit) for size, unit in _SPANS if abs(seconds) >= size), _SPANS[-1])
    number = significant(abs(seconds) / size)
    return f"{number} {unit.removesuffix('s') if number == '1' and len(unit) > len('ms') else unit}"


def seconds_of(text: str) -> float | None:
    """The seconds of a length of time as people write it (`90`, `60s`, `2m`, `1h`); None for what is none, and for no time at all."""
    found = _TIME.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS.get(found[2], 0.0) if found is not None else 0.0
    return seconds or None


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to show a quantity in: `factor` times the recorded value. One that stands `before` its number, as $ does, is money:
    written without trailing zeros, as prices are."""

    name: str
    factor: float
    before: bool = False

    def text(self, value: float | None) -> str:
        """The value in this unit, without the unit's name."""
        shown = None if value is None else value * self.factor
        return significant(shown) if self.before else fixed(shown)

    def said(self, value: float | None) -> str:
        """The value with its unit: "12.3 ms", "$0.014"; NONE where there is no number."""
        text = self.text(value)
        return text if text == NONE else self._named(text)

    def interval(self, estimate: Estimate | None) -> str:
        """The interval in this unit: "0.39–0.43", "≥ 0.39" where the upper end is not known (timeouts), empty where neither is."""
        if estimate is None or (estimate.low is None and estimate.high is None):
            return ""
        if estimate.high is None:
            return f"≥\u00a0{self.text(estimate.low)}"
        return f"≤\u00a0{self.text(estimate.high)}" if estimate.low is None else f"{self.text(estimate.low)}–{self.text(estimate.high)}"

    def value(self, estimate: Estimate | None) -> str:
        """The figure in this unit, marked by how sure it is: "0.41", "≈ 0.41" (a wide interval, or one without an upper end),
        "≥ 30" (it lies among timeouts)."""
        return "".join(self._marked(estimate))

    def bare(self, estimate: Estimate | None) -> str:
        """Value and interval without the unit, which a heading names. An interval that shows the value alone is left out."""
        text, spread = self.value(estimate), self.interval(estimate)
        if estimate is None or estimate.value is None or estimate.at_least or spread in ("", f"{text}–{text}"):
            return text
        return f"{text} [{spread}]"

    def full(self, estimate: Estimate | None) -> str:
        """Value, unit and interval in one string."""
        mark, number = self._marked(estimate)
        if estimate is None or number == NONE:
            return NONE
        said = f"{mark}{self._named(number)}"
        text, spread = self.text(estimate.value), self.interval(estimate)
        if estimate.value is None or estimate.at_least or spread in ("", f"{text}–{text}"):
            return said
        return f"{said} [{spread}]"

    def _named(self, number: str) -> str:
        return f"{self.name}{number}" if self.before else f"{number} {self.name}".rstrip()

    def _marked(self, estimate: Estimate | None) -> tuple[str, str]:
        """How sure the figure is, and the figure."""
        if estimate is None or (estimate.value is None and estimate.low is None):
            return "", NONE
        if estimate.value is None or estimate.at_least:  # runs of before 2026-12 have only the lower end
            return "≥\u00a0", self.text(estimate.low if estimate.value is None else estimate.value)
        return UNSURE if is_unsure(estimate) else "", self.text(estimate.value)


def is_unsure(estimate: Estimate) -> bool:
    """Whether a percentile's interval is wide or has no upper end: then it is drawn open and written with ≈."""
    return estimate.quality in ("wide", "lower-bound")


SECONDS = Unit("s", 1.0)
MILLISECONDS = Unit("ms", 1000.0)
PERCENT = Unit("%", 100.0)
PER_SECOND = Unit("/s", 1.0)
DOLLARS = Unit("$", 1.0, before=True)


def time_unit(longest_s: float | None) -> Unit:
    """The unit for all latencies of a report: milliseconds where the longest shown is under 2 s, else seconds."""
    return MILLISECONDS if longest_s is not None and longest_s < 2.0 else SECONDS


def listing(parts: Sequence[str], limit: int = 6) -> str:
    """Parts as prose: "a", "a and b", "a, b and 3 more"."""
    shown = list(parts[:limit])
    if len(parts) > limit:
        shown.append(f"{len(parts) - limit} more")
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 rule", "3 rules"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def clean(text: str) -> str:
    """Text of a stranger with control characters made visible: no terminal, XML parser or spreadsheet has to meet them."""
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same on one line, for a terminal, where a carriage return would write over what stands there."""
    return clean(text.replace("\r\n", " ").replace("\n", " ").replace("\r", " "))


def wrapped(text: str, stream: IO[str]) -> str:
    """The text, its lines broken between words where the stream is a terminal, with their indent; elsewhere as it is.

    Not for what is to be copied and run: a command in two lines is another one.
    """
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def shortened(text: str, limit: int) -> str:
    """The text in at most `limit` characters, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


#: One character for each verdict, the same on a terminal and in a report; no two are alike, for those who see no colour.
GLYPHS = {
    "pass": "✓",
    "fail": "✗",
    "deviates": "≈",
    "info": "i",
    "unsupported": "–",
    "unproven": "?",
    "not-run": "○",
    "waived": "⊘",
    "inconclusive": "?",
}

MEANINGS = {
    "pass": "the promise was kept",
    "fail": "a must was broken",
    "deviates": "a should was broken",
    "info": "worth knowing, promised by nobody",
    "unsupported": "the contract does not offer this",
    "unproven": "the evidence does not allow a verdict",
    "not-run": "not tried (budget, or the run ended early)",
    "waived": "broken, and waived by the user",
}


def worst_word(words: Iterable[str]) -> str:
    """The verdict word that stands for several; `not-run` for none."""
    return min(words, key=SEVERITY.index, default="not-run")


def waiver_reason(waiver: Waived) -> str:
    """Until when, by whom and why a finding is waived."""
    return f"until {waiver.expires} by {waiver.owner}: {waiver.reason}"


def waiver_line(note: WaiverNote) -> str:
    """A waiver and what became of it in one sentence."""
    whom = note.rule + (f" on {note.operation}" if note.operation else "")
    return f"The waiver of {whom} {note.detail} ({note.owner}, until {note.expires}: {note.reason})."


def without_scheme(base_url: str) -> str:
    """Where a target is, as short as it can be said: host, port and path."""
    return base_url.partition("://")[2].rstrip("/") or base_url


def amount(usd: float) -> str:
    """An amount in dollars without trailing zeros, never in scientific notation: $0.004, $2, $0.0011."""
    return "$" + (f"{usd:.10f}".rstrip("0").rstrip(".") or "0")


def _span(amounts: list[float]) -> str:
    low, high = min(amounts), max(amounts)
    return amount(low) if low == high else f"{amount(low)} to {amount(high)}"


def in_words(price: Price) -> str:
    """The price in one line: what is counted, and the amount or the span of amounts."""
    words = _kind(price)
    if price.input_image_usd:
        words += f", {amount(price.input_image_usd)} per input picture"
    return words + (", also for failures" if price.billed_on == "always" else "")


def _kind(price: Price) -> str:
    match price:
        case PerImage():
            return f"{amount(price.usd_each)} a picture"
        case PerMegapixel():
            rounded = ", rounded up" if price.rounding == "up" else ""
            if price.first_usd is None or price.first_usd == price.usd_each:
                return f"{amount(price.usd_each)} a megapixel{rounded}"
            return f"{amount(price.first_usd)} for the first megapixel, {amount(price.usd_each)} for each further{rounded}"
        case Grid():
            return f"{_span([usd for row in price.usd_each.values() for usd in row.values()])} a picture, by quality and size"
        case PerTier():
            return f"{_span(list(price.usd_each.values()))} a picture, by resolution"
        case PerSteps():
            return f"{_span([tier.usd_each for tier in price.tiers])} a picture, by steps"
        case PerToken():
            image_in = f", {amount(price.image_in_usd)} for pictures in" if price.image_in_usd is not None else ""
            return f"{amount(price.text_in_usd)} in, {amount(price.out_usd)} out a million tokens{image_in}"
