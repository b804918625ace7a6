"""Prints what each client that is here does with the mocks, as the tables of docs/clients.md: `python tests/peers/client_table.py`.

Run by hand, from the root: `TESTCARD_CLIENTS_PYTHON` names a Python whose environment holds the clients from PyPI, `TESTCARD_CLIENTS_NODE` a
folder whose node_modules hold those from npm; the lines that install them stand in docs/clients.md. Clients that are not here are named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from testkit.other_clients import CLIENTS, REFUSED, OtherClient, cases, mocks, reason, word


def main() -> int:
    """Prints both tables; 1 where something is our fault."""
    rows, errors, absent, ours = [], [], [], 0
    # of each table
    reasons: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for client in CLIENTS:
        missing = client.missing()
        if missing is not None:
            absent.append(missing)
            continue
        with mocks(client.providers) as urls:
            found = cases(client, urls)
        for case in found:
            said = word(client, case)
            if said == "our fault":
                ours += 1
                print(f"{client.name}, {case}", file=sys.stderr)
            elif said != "works":
                reasons["status" in case][f"- {client.name}, {case['provider']}, {case['operation']}: {reason(client, case)}"] = None
        rows += _works(client, [case for case in found if "status" not in case])
        errors += _errors(client, [case for case in found if "status" in case])
    print("| client | provider | works | outside the document | our fault |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print("\n" + "\n".join(reasons[0]) if reasons[0] else "")
    print(f"\n| client | {' | '.join(map(str, REFUSED))} |\n|{' --- |' * (1 + len(REFUSED))}")
    print("\n".join(errors))
    print("\n" + "\n".join(reasons[1]) if reasons[1] else "")
    for line in absent:
        print(f"not here: {line}", file=sys.stderr)
    return int(ours > 0)


def _works(client: OtherClient, found: Sequence[dict[str, Any]]) -> list[str]:
    """A row for each provider."""
    rows = []
    for provider in dict.fromkeys(case["provider"] for case in found):
        by_word: dict[str, list[str]] = {"works": [], "outside the document": [], "our fault": []}
        for case in found:
            if case["provider"] == provider:
                by_word[word(client, case)].append(case["operation"])
        cells = ["; ".join(names) or "–" for names in by_word.values()]
        rows.append(f"| {client.name} {client.version()} | {provider} | {' | '.join(cells)} |")
    return rows


def _errors(client: OtherClient, found: Sequence[dict[str, Any]]) -> list[str]:
    """A row for each operation: the error of each status, in brackets where it is the client's own and in bold where it is our fault."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for place in dict.fromkeys((case["provider"], case["operation"]) for case in found):
        marks = {"works": "{}", "the client's own": "({})", "our fault": "**{}**"}
        cells = [
            marks[word(client, case)].format(case["raised"] or "none") for case in found if (case["provider"], case["operation"]) == place
        ]
        rows.setdefault(tuple(cells), []).append(", ".join(reversed(place)))
    return [f"| {client.name}: {'; '.join(places)} | {' | '.join(cells)} |" for cells, places in rows.items()]


if __name__ == "__main__":
    sys.exit(main())
