"""Which price counts: the user's own for the model, the user's for every model, an adopted list price, an illustrative one, none."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcard.harness.config import PricesSection, load_config
from testcard.harness.pricing import Pricing
from testcard.specs.loader import load_provider
from testcard.specs.prices import Billable

TWO_CENTS = {"kind": "per-image", "usd_each": 0.02}
FIVE_CENTS = {"kind": "per-image", "usd_each": 0.05}


def pricing(*, mock: bool = False, **section: object) -> Pricing:
    return Pricing(load_provider("nanogpt"), mock, PricesSection.model_validate(section))


@pytest.mark.parametrize("model", ["hidream", "a-model-of-tomorrow", None])
def test_a_star_prices_every_model(model: str | None) -> None:
    """`"*"` holds for models of the profile, for others, and where no model is sent; also against a mock, before illustrative prices."""
    for mock in (False, True):
        price, origin = pricing(mock=mock, models={"*": TWO_CENTS}).look_up(model, "createImage")
        assert origin == "config"
        assert price is not None
        assert price.usd(Billable(images=3)) == pytest.approx(0.06)


def test_a_models_own_price_comes_before_the_star() -> None:
    """A price stated for a model wins; only the others take the one for every model."""
    both = pricing(models={"*": TWO_CENTS, "hidream": FIVE_CENTS})
    own, other = both.price("hidream", "createImage"), both.price("flux", "createImage")
    assert own is not None
    assert other is not None
    assert (own.usd(Billable(images=1)), other.usd(Billable(images=1))) == (0.05, 0.02)


def test_without_any_price_there_is_none() -> None:
    """Nothing stated, nothing adopted, a live target: no price, and the message names the key that would set one."""
    bare = pricing()
    assert bare.look_up("hidream", "createImage") == (None, "none")
    assert bare.missing_key(None) == '[prices.nanogpt.models] "*" in testcard.toml'


def test_the_key_that_messages_name_works_in_a_file(tmp_path: Path) -> None:
    """What `missing_key` tells the user to write, written as it says, sets the price."""
    file = tmp_path / "testcard.toml"
    file.write_text('[prices.nanogpt.models]\n"*" = { kind = "per-image", usd_each = 0.02 }\n', encoding="utf-8")
    section = load_config(file).prices["nanogpt"]
    price = Pricing(load_provider("nanogpt"), False, section).price(None, "createImage")
    assert price is not None
    assert price.usd(Billable(images=1)) == 0.02
