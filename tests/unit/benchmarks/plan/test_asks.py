"""Requests of a load: made from profile and workload, encoded once, with a seed of its own for each sending."""

import itertools
import json

import pytest

from testcard.benchmarks.plan.asks import SLOT_SEED, asks, seed_stream, task_of, task_requests
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.errors import ContractViolation
from testcard.harness.wire.encode import encode
from testcard.specs.loader import bundled_ids, load_provider

BASE = {"base_url": "http://127.0.0.1:1", "api_key": "k"}


def workload(**changes: object) -> Workload:
    return Workload.model_validate({"stage": [{"rate_rps": 1, "duration_s": 1}], **changes})


@pytest.mark.parametrize("name", bundled_ids())
def test_every_operation_of_every_provider_can_be_loaded(name: str) -> None:
    """The default workload makes requests that the contract allows, for all operations and their tasks."""
    provider = load_provider(name)
    for operation, profile in provider.profile.operations.items():
        for task in profile.tasks:
            requests = task_requests(provider, operation, task, provider.default_model(operation, task), workload())
            ready = asks(provider, operation, requests, fresh_seeds=True, **BASE)
            assert len(ready) == len(requests) >= 1


def test_cheapest_takes_the_profiles_parameters() -> None:
    """Each provider's cheapest: the smallest size it states, the fewest tokens, the lowest quality; nothing that it does not state."""
    picture = task_requests(load_provider("nanogpt"), "createImage", "generate", "hidream", workload(sizes=["cheapest"]))[0]
    assert (picture.size, picture.steps) == ((256, 256), None)
    vision = load_provider("nvidia-nim-vision")
    operation = vision.default_operation("describe")
    assert task_requests(vision, operation, "describe", vision.default_model(operation, "describe"), workload())[0].max_tokens == 16


def test_sizes_are_used_in_turn() -> None:
    """Two sizes alternate over the prompts."""
    provider = load_provider("nanogpt")
    found = task_requests(provider, "createImage", "generate", None, workload(sizes=["256x256", "512x512"]))
    assert [request.size for request in found[:3]] == [(256, 256), (512, 512), (256, 256)]


def test_numbers_of_pictures_and_steps_are_used_in_turn_with_every_size() -> None:
    """Two sizes, numbers and steps: all eight combinations come before one comes again; what an operation has not is left out."""
    nanogpt, nebul = load_provider("nanogpt"), load_provider("nebul")
    varied = workload(sizes=["256x256", "512x512"], n=[1, 2], steps=[10, 20])
    found = task_requests(nanogpt, "createImage", "generate", None, varied)
    kinds = [(request.size, request.n, request.steps) for request in found]
    assert len(set(kinds[:8])) == 8 == len(set(kinds))
    without = task_requests(nebul, nebul.default_operation("generate"), "generate", None, varied)
    assert {request.steps for request in without} == {None}
    one = task_requests(nanogpt, "createImage", "generate", None, workload(n=3, steps=5))
    assert {(request.n, request.steps) for request in one} == {(3, 5)}


def test_a_fresh_seed_is_set_into_the_encoded_bytes() -> None:
    """Head, text before, seed, text after: the same bytes as encoding the request with that seed, and a valid length."""
    from dataclasses import replace

    provider = load_provider("nanogpt")
    ask = asks(provider, "createImage", task_requests(provider, "createImage", "generate", None, workload()), fresh_seeds=True, **BASE)[0]
    assert ask.seeded
    before, after = ask.pieces
    seed = next(seed_stream("x"))
    whole = before + seed + after
    assert len(whole) == len(ask.wire.body)
    assert json.loads(whole)["seed"] == int(seed)
    assert whole == encode(provider, replace(ask.request, seed=int(seed)), operation="createImage", **BASE).body


def test_seed_policies() -> None:
    """fixed: one seed for all, in the bytes; none: no seed; an operation without a seed never has one."""
    nanogpt, nebul = load_provider("nanogpt"), load_provider("nebul")
    fixed = asks(
        nanogpt, "createImage", task_requests(nanogpt, "createImage", "generate", None, workload(seeds="fixed")), fresh_seeds=False, **BASE
    )
    assert {json.loads(ask.wire.body)["seed"] for ask in fixed} == {42}
    assert not any(ask.seeded for ask in fixed)
    none = task_requests(nanogpt, "createImage", "generate", None, workload(seeds="none"))
    assert {request.seed for request in none} == {None}
    assert {request.seed for request in task_requests(nebul, "createImage", "generate", None, workload())} == {None}


def test_seeds_have_ten_digits_repeat_for_a_key_and_never_equal_the_slot_by_design() -> None:
    """So that a Content-Length computed once stays true."""
    seeds = list(itertools.islice(seed_stream("a"), 1000))
    assert {len(seed) for seed in seeds} == {10}
    assert seeds == list(itertools.islice(seed_stream("a"), 1000))
    assert len(set(seeds)) > 990
    assert len(str(SLOT_SEED)) == 10
    assert all(int(seed) < 2**31 for seed in seeds)


def test_what_the_contract_does_not_allow_is_refused() -> None:
    """A size that NanoGPT does not document is a contract violation with its field."""
    provider = load_provider("nanogpt")
    requests = task_requests(provider, "createImage", "generate", None, workload(sizes=["300x300"]))
    with pytest.raises(ContractViolation):
        asks(provider, "createImage", requests, fresh_seeds=True, **BASE)


def test_an_operation_is_loaded_with_the_wanted_task_where_it_does_it() -> None:
    """Wanted edit on an operation that edits: edit; else its first task."""
    provider = load_provider("nanogpt")
    assert task_of(provider, "createImage", "edit") == "edit"
    assert task_of(provider, "createImage", "describe") == "generate"
