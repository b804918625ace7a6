"""Lies about seeds."""

from __future__ import annotations

import secrets
from typing import Any

from msgspec.structs import replace

from testcard.mocks.exchange import Call, Parameters
from testcard.mocks.faults.register import NIM_IMAGE, SEEDED, fault, own_seeded


@fault("parameters", "seed.repeatable", SEEDED, own=own_seeded)
def _seed_ignored(call: Call, parameters: Parameters) -> Parameters:
    """Draws another picture each time, whatever the seed, and still says the seed it was given."""
    return replace(parameters, salt=parameters.salt + secrets.token_bytes(8))


@fault("parameters", "seed.varies", SEEDED, also=("seed.echoed",), own=own_seeded)
def _one_seed_for_all(call: Call, parameters: Parameters) -> Parameters:
    """Draws from the seed 1 whatever the seed, and says so where the answer says a seed."""
    return parameters if parameters.seed is None else replace(parameters, seed=1)


@fault("body", "seed.echoed", NIM_IMAGE)
def _another_seed_said(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Draws from the seed it was given and says that it was the next one."""
    return {**body, "artifacts": [{**item, "seed": item["seed"] + 1} for item in body["artifacts"]]}
