"""One size for all targets of a task: the one named, else 1024×1024 where all document it, else the nearest that all document."""

from pathlib import Path

import pytest

from testcard.benchmarks.plan.asks import task_requests
from testcard.benchmarks.plan.job import CellJob
from testcard.benchmarks.plan.sizes import WANTED, Offer, Settled, offer, settled
from testcard.benchmarks.plan.workload import SAME, Workload
from testcard.specs.loader import Provider, bundled_ids, load_provider

HEAD = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\nservers: [{url: 'https://api.example.com'}]\n"


def own(folder: Path, properties: str, profile: str = "") -> Provider:
    """A provider of one operation whose request has these properties, as YAML in one line."""
    folder.mkdir()
    (folder / "openapi.yaml").write_text(
        f"""{HEAD}paths:
  /pictures:
    post:
      operationId: draw
      requestBody:
        required: true
        content: {{application/json: {{schema: {{type: object, properties: {{prompt: {{type: string}}, {properties}}}}}}}}}
      responses:
        '200':
          description: d
          content:
            application/json:
              schema: {{type: object, properties: {{data: {{type: array, items: {{type: object, properties: {{b64_json: {{type: string}}}}}}}}}}}}
"""
    )
    (folder / "profile.yaml").write_text(f"schema: testcard.profile/1\nid: {folder.name}\noperations: [draw]\n{profile}")
    return load_provider(str(folder))


def settle(*providers: Provider, sizes: tuple[str, ...] = (SAME,), task: str = "generate") -> Settled:
    cells = []
    for place, provider in enumerate(providers):
        operation = provider.default_operation(task)  # type: ignore[arg-type]
        cells.append(CellJob(target=place, provider=provider.id, operation=operation, task=task, model=provider.default_model(operation)))
    return settled(providers, cells, sizes)


def test_all_bundled_providers_are_asked_for_one_size() -> None:
    """What can generate is asked for 1024×1024, in the requests too, and it is said."""
    providers = [provider for name in bundled_ids() if "generate" in (provider := load_provider(name)).profile.tasks]
    found = settle(*providers)
    assert len(providers) > 2
    assert found.said == ["size: 1024×1024 for all targets (generate)"]
    workload = Workload.model_validate({"stage": [{"rate_rps": 1, "duration_s": 1}]})
    for provider, cell in zip(providers, found.cells, strict=True):
        asked = task_requests(provider, cell.operation, "generate", cell.model, workload, cell.sizes)
        assert {request.size for request in asked} == {WANTED}


def test_a_size_that_is_named_stays_and_is_no_matter_of_documents() -> None:
    """The workload's own sizes hold as they are."""
    found = settle(load_provider("nanogpt"), sizes=("512x512", "cheapest"))
    assert (found.cells[0].sizes, found.said) == ([], [])


def test_the_nearest_that_all_document(tmp_path: Path) -> None:
    """A list and bounds: 1024×1024 is in the bounds only, and 896×896 is the nearest on both sides."""
    lists = own(tmp_path / "lists", "size: {type: string, enum: [512x512, 896x896, 2048x2048]}")
    edge = "{type: integer, minimum: 256, maximum: 1536, multipleOf: 64}"
    bounds = own(tmp_path / "bounds", f"width: {edge}, height: {edge}")
    found = settle(lists, bounds)
    assert [cell.sizes for cell in found.cells] == [["896x896"], ["896x896"]]
    assert found.said == ["size: 896×896 for all targets (generate), the nearest to 1024×1024 that all document"]


def test_bounds_off_every_usual_size_have_their_own_nearest(tmp_path: Path) -> None:
    """Edges of 600 to 950 in steps of 50: 950×950."""
    edge = "{type: integer, minimum: 600, maximum: 950, multipleOf: 50}"
    assert settle(own(tmp_path / "odd", f"width: {edge}, height: {edge}")).cells[0].sizes == ["950x950"]


def test_nothing_in_common_is_said_and_each_gets_its_nearest(tmp_path: Path) -> None:
    """No size is documented by both: they are named with theirs, and that they are compared apart."""
    small = own(tmp_path / "small", "size: {type: string, enum: [256x256, 512x512]}")
    large = own(tmp_path / "large", "size: {type: string, enum: [2048x2048]}")
    found = settle(small, large)
    assert [cell.sizes for cell in found.cells] == [["512x512"], ["2048x2048"]]
    assert "512×512" in found.said[0]
    assert "compared apart" in found.said[0]


def test_who_cannot_be_asked_for_a_size_holds_nobody_back(tmp_path: Path) -> None:
    """An operation without a field for it gets none, and the others theirs."""
    mute = own(tmp_path / "mute", "style: {type: string}")
    found = settle(mute, load_provider("nanogpt"))
    assert [cell.sizes for cell in found.cells] == [[SAME], ["1024x1024"]]
    assert any("cannot be asked for one" in line for line in found.said)


@pytest.mark.parametrize("schema", ["{type: string, default: 768x768}", "{type: string, examples: [768x768]}"])
def test_defaults_and_examples_of_a_schema_are_documented(tmp_path: Path, schema: str) -> None:
    """A size that is text of any kind: what the document shows is what can be asked for."""
    provider = own(tmp_path / "free", f"size: {schema}")
    assert offer(provider, "draw", None).has((768, 768))


def test_describing_has_no_size() -> None:
    """Nothing is said of sizes where no pictures are made."""
    found = settle(load_provider("nvidia-nim-vision"), task="describe")
    assert (found.cells[0].sizes, found.said) == ([SAME], [])


def test_an_offer_of_nothing_has_nothing() -> None:
    """No list, no bounds: no size is documented."""
    assert not Offer().has(WANTED)
    assert Offer().nearest() is None
