"""The loader hands out what the two files say and points at what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testcard.specs.errors import SpecError, UsageError
from testcard.specs.loader import BUNDLED, bundled_ids, load_provider


def test_every_bundled_provider_loads() -> None:
    """The providers that come with Testcard have files that agree with each other."""
    for name in bundled_ids():
        provider = load_provider(name)
        assert provider.id == name
        assert set(provider.profile.operations) == set(provider.openapi.operations)


def test_unknown_provider_names_the_known_ones() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(UsageError) as caught:
        load_provider("nanogtp")
    assert "nanogpt" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed: {must", "seed: {means: sed, must", "operations.createImage.fields.seed.means"),
        ("      seed:", "      sead:", "sead"),
        ("key_env: NANOGPT_API_KEY", "key_env: {", "not valid YAML"),
    ],
)
def test_wrong_profile_names_file_line_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """A mistake in profile.yaml is reported with the file, the line it is on and the key."""
    shutil.copytree(BUNDLED / "nanogpt", tmp_path / "nanogpt")
    path = tmp_path / "nanogpt" / "profile.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_provider(str(tmp_path / "nanogpt"))
    assert expected in str(caught.value)
    assert f"profile.yaml:{caught.value.line}" in str(caught.value)
    assert caught.value.line
    if "YAML" not in expected:
        assert new in path.read_text().splitlines()[caught.value.line - 1]
