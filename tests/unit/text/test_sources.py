"""Every promise can be read by somebody who has nothing but a browser: a title and a public address, the short id only as a key."""

from __future__ import annotations

import pytest

from testcard.harness.check.judging.levels import reference_of
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import ClauseRef
from testcard.harness.text.sources import cited, reference
from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.profile import Clause, PublicDocument
from testkit.command_line import typed


@pytest.mark.parametrize("provider_id", bundled_ids())
def test_every_clause_of_a_bundled_provider_has_a_title_and_an_address(provider_id: str) -> None:
    """For each rule of each operation."""
    provider = load_provider(provider_id)
    without = [
        (rule.id, operation)
        for operation in provider.profile.operations
        for rule in RULES.values()
        if not (found := reference_of(Scope(provider, operation), rule)).title or not (found.address or "").startswith("https://")
    ]
    assert without == []


def test_an_rfc_s_address_leads_to_the_section() -> None:
    """The heading begins with its number."""
    found = reference(Clause(document="RFC 9110", heading="15.5.1 400 Bad Request", source="http"), {})
    assert found.address == "https://www.rfc-editor.org/rfc/rfc9110#section-15.5.1"
    assert cited(found) == f"RFC 9110, HTTP Semantics, “15.5.1 400 Bad Request”, {found.address}"


def test_a_document_without_an_entry_is_cited_by_its_id() -> None:
    """As in a profile of a user's own, or a run of before; an id that is an address is one."""
    assert cited(reference(Clause(document="api.txt", heading="Sizes"), {})) == "api.txt, “Sizes”"
    assert cited(ClauseRef(document="003.txt", heading="h")) == "003.txt, “h”"
    assert cited(reference(Clause(document="https://x.example/y", heading="h"), {})) == "https://x.example/y, “h”"
    own = {"api.txt": PublicDocument(title="Our API")}
    assert cited(reference(Clause(document="api.txt", heading="Sizes"), own)) == "Our API, “Sizes”"


def test_rules_id_names_the_documents_and_their_addresses() -> None:
    """As the report does; no short id is in sight."""
    done = typed(["rules", "image.size"])
    assert "NanoGPT documentation: Image Generation (OpenAI-Compatible), “OpenAPI · OpenAIImageGenerationsRequest.size”" in done.stdout
    assert "https://docs.nano-gpt.com/api-reference/endpoint/image-generation-openai" in done.stdout
    assert ".txt" not in done.stdout
