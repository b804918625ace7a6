"""Prints what each client that is here does with the mocks, as the table of docs/clients.md: `python tests/peers/client_table.py`.

Run by hand, from the root: `TESTCARD_CLIENTS_PYTHON` names a Python whose environment holds the clients from PyPI, `TESTCARD_CLIENTS_NODE` a
folder whose node_modules hold those from npm; the lines that install them stand in docs/clients.md. Clients that are not here are named.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from testkit.other_clients import CLIENTS, cases, mocks, reason, word


def main() -> int:
    """Prints the table; 1 where something is our fault."""
    rows, reasons, absent, ours = [], [], [], 0
    for client in CLIENTS:
        missing = client.missing()
        if missing is not None:
            absent.append(missing)
            continue
        with mocks(client.providers) as urls:
            found = cases(client, urls)
        for provider in dict.fromkeys(case["provider"] for case in found):
            by_word: dict[str, list[str]] = {"works": [], "outside the document": [], "our fault": []}
            for case in found:
                if case["provider"] == provider:
                    said = word(client, case)
                    by_word[said].append(case["operation"])
                    if said == "outside the document":
                        reasons.append(f"- {client.name}, {provider}, {case['operation']}: {reason(client, case)}")
                    elif said == "our fault":
                        ours += 1
                        print(f"{client.name}, {provider}, {case['operation']}: {case['detail']}", file=sys.stderr)
            cells = ["; ".join(names) or "–" for names in by_word.values()]
            rows.append(f"| {client.name} {client.version()} | {provider} | {' | '.join(cells)} |")
    print("| client | provider | works | outside the document | our fault |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print("\n" + "\n".join(reasons) if reasons else "")
    for line in absent:
        print(f"not here: {line}", file=sys.stderr)
    return int(ours > 0)


if __name__ == "__main__":
    sys.exit(main())
