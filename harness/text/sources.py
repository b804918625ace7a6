"""Where a promise can be read: the document by its title and its public address, as a person can open it.

The short id of a document (a file's name, "RFC 9110") is the key that profiles and rules use; here it gets what it stands for. Providers
name theirs under `documents` in profile.yaml; those that belong to nobody are listed below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from testcard.harness.runs.records import ClauseRef
from testcard.specs.profile import Clause, PublicDocument

#: Documents that no provider owns, by the id that rules cite them by.
STANDARDS: Mapping[str, PublicDocument] = {
    "RFC 9110": PublicDocument(title="RFC 9110, HTTP Semantics", address="https://www.rfc-editor.org/rfc/rfc9110"),
    "RFC 4648": PublicDocument(title="RFC 4648, Base Encodings", address="https://www.rfc-editor.org/rfc/rfc4648"),
    "OpenAI API reference": PublicDocument(title="OpenAI API reference", address="https://platform.openai.com/docs/api-reference"),
}
_SECTION = re.compile(r"(\d+(?:\.\d+)*) ")


def reference(clause: Clause, documents: Mapping[str, PublicDocument]) -> ClauseRef:
    """The clause with its document's title and address; an RFC's address leads to the section. Without a title the id stands for it."""
    known = documents.get(clause.document) or STANDARDS.get(clause.document)
    address = known.address if known is not None else clause.document if clause.document.startswith(("https://", "http://")) else None
    section = _SECTION.match(clause.heading) if clause.document.startswith("RFC ") else None
    if address is not None and section is not None:
        address += f"#section-{section[1]}"
    return ClauseRef(document=clause.document, heading=clause.heading, title=known.title if known is not None else "", address=address)


def title_of(clause: ClauseRef) -> str:
    """What the document is called, by its id where a run of before, or a profile, gives it no title."""
    return clause.title or clause.document


def cited(clause: ClauseRef) -> str:
    """The document, the heading and where that can be read, on one line."""
    address = f", {clause.address}" if clause.address and clause.address != title_of(clause) else ""
    return f"{title_of(clause)}, “{clause.heading}”{address}"
