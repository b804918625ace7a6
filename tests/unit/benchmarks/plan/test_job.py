"""Cells and blocks: who is loaded with what, in which order."""

from collections import Counter

import pytest

from testcard.benchmarks.plan.turn_order import blocks, cells
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import TargetSection
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.targets import OpenTarget
from testcard.specs.loader import bundled_ids, load_provider

AUTO = Workload.model_validate({"stage": [{"rate_rps": 2, "duration_s": 6}], "rounds": 6, "warmup_s": 1})


def target(name: str, url: str = "http://127.0.0.1:1") -> OpenTarget:
    provider = load_provider(name)
    return OpenTarget(provider, url, "k", True, Pricing(provider, True))


def test_every_bundled_provider_gets_a_cell_of_its_own() -> None:
    """Without names: one cell each, generate where it is offered, the first task elsewhere, a model where there is one."""
    found = cells([target(name) for name in bundled_ids()], [], [], AUTO)
    assert [cell.provider for cell in found] == list(bundled_ids())
    assert {cell.task for cell in found if cell.provider != "nvidia-nim-vision"} == {"generate"}
    assert all(cell.model for cell in found)


def test_operations_and_models_multiply() -> None:
    """Named operations and models: each pair that exists."""
    found = cells([target("opengpu-relay")], [], ["generateFlux", "generateQwen"], AUTO)
    assert [cell.operation for cell in found] == ["generateFlux", "generateQwen"]
    two = cells([target("nanogpt")], ["hidream", "flux-kontext"], [], AUTO)
    assert [cell.model for cell in two] == ["hidream", "flux-kontext"]


def test_a_model_goes_to_the_targets_that_list_it() -> None:
    """With several targets a model is asked only of those that know it, and nobody may be left without work."""
    with pytest.raises(UsageError, match="nothing to do for nebul"):
        cells([target("nanogpt"), target("nebul")], ["hidream"], [], AUTO)


def test_what_the_configuration_names_for_a_target_holds_unless_flags_name_more() -> None:
    """[[target]] models and operations; a model of a user's own goes along; flags replace both."""
    both = [target("nanogpt"), target("opengpu-relay")]
    own = [
        TargetSection(provider="nanogpt", models=("flux-kontext", "a-model-of-my-own")),
        TargetSection(
            provider="opengpu-relay",
            operations=("generateQwen", "generateFlux"),
            models=("Qwen/qwen-image", "black-forest-labs/FLUX-2-pro"),
        ),
    ]
    assert [(cell.operation, cell.model) for cell in cells(both, [], [], AUTO, own)] == [
        ("createImage", "flux-kontext"),
        ("createImage", "a-model-of-my-own"),
        ("generateQwen", "Qwen/qwen-image"),
        ("generateFlux", "black-forest-labs/FLUX-2-pro"),
    ]
    assert [cell.model for cell in cells(both[:1], ["hidream"], [], AUTO, own[:1])] == ["hidream"]


def test_one_provider_twice_is_told_apart() -> None:
    """Two addresses of one provider are two rows."""
    found = cells([target("nanogpt", "http://127.0.0.1:1"), target("nanogpt", "http://127.0.0.1:2")], [], [], AUTO)
    assert [cell.provider for cell in found] == ["nanogpt@127.0.0.1:1", "nanogpt@127.0.0.1:2"]


@pytest.mark.parametrize(("models", "operations"), [([], ["paint"]), (["nothing"], []), ([], ["getTask"])])
def test_names_that_nobody_knows_are_refused(models: list[str], operations: list[str]) -> None:
    """An unknown operation, an unknown model among several targets, an operation that does no work: usage errors."""
    with pytest.raises(UsageError):
        cells([target("opengpu-relay"), target("nanogpt")], models, operations, AUTO)


def test_every_cell_has_a_turn_in_every_round_and_the_order_is_balanced() -> None:
    """Six rounds of four cells: each once a round; no cell is first in more than half of them; same seed, same order."""
    found = blocks(4, AUTO, seed=5)
    assert Counter((block.round, block.cell) for block in found) == {(number, cell): 1 for number in range(1, 7) for cell in range(4)}
    firsts = Counter(next(block.cell for block in found if block.round == number) for number in range(1, 7))
    assert max(firsts.values()) <= 3
    assert sum(block.duration_s for block in found if block.cell == 0) == pytest.approx(6)
    assert found == blocks(4, AUTO, seed=5)
    assert [block.cell for block in found] != [block.cell for block in blocks(4, AUTO, seed=6)]
