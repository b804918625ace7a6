"""`testcard init provider`: the profile of an API, proposed from its OpenAPI document, with what only a person can know as questions."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import click

from testcard.harness.cli import say
from testcard.harness.cli.init import writing
from testcard.harness.cli.options import PATH, USD, option, takes
from testcard.harness.errors import Exit, UsageError
from testcard.harness.extras import missing, resolve
from testcard.harness.targets import checked_base_url
from testcard.harness.text.commands import shown_path
from testcard.specs.lint import lint
from testcard.specs.loader import load_provider
from testcard.specs.profile import TaskPhase
from testcard.specs.proposal import DocumentAnswers, Proposal, Question, propose
from testcard.specs.reading import PROFILE, DocumentFiles, find_document, read_document

_PHASES: tuple[str, ...] = get_args(TaskPhase)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The flags: answers to the questions, and where to write."""

    folder: Annotated[Path | None, option("--out", type=PATH, metavar="DIR", help="Folder of the provider. Default: ./<id>.")] = None
    provider_id: Annotated[str | None, option("--id", metavar="ID", help="Its id. Default: from the document's title.")] = None
    operations: Annotated[
        tuple[str, ...], option("--operation", multiple=True, metavar="ID", help="Take up this operation; again for more.")
    ] = ()
    prompt: Annotated[str | None, option("--prompt", metavar="FIELD", help="The field that is the prompt; /a/b for one inside.")] = None
    picture: Annotated[
        str | None, option("--picture", metavar="KIND=PLACE", help="Where a picture is: url=/data/*/url, base64=/image.")
    ] = None
    models: Annotated[tuple[str, ...], option("--model", multiple=True, metavar="M", help="A model to ask for; again for more.")] = ()
    key_header: Annotated[
        str | None, option("--key-header", metavar="'NAME: WORD'", help="The header of the key, such as 'X-Key:'; 'none' for no key.")
    ] = None
    base_url: Annotated[str | None, option("--base-url", metavar="URL", help="Where the API is.")] = None
    poll: Annotated[str | None, option("--poll", metavar="ID", help="The operation that says how far a task is.")] = None
    state: Annotated[str | None, option("--state", metavar="PLACE", help="Where its answer says so.")] = None
    states: Annotated[
        str | None, option("--states", metavar="PHASE=WORD+WORD,…", help="The API's words: completed=ready,failed=error+refused.")
    ] = None
    success: Annotated[
        str | None,
        option("--success", metavar="PLACE=VALUE", help="What a success has in its body, where errors come as 200 too: /code=0."),
    ] = None
    send: Annotated[tuple[str, ...], option("--send", multiple=True, metavar="NAME=VALUE", help="A value for a required field.")] = ()
    price: Annotated[float | None, option("--price", type=USD, metavar="USD", help="What one picture costs.")] = None
    no_input: Annotated[bool, option("--no-input", is_flag=True, help="Ask nothing, also on a terminal: guesses hold.")] = False
    no_check: Annotated[bool, option("--no-check", is_flag=True, help="Do not check the result against its own mock.")] = False
    force: Annotated[bool, option("--force", is_flag=True, help="Overwrite the profile that is there.")] = False


@click.command("provider")
@click.argument("document", type=PATH)
@takes("wanted", _Wanted)
def provider(document: Path, wanted: _Wanted) -> Exit:
    """Propose the profile of an API from its OpenAPI DOCUMENT (a file, or a folder that holds one).

    Writes a folder with the document and profile.yaml, which lint accepts and which keeps its promises against its own mock. What the
    document does not say is guessed and asked, in at most ten questions; each has a flag.

    Example: testcard init provider openapi.json --out my-api --key-header 'X-Key:' --price 0.04
    """
    if "://" in str(document).replace(":/", "://"):
        raise UsageError(f"{document} is an address", hint="download it first, and name the file")
    path = find_document(document) if document.is_dir() else document
    files = read_document(path)
    provider_id = _id(wanted.provider_id, files)
    folder = wanted.folder if wanted.folder is not None else Path(provider_id)
    if (folder / PROFILE).exists() and not wanted.force:
        raise UsageError(f"{folder / PROFILE} is there already", hint="add --force to overwrite, or name a folder with --out")
    answers = _answers(wanted)
    proposal = propose(files, provider_id, answers)
    if sys.stdin.isatty() and not wanted.no_input and proposal.questions:
        proposal = propose(files, provider_id, _asked(proposal, wanted))
    with writing(folder):
        _write(folder, files, proposal)
    click.echo(str(folder / PROFILE))
    for line in proposal.told:
        say(f"found: {line}")
    for line in proposal.left_out:
        say(f"left out: {line}")
    for question in proposal.questions:
        say(f"question: {question.text} Guessed: {question.guess}. Answer: {question.flag} {question.form}")
    return _judge(folder, checked=not wanted.no_check)


def _id(named: str | None, files: DocumentFiles) -> str:
    if named is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", named):
        raise UsageError(f"{named!r} is no id", hint="small letters, digits and hyphens, such as my-api")
    info = files.root.data.get("info")
    title = str(info.get("title") or "") if isinstance(info, Mapping) else ""
    made = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-")
    return named or made or "my-api"


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _answers(wanted: _Wanted) -> DocumentAnswers:
    return DocumentAnswers(
        operations=wanted.operations,
        prompt=wanted.prompt,
        picture=_picture(wanted.picture) if wanted.picture is not None else None,
        models=wanted.models,
        key_header=_header(wanted.key_header) if wanted.key_header is not None else None,
        base_url=checked_base_url(wanted.base_url) if wanted.base_url is not None else None,
        poll=wanted.poll,
        state=wanted.state,
        states=_states(wanted.states) if wanted.states is not None else {},
        send=dict(_pair(one) for one in wanted.send),
        usd_each=wanted.price,
        success=_success(wanted.success) if wanted.success is not None else None,
    )


