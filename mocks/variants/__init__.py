"""Other ways to keep the contract, against which the check has to stay silent.

A provider's document leaves much open. The plain mock fills the gaps in one way, these fill them in others: `strict` refuses
whatever it may refuse, `generous` takes and sends whatever it may. A variant breaks no promise; the one thing `generous`
does against a convention is to read values of a wrong type (`"2"` for 2), which is its nature.

A variant is a set of hooks at the stages of `testcard.mocks.stages`. They come before those of faults, so that any variant can have
any fault. What happens on the wire below (order of headers, chunks) is the last part of `testcard.mocks.variants.generous`.
"""

from __future__ import annotations

from testcard.mocks.variants import generous, strict
from testcard.mocks.variants.variant import PLAIN, Variant
from testcard.specs.errors import UsageError

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in (strict.STRICT, generous.GENEROUS)}

__all__ = ["PLAIN", "VARIANTS", "Variant", "variant_named"]
del generous, strict


def variant_named(name: str) -> Variant:
    """The variant; `UsageError` naming those that exist when there is none of this name."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise UsageError(f"there is no variant {name}", hint=f"the variants are: {', '.join(VARIANTS)}") from None
