"""A profile proposed from a document alone: which operations make pictures, and what of them only a person can know.

Whatever the document tells is left out of the proposal, for it is read from there each time. What it does not tell is guessed so that the
proposal works against a mock, and asked: each question with the flag that answers it and with the guess that holds until then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testcard.specs.agreement import unsaid
from testcard.specs.completion import completed
from testcard.specs.document_problems import unusable
from testcard.specs.errors import SpecError, UsageError
from testcard.specs.errors_recognised import success_word
from testcard.specs.keys import header_of, ways_in, without_a_header
from testcard.specs.openapi import OpenApi, Operation
from testcard.specs.pointers import MISSING, parts_of, pointer_of, wire_parts
from testcard.specs.profile import AsyncProtocol, OperationProfile, Profile
from testcard.specs.reading import DocumentFiles
from testcard.specs.recognition import answer_schema, bare, field_data, leaves, request_data, response_data
from testcard.specs.schemas import made_up_value, schema_at, type_of
from testcard.specs.tasks_recognised import cancels, gives_reference, polls, state_places, task_data
from testcard.specs.wrong_keys import wrong_keys

Data = dict[str, Any]
#: Questions that one proposal asks at most; what is beyond keeps its guess.
MOST_QUESTIONS = 10
#: Operations that a proposal takes up at most, unless they are named.
MOST_OPERATIONS = 12
_MOST_ASKED_ABOUT = 200
_PICTURES = re.compile(
    r"image|picture|photo|img|draw|paint|flux|diffusion|dall|render|\bart|canvas|imagin|inpaint|outpaint|variation|generat|predict|sdxl",
    re.I,
)
_NO_PICTURES = re.compile(
    r"video|audio|speech|music|sound|voice|motion|\b3d|mesh|transcri|embed|moderat|caption|chat|completion|describe|detect|classif|translat",
    re.I,
)
_ABOUT_PICTURES_ONLY = re.compile(r"upscal|remov|vectori|segment|depth|relight|enhance|restor|colori", re.I)
_ABOUT_TASKS = re.compile(r"generation|task|result|status|predict|job|request|queue|poll|fetch|operation|progress", re.I)


@dataclass(frozen=True, slots=True)
class DocumentAnswers:
    """What a person said of the API; each None or empty where nothing was said.

    `picture`: the kind (url or base64) and the place of a picture. `states`: words by phase. `send`: values by wire name.
    `success`: where a body says whether it is a success, and the values that say so. `key_header`: the header and what stands before the key in it, ("", "") for an API without keys.
    """

    operations: tuple[str, ...] = ()
    prompt: str | None = None
    picture: tuple[str, str] | None = None
    models: tuple[str, ...] = ()
    key_header: tuple[str, str] | None = None
    base_url: str | None = None
    poll: str | None = None
    state: str | None = None
    states: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    send: Mapping[str, Any] = field(default_factory=dict)
    usd_each: float | None = None
    success: tuple[str, tuple[Any, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the document does not say: the flag that answers it (with its value's form), a sentence, and what holds meanwhile."""

    flag: str
    form: str
    text: str
    guess: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile as data, what was recognised (a line an operation), what is asked, and what was left out with the reason."""

    data: Data
    told: tuple[str, ...]
    questions: tuple[Question, ...]
    left_out: tuple[str, ...]


def propose(files: DocumentFiles, provider_id: str, answers: DocumentAnswers) -> Proposal:
    """The profile for a document. `UsageError` where no operation is known to make pictures, `SpecError` where it cannot be read."""
    found, left_out = _picture_operations(files, answers)
    draft = _Draft(files, provider_id, answers, found)
    draft.settle()
    return Proposal(draft.data, tuple(draft.told()), tuple(draft.questions[:MOST_QUESTIONS]), (*left_out, *draft.left_out))


# ── which operations ──────────────────────────────────────────────────────────────────────────────────────────────────


def readable(files: DocumentFiles, ids: Iterable[str]) -> list[Operation]:
    """Those of the operations that can be used, each with its document reduced to them; broken ones are left out."""
    wanted = list(dict.fromkeys(ids))
    try:
        whole = OpenApi(files, wanted)
        if not unusable(whole):
            return list(whole.operations.values())
    except SpecError:
        pass
    found: list[Operation] = []
    for name in wanted:
        try:
            alone = OpenApi(files, [name])
            if not unusable(alone):
                found += alone.operations.values()
        except SpecError:
            continue
    return found


def _picture_operations(files: DocumentFiles, answers: DocumentAnswers) -> tuple[list[str], list[str]]:
    """Ids of the operations that make pictures, the likeliest first, and why others were left out."""
    listed = OpenApi(files, []).documented
    if answers.operations:
        known = {one.id for one in listed}
        for name in answers.operations:
            if name not in known:
                raise UsageError(f"{files.root.path.name} has no operation {name}", hint=f"it has: {', '.join(sorted(known)[:30])}")
        return list(answers.operations), []
    posts = [one.id for one in listed if one.method in ("post", "put")]
    readers = _readers(files)
    scored: list[tuple[float, int, str]] = []
    left_out: list[str] = []
    for number, operation in enumerate(readable(files, posts[: 10 * _MOST_ASKED_ABOUT])):
        score, why = _likelihood(operation, readers)
        if score > 0:
            scored.append((-score, number, operation.id))
        elif why:
            left_out.append(f"{operation.id}: {why}")
    best = [name for _, _, name in sorted(scored)]
    if not best:
        named = ", ".join(posts[:20]) or "none that takes a body"
        raise UsageError(
            f"no operation of {files.root.path.name} is known to make pictures from a prompt",
            hint=f"name one with --operation ID, and its prompt with --prompt FIELD; it has: {named}",
        )
    beyond = best[MOST_OPERATIONS:]
    return best[:MOST_OPERATIONS], left_out[:MOST_OPERATIONS] + [f"{name}: beyond the first {MOST_OPERATIONS}" for name in beyond]


def _readers(files: DocumentFiles) -> list[Operation]:
    """The operations that may be asked about a task, or call one off."""
    listed = OpenApi(files, []).documented
    likely = [one for one in listed if one.method == "get" and _ABOUT_TASKS.search(f"{one.path} {one.id}")][:_MOST_ASKED_ABOUT]
    asked = {one.path for one in likely}
    others = [
        one.id
        for one in listed
        if (one.method in ("post", "put", "delete") and re.search("cancel|abort", f"{one.path} {one.id}", re.I))
        or (one.method == "delete" and one.path in asked)
    ]
    return [one for one in readable(files, [*(one.id for one in likely), *others]) if polls(one) or cancels(one)]


def _likelihood(operation: Operation, readers: Sequence[Operation]) -> tuple[float, str]:
    """How likely an operation makes pictures (0: it does not), and why one that looks like it was left out."""
    tags = operation.raw.get("tags")
    words = " ".join(
        [operation.path, operation.id, str(operation.raw.get("summary", "")), *map(str, tags if isinstance(tags, list) else ())]
    )
    data = request_data(operation)
    meanings = {entry["means"] for entry in data["fields"].values()}
    answer = response_data(operation)
    pictures = bool({"pictures", "binary"} & answer.keys())
    if "prompt" not in meanings and not ("image" in meanings and re.search("variation", words, re.I)):
        return 0, ""
    if "messages" in meanings or (_NO_PICTURES.search(words) and not re.search("image|picture|photo|img", words, re.I)):
        return 0, ""
    if _ABOUT_PICTURES_ONLY.search(words) and "prompt" not in meanings:
        return 0, ""
    unnamed = [name for name in operation.required if _by_address_only(name, operation.properties.get(name, {}), data["fields"])]
    if unnamed:
        return 0, f"{', '.join(unnamed)} takes a picture by its address only"
    task = gives_reference(operation) and task_data(operation, readers) is not None
    untyped = _says_nothing(operation)
    if not pictures and not task and not (untyped and _PICTURES.search(words)):
        return 0, "nothing says where its pictures are" if _PICTURES.search(words) else ""
    if re.search("video|audio|speech|music|3d|upload", f"{operation.path} {operation.id}", re.I):
        return 0, ""
    if "image" not in meanings and re.search("edit|inpaint|outpaint|img2img|image.?to.?image", f"{operation.path} {operation.id}", re.I):
        return 0, "none of its fields is known to take a picture"
    return 1 + 2 * pictures + 2 * bool(_PICTURES.search(words)) + ("prompt" in operation.required) - 0.5 * untyped, ""


def _by_address_only(name: str, schema: Any, fields: Mapping[str, Data]) -> bool:
    """Whether a required field is a picture that a check cannot give: one that only an address names."""
    return fields.get(name, {}).get("means") == "other" and field_data(name, {"type": "string", "description": "base64"})["means"] in (
        "image",
        "mask",
    )


def _says_nothing(operation: Operation) -> bool:
    """Whether the document does not describe what a success brings, or leaves room for anything."""
    schema = answer_schema(operation)
    if schema is None:
        return not any(operation.response_media_types(status) for status in operation.success_statuses)
    return type_of(schema) in (None, "object") and not any(place for place, _ in leaves(schema))


# ── the draft, and what has to be asked ───────────────────────────────────────────────────────────────────────────────


class _Draft:
    """The profile while it is being made whole: guesses go into `data`, each with its question."""

    def __init__(self, files: DocumentFiles, provider_id: str, answers: DocumentAnswers, operations: Sequence[str]) -> None:
        self.files = files
        self.answers = answers
        self.questions: list[Question] = []
        self.left_out: list[str] = []
        self.entries: dict[str, Data] = {name: {} for name in operations}
        self.given: Data = {"schema": "testcard.profile/1", "id": provider_id}
        if answers.base_url is not None:
            self.given["base_urls"] = [answers.base_url]
        if answers.key_header is not None:
            name, prefix = answers.key_header
            variable = re.sub(r"[^A-Z0-9]+", "_", provider_id.upper()) + "_API_KEY"
            self.given["auth"] = {"header": {"name": name, "prefix": prefix}, "key_env": variable} if name else {}
        self.helpers: list[str] = []
        self.openapi: OpenApi = OpenApi(files, operations)
        self.profile: Profile | None = None

    @property
    def data(self) -> Data:
        """The profile as it would be written."""
        entries = {**self.entries, **{name: {} for name in self.helpers}}
        return {**self.given, "operations": entries if any(entries.values()) else list(entries)}

    def settle(self) -> None:
        """Fills in what the answers say, then guesses, until nothing is missing."""
        if self.answers.prompt is not None:
            for name in self.entries:
                self.entries[name].setdefault("fields", {})[self.answers.prompt] = "prompt"
        self._add_helpers()
        self._let_in()
        self._read()
        self._prompts()
        self._pictures()
        self._tasks()
        self._models()
        self._values()
        self._read()
        self._successes()
        self._drop_unusable()
        self._about_the_api()

    def _let_in(self) -> None:
        """A way to be let in, where the document's own are none that requests can take."""
        found = without_a_header(self.openapi) if "auth" not in self.given else None
        if found is not None:
            schemes = self.openapi.raw["components"]["securitySchemes"]
            headers = [header for way in ways_in(self.openapi) for name in way if (header := header_of(schemes[name])) is not None]
            variable = re.sub(r"[^A-Z0-9]+", "_", str(self.given["id"]).upper()) + "_API_KEY"
            self.given["auth"] = {"header": headers[0], "key_env": variable} if headers else {}
            guess = f"{headers[0]['name']}: {headers[0]['prefix']}".strip() if headers else "none: it needs no key"
            self._ask("--key-header", "'NAME: WORD'", f"Which header takes the key? {found[0][-1]} {found[1]}.", guess)

    def _read(self) -> None:
        """The profile completed by the document, as it stands."""
        self.openapi = OpenApi(self.files, [*self.entries, *self.helpers])
        whole = completed(self.data, self.openapi, str(self.given["id"]))
        problems = wrong_keys(Profile, whole)
        if problems:
            pointer, said = problems[0]
            raise UsageError(f"the profile cannot be made: {'.'.join(map(str, pointer))} {said}")
        self.profile = Profile.model_validate(whole)

    def _entry(self, name: str) -> OperationProfile:
        assert self.profile is not None
        return self.profile.operations[name]

    def _add_helpers(self) -> None:
        """Operations that are asked about the tasks of those that are there."""
        listed = {one.id for one in self.openapi.documented}
        if self.answers.poll is not None:
            if self.answers.poll not in listed:
                raise UsageError(f"{self.files.root.path.name} has no operation {self.answers.poll}", hint="name one with --poll ID")
            readers = readable(self.files, [self.answers.poll])
            self.helpers.append(self.answers.poll)
        else:
            readers = _readers(self.files)
        for operation in list(self.openapi.operations.values()):
            protocol = task_data(operation, [one for one in readers if one.id != operation.id]) if gives_reference(operation) else None
            for key in ("result_from", "cancel"):
                if protocol is not None and key in protocol:
                    self.helpers.append(protocol[key]["operation"])
            if protocol is not None and "operation" in protocol:
                self.helpers.append(protocol["operation"])
        self.helpers = [name for name in dict.fromkeys(self.helpers) if name not in self.entries]

    def _prompts(self) -> None:
        for name in list(self.entries):
            operation, entry = self.openapi.operations[name], self._entry(name)
            meanings = {one.means for one in entry.fields.values()}
            if {"prompt", "messages", "image"} & meanings:
                continue
            texts = [one for one, schema in operation.properties.items() if type_of(schema) == "string"]
            wanted = next((one for one in texts if one in operation.required), next(iter(texts), None))
            if wanted is None:
                self._drop(name, "no field of it is a text, so none can be the prompt")
                continue
            self.entries[name].setdefault("fields", {})[wanted] = "prompt"
            self._ask("--prompt", "FIELD", f"Which field of {name} is the prompt?", wanted)
        self._read()

    def _pictures(self) -> None:
        for name in list(self.entries):
            entry = self._entry(name)
            where = entry.response
            if entry.kind != "images" or where.pictures is not None or where.binary or where.events is not None:
                if self.answers.picture is not None and entry.kind == "images":
                    self.entries[name]["response"] = _response(*self.answers.picture)
                continue
            kind, place = self.answers.picture or self._guessed_place(name)
            self.entries[name]["response"] = _response(kind, place)
            if self.answers.picture is None:
                text = f"Where in the answer (of {name}, or of its task) is a picture? `*` stands for each item of a list."
                self._ask("--picture", "url=PLACE or base64=PLACE", text, f"{kind}={place}")
            self.entries[name].setdefault("tasks", _tasks_of(entry))
        self._read()

    def _guessed_place(self, name: str) -> tuple[str, str]:
        """Where a picture may be: below the place of which the document says nothing, else where OpenAI has it."""
        protocol = self._protocol(name)
        polled = self.openapi.operations.get(protocol.operation or "") if protocol is not None else self.openapi.operations[name]
        for place, schema in leaves(answer_schema(polled) or {}) if polled is not None else ():
            if place and "*" not in place and bare(place[-1]) in ("result", "output", "data") and type_of(schema) in (None, "object"):
                return "url", pointer_of((*place, "url"))
        return "url", "/data/*/url" if protocol is None else "/url"

    def _protocol(self, name: str) -> AsyncProtocol | None:
        own = self._entry(name).asynchronous
        assert self.profile is not None
        return own if isinstance(own, AsyncProtocol) else self.profile.asynchronous if own is None else None

    def _tasks(self) -> None:
        """The words of an async protocol that the document does not say."""
        for name in list(self.entries):
            protocol = self._protocol(name)
            if protocol is None or protocol.operation is None:
                continue
            if self.answers.state is not None or self.answers.states:
                data: Data = protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True)
                data |= {"state": self.answers.state} if self.answers.state is not None else {}
                data |= {"states": {phase: list(words) for phase, words in self.answers.states.items()}} if self.answers.states else {}
                self.given["async"] = data
            elif not protocol.states:
                place = self._state_place(protocol)
                if place is None:
                    text = "Where does a poll say how far a task is?"
                    self._ask("--state", "PLACE", text, "nowhere: status 202 means that it goes on")
                    continue
                guess = {"queued": ["queued", "pending"], "running": ["running", "processing"]} | {
                    "completed": ["completed", "succeeded"],
                    "failed": ["failed", "error"],
                }
                data = protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True)
                self.given["async"] = {**data, "state": place, "states": guess}
                words = ",".join(f"{phase}={'+'.join(names)}" for phase, names in guess.items())
                self._ask("--states", "PHASE=WORD+WORD,…", f"Which words say at {place} how far a task is?", words)
        self._read()

    def _state_place(self, protocol: AsyncProtocol) -> str | None:
        polled = self.openapi.operations.get(protocol.operation or "")
        answer = (answer_schema(polled) or {}) if polled is not None else {}
        return next((pointer_of(place) for place, one in state_places(answer) if type_of(one) in ("string", None)), None)

    def _models(self) -> None:
        assert self.profile is not None
        if self.answers.models:
            self.given["models"] = list(self.answers.models)
            self._read()
            return
        for name in self.entries:
            operation, entry = self.openapi.operations[name], self._entry(name)
            asked = [one for one, data in entry.fields.items() if data.means == "model" and _is_required(operation, one)]
            halves = [data.part for data in entry.path.values() if data.means == "model"]
            if (asked or halves) and not any(name in model.operations for model in self.profile.models):
                made_up = "owner/model" if any(part is not None for part in halves) else "model"
                self.given.setdefault("models", [made_up])
                self._ask("--model", "ID", f"Which model is {name} asked for? The document names none.", made_up)
                self._read()

    def _values(self) -> None:
        """Values for what is required and means nothing to us."""
        for name in list(self.entries):
            operation, entry = self.openapi.operations[name], self._entry(name)
            for kind, wire_name in list(unsaid(operation, entry)):
                schema = _schema_of(operation, kind, wire_name)
                value = self.answers.send.get(wire_name, self.answers.send.get(parts_of(wire_name)[-1], MISSING))
                if value is MISSING:
                    value = made_up_value(schema)
                    if value is MISSING:
                        self._drop(
                            name, f"{wire_name} is required, and no value for it could be made up: give one with --send {wire_name}=…"
                        )
                        break
                    about = str(schema.get("description", "")).strip().partition("\n")[0][:120]
                    self._ask("--send", f"{wire_name}=VALUE", f"What is sent as {wire_name}? {about}".strip(), str(value))
                self.entries[name].setdefault(kind, {})[wire_name] = {"means": "other", "send": value}

    def _successes(self) -> None:
        """How an error that is sent with status 200 is told from a success."""
        assert self.profile is not None
        if self.answers.success is not None:
            place, values = self.answers.success
            self.given["errors"] = {"success": {"at": place, **({"values": list(values)} if values else {})}}
            self._read()
        elif self.profile.errors.success is None:
            word = next((word for one in self.openapi.operations.values() if (word := success_word(one)) is not None), None)
            if word is not None:
                text = f"Which value at {word.at} of an answer with status 200 says that it is a success?"
                self._ask("--success", f"{word.at}=VALUE", text, "none does: the status alone tells")

    def _drop_unusable(self) -> None:
        """Operations that do nothing as far as both files say."""
        for name in list(self.entries):
            entry = self._entry(name)
            if not entry.tasks and name not in self.answers.operations and len(self.entries) > 1:
                self._drop(name, "nothing says what it does")
        if self.profile is not None and not self.profile.tasks:
            raise UsageError(
                f"{', '.join(self.entries)}: nothing says how a picture comes of it",
                hint="say it with --prompt FIELD, --picture KIND=PLACE, or --poll ID for work that is fetched later",
            )

    def _drop(self, name: str, why: str) -> None:
        self.left_out.append(f"{name}: {why}")
        del self.entries[name]
        if not self.entries:
            raise UsageError(f"no operation is left: {'; '.join(self.left_out)}", hint="name one with --operation ID")
        self._read()

    def _about_the_api(self) -> None:
        """What stands in no document, or was forgotten in this one."""
        assert self.profile is not None
        if not self.profile.base_urls:
            self._ask("--base-url", "URL", "At what address is it?", "none: it is named with each command")
        if self.profile.auth.header is None and self.answers.key_header is None:
            text = "In which header does the key go, and after what word?"
            self._ask("--key-header", "'NAME: WORD'", text, "none: it needs no key")
        elif self.answers.key_header is None and self._word_is_guessed():
            self._ask("--key-header", "'NAME: WORD'", "After what word does the key go in Authorization?", "Authorization: Bearer")
        if self.answers.usd_each is not None:
            self.given["prices"] = [
                {
                    "models": ["*"],
                    "status": "list",
                    "price": {"kind": "per-image", "usd_each": self.answers.usd_each},
                    "source": "said when the profile was proposed",
                }
            ]
        else:
            self._ask("--price", "USD", "What does one picture cost?", "unknown, so --max-cost cannot be used")

    def _word_is_guessed(self) -> bool:
        """Whether the document names the Authorization header alone, not what goes into it before the key."""
        schemes = (self.openapi.raw.get("components") or {}).get("securitySchemes") or {}
        used = [scheme for way in ways_in(self.openapi) for name in way if isinstance(scheme := schemes.get(name), Mapping)]
        return bool(used) and all(str(one.get("name", "")).lower() == "authorization" and "Bearer" not in str(one) for one in used)

    def _ask(self, flag: str, form: str, text: str, guess: str) -> None:
        question = Question(flag, form, text, guess)
        same = [one for one in self.questions if (one.flag, one.form) == (flag, form) and (flag != "--prompt" or one.guess == guess)]
        if not same:
            self.questions.append(question)

    def told(self) -> Iterator[str]:
        """A line for each operation: what it does, which field means what, where the pictures are, how a task is followed."""
        assert self.profile is not None
        for name in self.entries:
            operation, entry = self.openapi.operations[name], self._entry(name)
            fields = [
                wire if wire == one.means else f"{wire} = {one.means}"
                for kind in (entry.path, entry.fields)
                for wire, one in kind.items()
                if one.means != "other"
            ]
            where = entry.response
            at = where.pictures if where.pictures is not None else "the body" if where.binary else "a stream"
            inner = next((one for one in (where.base64, where.url) if one), None)
            protocol = self._protocol(name)
            later = f"; a task, asked about by {protocol.operation or 'its address'}" if protocol is not None else ""
            pictures = f"pictures at {at}{'/' + inner if inner else ''}" if entry.kind == "images" else "an answer in words"
            yield f"{name} ({operation.method} {operation.path}): {', '.join(entry.tasks)}; {', '.join(fields)}; {pictures}{later}"
        success = self.profile.errors.success
        if success is not None:
            values = " or ".join(json.dumps(value) for value in success.values) or "nothing"
            yield f"errors may come with the status of a success: one has {values} at {success.at}"


def _is_required(operation: Operation, name: str) -> bool:
    """Whether a body has to have this field, wherever in it that is, as far as its own object says."""
    *owner, last = wire_parts(name)
    return last in (operation.required if not owner else schema_at(operation.request_schema, owner).get("required") or ())


def _tasks_of(entry: OperationProfile) -> list[str]:
    meanings = {one.means for one in entry.fields.values()}
    return ["generate"] if "image" not in meanings else ["generate", "edit"] if "prompt" in meanings else ["variation"]


def _schema_of(operation: Operation, kind: str, name: str) -> Mapping[str, Any]:
    if kind == "fields":
        return schema_at(operation.request_schema, wire_parts(name))
    return {"path": operation.path_parameters, "query": operation.query_parameters}.get(kind, operation.header_parameters).get(name, {})


def _response(kind: str, place: str) -> Data:
    """The response map for one place of a picture."""
    parts = parts_of(place)
    last = len(parts) - parts[::-1].index("*") if "*" in parts else max(0, len(parts) - 1)
    return {"pictures": pointer_of(parts[:last]), kind: "/".join(parts[last:]), "default_delivery": kind}


__all__ = ["DocumentAnswers", "Proposal", "Question", "propose", "readable"]
