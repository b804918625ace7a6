"""What if: what other numbers of images a month would cost at the prices and with the waste that were measured."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.runs.records import Estimate
from testcard.harness.text.words import DOLLARS, Unit
from testcard.reports.content.comparison import Comparison
from testcard.reports.content.measures import scaled
from testcard.reports.figures.drawing import Table

DELIVERED, GOOD = "images delivered, good or not", "good images, waste included"
ORIGINS = {"config": "configured"}
#: Images a month.
VOLUMES = (1_000, 10_000, 100_000, 1_000_000)
NOTE = (
    "Cost for one image times the number of images, with its interval: every kind of price that Testcard knows is linear in volume. "
    "Volume discounts, free tiers and minimum fees are not in the price model, so none is applied; where a provider has some, its bill differs. "
    "A figure without an interval came out the same in every round."
)


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

    def at(self, images: int) -> str:
        """The cost of so many images with its interval, in US dollars."""
        estimate = scaled(self.each, float(images))
        if estimate is None or estimate.value is None:
            return self.absent
        spread, text = DOLLARS.interval(estimate), DOLLARS.text(estimate.value)
        return text if spread in ("", f"{text}–{text}") else f"{text} [{spread}]"


def forecasts(comparison: Comparison) -> list[Forecast]:
    """Two lines for each target, model and operation that delivers pictures, at the stage compared: all images, and good ones with
    the waste beside them. Without a price one line that says so."""
    found = []
    for series in comparison.compared:
        row = series.row
        if row.ok and not row.images_per_s:
            continue  # words, not pictures
        origin = ORIGINS.get(series.party.target.prices, series.party.target.prices)
        each = row.money.cost_usd_per_delivered_image if row.money is not None else row.cost_usd_per_image
        if each is None or each.value is None:
            found.append(Forecast(series.label, row.model or "", DELIVERED, None, "no price" if row.ok else "nothing delivered", "none"))
            continue
        good = scaled(row.cost_usd_per_1000_good_images, 1 / 1000)
        found.append(Forecast(series.label, row.model or "", DELIVERED, each, "no price", origin))
        found.append(Forecast(series.label, row.model or "", GOOD, good, "no good image", origin, again=True))
    return found


def table(lines: list[Forecast]) -> Table:
    """The lines at every volume, for Markdown."""
    body = tuple((line.target, line.origin, line.what, *map(line.at, VOLUMES), _n(line)) for line in lines)
    return Table(("target", "price", "USD for", *(f"{volume:,} a month" for volume in VOLUMES), "n"), body)


def _n(line: Forecast) -> str:
    return f"{line.each.n:,}" if line.each is not None else Unit("", 1.0).text(None)
