"""A recorded request as a curl command that can be pasted into a POSIX shell. The key is never in it: $TESTCARD_API_KEY is."""

from __future__ import annotations

from testcard.harness.runs.folder import KEY_PLACEHOLDER
from testcard.harness.runs.records import Exchange

_LEFT_TO_CURL = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "user-agent", "accept"})


def quoted(text: str) -> str:
    """The text as one shell word: single quotes throughout, but the key's placeholder in double quotes, so that the shell fills it in."""
    parts = text.split(KEY_PLACEHOLDER)
    words = ["'" + part.replace("'", "'\\''") + "'" if part else "" for part in parts]
    return f'"{KEY_PLACEHOLDER}"'.join(words) or "''"


def curl(exchange: Exchange, folder: str) -> str:
    """The command that sends this request again; `folder` is the run folder, which holds bodies over 4 KiB."""
    request = exchange.request
    lines = [f"curl -sS -X {quoted(request.method)} {quoted(request.url)}"]
    lines += [f"-H {quoted(f'{name}: {value}')}" for name, value in request.headers if name.lower() not in _LEFT_TO_CURL]
    body = request.body
    before = ""
    if body.text:
        # A leading @ would make curl read a file; --data-raw does not.
        lines.append(f"--data-raw {quoted(body.text)}")
    elif body.base64:
        before = f"printf %s {quoted(body.base64)} | base64 -d | "
        lines.append("--data-binary @-")
    elif body.sha256:
        lines.append(f"--data-binary @{quoted(f'{folder}/bodies/{body.sha256}')}")
    return before + " \\\n  ".join(lines)
