"""The command that a mock offers to try is one that its own contract accepts, whatever the document requires."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from testcard.mocks.app import create_app
from testcard.mocks.command import curl_line
from testcard.specs.loader import load_provider, public_ids
from testkit.foreign import HERE, OTHERS, OWN, documents_of_others

WAYS = sorted((HERE.parents[1] / "fixtures" / "ways").iterdir())
URL = "http://testserver"


def asked(words: list[str], client: TestClient) -> int:
    """The status that curl would get for these words."""
    pairs = list(zip(words[2::2], words[3::2], strict=True))
    headers = dict(value.split(": ", 1) for flag, value in pairs if flag == "-H")
    form = dict(value.split("=", 1) for flag, value in pairs if flag in ("-F", "--data-urlencode"))
    multipart = any(flag == "-F" for flag, _ in pairs)
    content = next((value for flag, value in pairs if flag == "-d"), None)
    if multipart:
        return client.post(words[1], files={name: (None, value) for name, value in form.items()}, headers=headers).status_code
    return client.post(words[1], content=content, data=form or None, headers=headers).status_code


@pytest.mark.parametrize("folder", [*(HERE / "documents" / name for name in OWN), *WAYS], ids=lambda folder: folder.name)
def test_own_providers(folder: Path) -> None:
    """A model, values of the profile, parameters of path, query and header, nested prompts and forms are all in the command."""
    provider = load_provider(str(folder))
    client = TestClient(create_app([provider]))
    words = shlex.split(curl_line(provider, URL, "testcard"))
    assert words[0] == "curl"
    assert any("a red boat" in word for word in words)
    assert asked(words, client) in (200, 201, 202), words


@pytest.mark.parametrize("name", public_ids())
def test_public_providers(name: str) -> None:
    """The same for each provider that comes from a public document."""
    provider = load_provider(name)
    words = shlex.split(curl_line(provider, URL, "testcard"))
    assert asked(words, TestClient(create_app([provider]))) in (200, 201, 202), words


@pytest.mark.parametrize("name", OTHERS)
def test_documents_of_others(name: str, tmp_path: Path) -> None:
    """The same for documents that others publish: Together's requires a model."""
    there = documents_of_others()
    if there is None:
        pytest.skip("the documents of others are not on this machine")
    (tmp_path / "openapi.yaml").write_bytes((there / f"{name}.openapi.yaml").read_bytes())
    (tmp_path / "profile.yaml").write_bytes((HERE / "profiles" / f"{name}.yaml").read_bytes())
    provider = load_provider(str(tmp_path))
    words = shlex.split(curl_line(provider, URL, "testcard"))
    assert asked(words, TestClient(create_app([provider]))) in (200, 201, 202), words


def test_the_key_and_the_authority_are_quoted_for_a_shell() -> None:
    """A key with a quote in it and the certificate's path stay one word each."""
    provider = load_provider("nanogpt")
    words = shlex.split(curl_line(provider, URL, "it's", Path("/tmp/with space/ca.pem")))
    assert "/tmp/with space/ca.pem" in words
    assert any(word.endswith("it's") for word in words)