def _success(text: str) -> tuple[str, tuple[Any, ...]]:
    place, equals, words = text.partition("=")
    if not place.startswith("/"):
        raise UsageError(f"--success {text} says no place", hint="for instance: --success /code=0, or /error where nothing stands there")
    return place, tuple(_value(word) for word in words.split("+")) if equals and words else ()


def _picture(text: str) -> tuple[str, str]:
    kind, equals, place = text.partition("=")
    if kind not in ("url", "base64") or not equals or not place.startswith("/"):
        raise UsageError(f"--picture {text} says no kind and place", hint="for instance: --picture 'url=/data/*/url'")
    return kind, place


def _header(text: str) -> tuple[str, str]:
    if text.strip().lower() in ("", "none"):
        return "", ""
    name, _, word = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name.strip()):
        raise UsageError(f"--key-header {text} names no header", hint="for instance: --key-header 'Authorization: Bearer'")
    return name.strip(), f"{word.strip()} " if word.strip() else ""


def _states(text: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        phase, equals, words = part.partition("=")
        if phase not in _PHASES or not equals or not words:
            raise UsageError(f"--states {part} is no phase with its words", hint=f"phases are {', '.join(_PHASES)}: completed=ready+done")
        found[phase] = [_value(word) if word in ("true", "false") or word.isdigit() else word for word in words.split("+")]
    return found


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--send {text} is no NAME=VALUE")
    return name, _value(value)


def _value(text: str) -> Any:
    """The JSON that a text is, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _asked(proposal: Proposal, wanted: _Wanted) -> DocumentAnswers:
    """The answers after a person was asked what is open; an empty answer leaves the guess."""
    for number, question in enumerate(proposal.questions, 1):
        text = f"{number}/{len(proposal.questions)} {question.text} ({question.form})"
        given = click.prompt(text, default="", show_default=False, err=True, prompt_suffix=f" [{question.guess}]: ").strip()
        if given:
            wanted = _with_answer(wanted, question, given)
    return _answers(wanted)


def _with_answer(wanted: _Wanted, question: Question, given: str) -> _Wanted:
    if question.flag == "--send":
        name = question.form.rpartition("=")[0]
        return replace(wanted, send=(*wanted.send, given if given.startswith(f"{name}=") else f"{name}={given}"))
    if question.flag == "--model":
        return replace(wanted, models=(*wanted.models, given))
    if question.flag == "--success" and not given.startswith("/"):
        given = question.form.rpartition("=")[0] + "=" + given
    if question.flag == "--price":
        return replace(wanted, price=USD.convert(given, None, None))
    texts: dict[str, Any] = {question.flag.removeprefix("--").replace("-", "_"): given}
    return replace(wanted, **texts)


# ── the folder ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write(folder: Path, files: DocumentFiles, proposal: Proposal) -> None:
    """The document with the files that it refers to, and the profile; what is there already is not written twice."""
    folder.mkdir(parents=True, exist_ok=True)
    home, name = files.root.path.parent, files.root.path.name
    for part in ("", *files.parts):
        source = home / (part or name)
        target = folder / (part or name)
        if target.resolve() != source.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    data = dict(proposal.data)
    if find_document(folder, None).name != name:
        data = {**{key: data.pop(key) for key in ("schema", "id")}, "openapi": name, **data}
    for price in data.get("prices", ()):
        price.setdefault("date", datetime.now(UTC).date())
    (folder / PROFILE).write_text(_text(data, proposal), encoding="utf-8")


def _text(data: Mapping[str, Any], proposal: Proposal) -> str:
    import yaml

    lines = ["# What the document does not say. Everything else is read from it; a key here replaces what was read."]
    lines += [f"# {line}" for line in proposal.told]
    lines += [f"# guessed: {one.text} {one.guess} ({one.flag})".replace("\n", " ") for one in proposal.questions]
    written = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return "\n".join(lines) + "\n" + written


def _judge(folder: Path, *, checked: bool) -> Exit:
    """Lint, then a check of the provider's own mock in this process; what is wrong is printed and ends with exit code 1."""
    found = lint(folder)
    if found:
        for problem in found:
            say(str(problem))
        return Exit.USAGE
    said = "lint: nothing to say"
    if checked and not missing(("check", "mock")):
        loaded = load_provider(f"{folder}/")
        plan = resolve("testcard.harness.selftest.mock_runs:full_plan")(loaded, 0)
        verdicts = asyncio.run(resolve("testcard.harness.selftest.mock_runs:judge_mock")(plan, [])).verdicts
        wrong = [one for one in verdicts if one.verdict in ("fail", "deviates")]
        wrong += [one for one in verdicts if one.level == "must" and one.verdict in ("unproven", "not-run")]
        if wrong:
            for one in wrong:
                say(f"its own mock: {one.verdict} {one.rule} {one.operation}: {one.detail}")
            say(f"{said}; {len(wrong)} rules do not hold against its own mock: a place or a word above is probably guessed wrong")
            return Exit.GATE_FAILED
        said += f"; check of its own mock: {sum(one.verdict == 'pass' for one in verdicts)} rules hold, none is broken"
    elif checked:
        said += "; not checked against its own mock, which needs the extras check and mock"
    say(said)
    name = shlex.quote(shown_path(folder) if "/" in shown_path(folder) else f"./{shown_path(folder)}")
    say(f"next: testcard mock {name}; testcard check {name}=URL --live --max-requests 60")
    return Exit.PASS
