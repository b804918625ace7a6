"""The embedded mock starts, speaks, ends with its block, and says why when it cannot start."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from testcard.harness.config import Config, ProvidersSection
from testcard.harness.errors import UsageError
from testcard.harness.targets import _refusal, embedded_mocks, mock_name, open_target
from testcard.specs.loader import BUNDLED, load_provider


def a_sixth_provider(folder: Path) -> Path:
    shutil.copytree(BUNDLED / "nanogpt", folder / "sixth")
    profile = folder / "sixth" / "profile.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("id: nanogpt", "id: sixth", 1), encoding="utf-8")
    return folder


def test_a_users_own_provider_gets_its_mock(tmp_path: Path) -> None:
    """A sixth provider found through [providers] path is mocked from its two files, although the mock reads no configuration."""
    config = Config(providers=ProvidersSection(path=(a_sixth_provider(tmp_path),)))
    with open_target("sixth", None, config=config) as target:
        assert target.mock
        assert urllib.request.urlopen(target.base_url + "/_testcard/health", timeout=5).status == 200


def test_bundled_providers_are_named_by_id_and_others_by_folder(tmp_path: Path) -> None:
    """The mock's process does not know the user's configuration, so it is given a place it can find."""
    assert mock_name(load_provider("nanogpt")) == "nanogpt"
    assert mock_name(load_provider("sixth", [a_sixth_provider(tmp_path)])) == str((tmp_path / "sixth").resolve())


def test_the_mock_ends_with_its_block() -> None:
    """It answers inside the block and is gone after it, also when the block fails."""
    seen = []

    def work() -> None:
        with embedded_mocks(["nanogpt"]) as mocks:
            seen.append(mocks.base_urls["nanogpt"] + "/_testcard/health")
            assert urllib.request.urlopen(seen[0], timeout=5).status == 200
            raise KeyError

    with pytest.raises(KeyError):
        work()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(seen[0], timeout=5)


def test_a_wrong_option_of_the_mock_is_passed_on() -> None:
    """What the mock refuses reaches the user in its own words."""
    with pytest.raises(UsageError, match="no fault nope"), embedded_mocks(["nanogpt"], options=["--fault", "nope"]):
        raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--port", "many"], "'many' is not a valid"), (["--flag-that-is-not"], "No such option"), (["--latency", "soon"], "soon")],
)
def test_the_error_is_told_and_not_the_last_line(options: list[str], said: str) -> None:
    """Whatever else stands around it (usage, a next step), the message is the sentence that says what was wrong."""
    with pytest.raises(UsageError, match=said) as caught, embedded_mocks(["nanogpt"], options=options):
        raise AssertionError("unreachable")
    assert not caught.value.message.lower().startswith(("error", "next", "usage", "try"))


def test_a_mock_that_fails_is_quoted_with_its_error() -> None:
    """An internal error of the mock is quoted as it states it; one that died without a word by the last that it said."""
    error = _refusal({"code": 4, "message": "OSError: no", "next": "run it again"}, ["next: run it again"])
    assert error.message == "the embedded mock did not start: OSError: no"
    assert error.exit_code == 4
    assert _refusal(None, ["Killed"]).message.endswith(": Killed")
    assert _refusal(None, []).message.endswith(": it said nothing")
