"""Clients that other people wrote, unchanged but for base URL and key, against the mocks: what they do works, or is no promise of the documents.

A client runs as a program of `clients/` in an environment that holds it: this one, or the Python named in TESTCARD_CLIENTS_PYTHON
(and for the programs of Node the folder named in TESTCARD_CLIENTS_NODE that has them in node_modules). Where it is in neither, its test
is skipped and says so. `python tests/peers/client_table.py` makes the table of docs/clients.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.other_clients import CLIENTS, REFUSED, OtherClient, cases, mocks, word


@pytest.mark.parametrize("client", CLIENTS, ids=lambda one: str(one.name))
def test_what_a_client_does_works(client: OtherClient, tmp_path: Path) -> None:
    """Each case works, or fails for a reason that is listed: a demand of the client's own that the documents do not make.

    Of each status that the mocks refuse with it raises an error with that status and their words, or what is listed as its own way.
    """
    missing = client.missing()
    if missing is not None:
        pytest.skip(missing)
    with mocks(client.providers) as urls:
        found = cases(client, urls)
    assert found, "the program said nothing"
    ours = [json.dumps(one) for one in found if word(client, one) == "our fault"]
    assert ours == []
    assert {case["status"] for case in found if "status" in case} == REFUSED.keys()
