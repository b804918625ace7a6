"""One account behind two billed operations: what each request takes from the balance shows there too, and lies about it are found."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import Provider, load_provider

RULE = "answer.balance-falls"
LIES = sorted(name for name in FAULTS if name.partition("/")[0] == RULE)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """NanoGPT's two files with its operation standing there a second time, at another path and under another id."""
    folder = tmp_path_factory.mktemp("two") / "nanogpt"
    shutil.copytree(load_provider("nanogpt").folder, folder)
    contract = (folder / "openapi.yaml").read_text()
    start, end = contract.index("  /v1/images/generations:"), contract.index("components:")
    again = contract[start:end].replace("/v1/images/generations:", "/v1/images/drafts:").replace("createImage", "createDraft")
    (folder / "openapi.yaml").write_text(contract[:end] + again + contract[end:])
    profile = (folder / "profile.yaml").read_text()
    start, end = profile.index("  createImage:\n"), profile.index("\nlimits:")
    again = profile[start:end].replace("createImage:", "createDraft:")
    profile = profile[:end] + again + profile[end:]
    (folder / "profile.yaml").write_text(profile.replace("operations: [createImage]", "operations: [createImage, createDraft]"))
    return load_provider(str(folder))


def judged(provider: Provider, *faults: str) -> Conclusion:
    found = asyncio.run(judge_mock(full_plan(provider, 0, cases=False), faults))
    assert not found.errors
    return found


def words(found: Conclusion) -> dict[str, str]:
    return {one.operation: one.verdict for one in found.verdicts if one.rule == RULE}


def test_a_balance_that_two_operations_share(provider: Provider) -> None:
    """Eight requests at a time on both: those sent alone still show that the balance falls by each cost."""
    found = judged(provider)
    assert words(found) == {"createImage": "pass", "createDraft": "pass"}
    assert not [one for one in found.verdicts if one.verdict in ("fail", "deviates")]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_the_balance_is_found_beside_another_operation(provider: Provider, lie: str) -> None:
    """Each fault of the kill matrix for this rule trips it on the operation that tells it, and on no other."""
    found = judged(provider, lie)
    assert words(found) == {"createImage": "deviates", "createDraft": "pass"}
    assert {one.rule for one in found.verdicts if one.verdict in ("fail", "deviates")} == {RULE}
