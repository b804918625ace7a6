"""Commands that a person can type: a recorded request as curl for a POSIX shell, paths as seen from the working directory.

The key is never in a command: $TESTCARD_API_KEY is. The only place that writes such commands, for terminals and for reports.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from testcard.harness.redaction import KEY_PLACEHOLDER
from testcard.harness.runs.records import Body, Exchange, TargetRecord

#: A request body longer than this is not put on a line of a terminal.
LINE_BODY_CHARS = 2000
#: So much base64 in a row is a picture, which nobody reads on a line.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{120}")
#: Where the contracts of providers in the box stand.
_IN_THE_BOX = ("specs/providers/", "specs/public/")
#: Names a file that holds a recorded body, or None when there is none.
BodyFile = Callable[[Body], str | None]


def shown_path(path: Path | str) -> str:
    """The path as a person in this working directory names it: relative where it lies below, else absolute.

    Every path in a printed command goes through here, so that the command runs from where it was printed.
    """
    place = Path(os.path.abspath(path))  # links stay as they were named
    try:
        here = Path.cwd()
    except OSError:  # the working directory is gone
        return str(place)
    shown = str(place.relative_to(here)) if place.is_relative_to(here) else str(place)
    return f"./{shown}" if shown.startswith("-") else shown


def typed_path(path: Path | str) -> str:
    """The same as one word of a shell."""
    return shlex.quote(shown_path(path))


def resend_command(folder: Path | str, exchange: str) -> str:
    """The command that sends a recorded exchange again."""
    return f"testcard replay {typed_path(folder)} {shlex.quote(exchange)}"


def named_provider(provider: str, openapi: str = "") -> str:
    """A provider as one word of a shell: the id of one in the box, else its folder, which is written so that no id is looked for.

    `openapi`: the contract's file as a run names it.
    """
    if not openapi or openapi.startswith(_IN_THE_BOX):
        return provider
    shown = shown_path(Path(openapi).parent)
    return shlex.quote(shown if "/" in shown else f"./{shown}")


def bench_command(target: TargetRecord, openapi: str = "", model: str | None = None, *, live: bool = False) -> str:
    """The command that loads a checked target, within a budget. `live`: it is not on this machine."""
    place = "" if target.embedded else f"={shlex.quote(target.base_url)}"
    named = f" --model {shlex.quote(model)}" if model is not None else ""
    return f"testcard bench {named_provider(target.provider, openapi)}{place}{named}{' --live' if live else ''} --max-requests 60"


def rejudge_command(folder: Path | str, provider: str, openapi: str = "") -> str:
    """The command that judges a recorded check again (`openapi` as for `named_provider`)."""
    return f"testcard check {named_provider(provider, openapi)} --rejudge {typed_path(folder)}"


def curl(exchange: Exchange, body_file: BodyFile | None = None) -> str:
    """A command on one line that sends the exchange's request again.

    A body that is long, holds a picture, or is more than one line of text, comes from the file that `body_file` names.
    """
    text = exchange.request.body.text
    short = text is not None and len(text) <= LINE_BODY_CHARS and text.isprintable() and _BASE64.search(text) is None
    return " ".join(_words(exchange, _inline(text or "") if short else _from_file(exchange.request.body, body_file)))


def curl_block(exchange: Exchange, folder: Path | str) -> str:
    """The same on several lines, with every body that is text written out; `folder` is the run folder, which holds those over 4 KiB."""
    body = exchange.request.body
    before = ""
    if body.text is not None:
        how = _inline(body.text)
    elif body.base64 is not None:
        before = f"printf %s {shlex.quote(body.base64)} | base64 -d | "
        how = ["--data-binary", "@-"]
    else:
        how = _from_file(body, lambda found: shown_path(Path(folder) / "bodies" / found.sha256) if found.sha256 else None)
    lines: list[str] = []
    for word in _words(exchange, how):
        if not lines or word in ("-H", "--data-binary", "--data-raw"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return before + " \\\n  ".join(lines)


def _words(exchange: Exchange, body: list[str]) -> list[str]:
    request = exchange.request
    empty = request.body.size == 0
    words = ["curl", "-sS", "-i", *_switches(request.url)]
    if request.method == "HEAD":
        words.append("--head")
    elif request.method != ("GET" if empty else "POST"):
        words += ["-X", shlex.quote(request.method)]
    words.append(quoted(request.url))
    for name, value in request.headers:
        words += ["-H", quoted(f"{name}: {value}" if value else f"{name};")]
    if not empty:
        if not any(name.lower() == "content-type" for name, _ in request.headers):
            words += ["-H", "content-type:"]  # curl would call the body a form
        words += body
    elif request.method in ("POST", "PUT", "PATCH"):
        words += ["-H", "'content-length: 0'"]
    return words


def _inline(text: str) -> list[str]:
    """A leading @ would make curl read a file; after --data-raw it does not."""
    return ["--data-raw" if text.startswith("@") else "--data-binary", shlex.quote(text)]


def _from_file(body: Body, body_file: BodyFile | None) -> list[str]:
    name = body_file(body) if body_file is not None else None
    return ["--data-binary", shlex.quote(f"@{name}") if name is not None else "@BODY-OF-THE-EXCHANGE"]


def _switches(url: str) -> list[str]:
    """What keeps curl from reading brackets in a URL as patterns, and from tidying its path."""
    globs, dots = set("[]{}") & set(url), re.search(r"/\.{1,2}(/|$|\?)", url)
    return [*(["--globoff"] if globs else []), *(["--path-as-is"] if dots else [])]


def quoted(text: str) -> str:
    """The text as one shell word in which only the key's placeholder is expanded."""
    if KEY_PLACEHOLDER not in text:
        return shlex.quote(text)
    escaped = re.sub(r'(["\\`])', r"\\\1", text)
    pieces = [piece.replace("$", "\\$") for piece in escaped.split(KEY_PLACEHOLDER)]
    return '"' + KEY_PLACEHOLDER.join(pieces) + '"'
