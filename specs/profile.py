"""profile.yaml: everything about a provider that OpenAPI cannot say, as frozen pydantic models.

Words used here. *meaning*: what a wire field stands for, in the task's own terms, the same for all providers
(`size`, `seed`, `delivery`). *format*: how that meaning is spelt on the wire (`data-url`: a picture as a data URL).
*must_accept*: values the documents state, which a conforming server takes. *may_refuse*: values worth trying, where a
4xx answer is no violation. *place*: where an answer keeps something: a JSON pointer into the body ("" is the whole body, `*`
stands for every item of a list), or `header:NAME` for a header of the answer. *wire name*: the name of a property of the request's
body, or a JSON pointer to one further in (`/text_prompts/0/text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, model_validator

from testcard.specs.prices import PriceEntry

Task = Literal["generate", "edit", "variation", "describe"]
Level = Literal["must", "should", "info", "none"]
Meaning = Literal[
    "prompt", "negative_prompt", "model", "n", "size", "width", "height", "seed", "steps", "guidance", "sampler", "strength", "mode", "quality",
    "background", "format", "delivery", "user", "image", "mask", "aspect_ratio", "tier", "safety_tolerance", "max_tokens", "temperature",
    "stream", "messages", "async", "task_id", "style", "megapixels", "other",
]  # fmt: skip
#: `text`: a number that travels as text ("512"). `url`: a picture by its address only; `url-or-…`: by its address, or spelt so.
WireFormat = Literal["plain", "text", "size", "base64", "data-url", "file", "url", "url-or-base64", "url-or-data-url", "messages"]
#: How a picture comes back: as text in the body, as an address, or as the body itself.
Delivery = Literal["base64", "url", "binary"]
#: How far a task is, whatever its provider calls that. `moderated`: it ended without a picture because of what was asked for.
TaskPhase = Literal["queued", "running", "completed", "failed", "moderated", "cancelled"]
#: Token counts of an answer, however the wire calls them. The last two are parts of the prompt's.
TokenCount = Literal["prompt_tokens", "completion_tokens", "total_tokens", "text_in_tokens", "image_in_tokens"]
Place = str

#: The key that Testcard's own mocks take unless another is asked for. It is public, no secret.
MOCK_API_KEY = "testcard"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


#: A word of the wire, or several that mean the same.
Words = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]


#: What a task's state is: a word, or a number or a truth where an API has that (`done: true`).
StateWord = StrictBool | StrictInt | str
StateWords = Annotated[tuple[StateWord, ...], BeforeValidator(_listed, json_schema_input_type=StateWord | tuple[StateWord, ...])]


def state_word(value: Any) -> str | None:
    """A state as it is compared and shown: the text itself, true and false, a whole number's digits; None for what is no state."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


class Clause(_Frozen):
    """Where a promise is made: the provider document's file name (or a public address; the profile's own `document` unless named) and the
    heading in it."""

    document: str = ""
    heading: str
    source: Literal["document", "published-client", "http", "openai"] = "document"


class PublicDocument(_Frozen):
    """What a document is called, and where everybody can read it: the page's address, None for one that is not public."""

    title: str
    address: Annotated[str, Field(pattern=r"^https?://")] | None = None


class Header(_Frozen):
    """A header that carries the key: `name: prefix + key`."""

    name: str
    prefix: str = ""


class Auth(_Frozen):
    """How a request is authenticated and which environment variable a user keeps the key in; without a header it needs no key."""

    header: Header | None = None
    also_accepts: tuple[Header, ...] = ()
    key_env: str = ""
    clause: Clause | None = None

    @property
    def headers(self) -> tuple[Header, ...]:
        """Every header that may carry the key, the one that is sent first; none where no key is needed."""
        return (*((self.header,) if self.header is not None else ()), *self.also_accepts)


class WireField(_Frozen):
    """One field of the request, keyed by its wire name: a property of the body, or a parameter of the path, the query or a header.

    `part`: which piece of a model id split at "/" (0 or 1) a path parameter carries. `index`: which of several input
    pictures the field carries; None with `many` means all of them. `values`: task value → wire value, where they differ
    (a mode's task values are text-to-image, image-to-image and inpaint, by what the request carries; a size's are 512x512 and the
    like, an aspect ratio's 16:9 and the like). `send`: the value that every request carries where nobody gives another.
    `models`: those that the document names for the field, where other models need not know it. `closed`: whether the values that
    the document lists (of models above all) are all there are; None where its schema tells. `edits`: which part of a mask
    may change. `may_refuse` without `must_accept`: some models do not know the field, so that every value of it may be refused.
    `cheapest`: the value that a probe sends when it does not care. `also_formats`: further spellings that a server may
    take beside `format`; the client never sends them. `aliases`: further names that a server may take for the field.
    `nested`: how a form spells an object or a list of them: as JSON text, as `name[key]`, or as `name.key`.
    """

    means: Meaning
    format: WireFormat = "plain"
    part: int | None = None
    index: int | None = None
    many: bool = False
    also_formats: tuple[WireFormat, ...] = ()
    aliases: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    edits: Literal["white", "transparent"] | None = None
    values: dict[str, str] = Field(default_factory=dict)
    must_accept: tuple[Any, ...] = ()
    may_refuse: tuple[Any, ...] = ()
    cheapest: Any = None
    send: Any = None
    closed: bool | None = None
    nested: Literal["json", "brackets", "dots"] = "json"
    clause: Clause | None = None

    @property
    def model_specific(self) -> bool:
        """Whether a server may refuse the field altogether, with values that the schema allows too."""
        return bool(self.may_refuse) and not self.must_accept


class Amount(_Frozen):
    """Where an answer states an amount of money, as a number or as a number in text, and what one of its units is worth.

    `usd_each`: US dollars of one unit (1 for dollars, the rate of a credit); None where nobody says, so that it is no figure in dollars.
    A profile may write the place alone.
    """

    at: Place
    usd_each: Annotated[float, Field(gt=0)] | None = 1.0
    source: str | None = None


def _amount(value: Any) -> Any:
    return {"at": value} if isinstance(value, str) else value


AmountPlace = Annotated[Amount, BeforeValidator(_amount, json_schema_input_type=str | Amount)]


class PictureEvents(_Frozen):
    """How an event stream of pictures is read, where a field that means `stream` asks for one.

    `type`: where an event's data names its type; None: the event's own name tells (SSE's `event:`). `partial`, `completed`, `error`:
    the types that bring a preview, a finished picture, an error. `base64` or `url`: the picture in an event's data; `index`: which
    preview it is. `usage`: as in the response map, in the data of a completed event. `end`: the data that ends the stream; None: its
    last completed event does.
    """

    type: Place | None = "/type"
    partial: Words = ()
    completed: Words
    error: Words = ("error",)
    base64: Place | None = None
    url: Place | None = None
    index: Place | None = None
    usage: dict[TokenCount, Place] = Field(default_factory=dict)
    end: str | None = None


class ResponseMap(_Frozen):
    """Where the answer keeps what a client needs.

    `pictures` names each picture's item (with a `*` for each list on the way: `/data/*/images/*`; without one, the one picture);
    `base64`, `url`, `item_seed` and `finish` are relative to it ("" is the item itself), but for a `header:`. `data_url`: what
    stands at `base64` is a data URL. `binary`: media types of answers whose body is the picture itself. `accept`: the Accept header
    that asks for each delivery, where it decides. `withheld`: words at `finish` that say that a picture was held back for its content.
    `formats`: formats a picture may have when none was asked for. `default_size`: pixels when no size was asked for.
    `tier_edge_px`: for a resolution tier, the edge of the square with the tier's area.
    """

    pictures: Place | None = None
    base64: Place | None = None
    url: Place | None = None
    data_url: bool = False
    binary: tuple[str, ...] = ()
    accept: dict[Delivery, str] = Field(default_factory=dict)
    item_seed: Place | None = None
    finish: Place | None = None
    withheld: tuple[str, ...] = ()
    created: Place | None = None
    cost: AmountPlace | None = None
    balance: AmountPlace | None = None
    usage: dict[TokenCount, Place] = Field(default_factory=dict)
    echoes: dict[Meaning, Place] = Field(default_factory=dict)
    events: PictureEvents | None = None
    formats: tuple[Literal["png", "jpeg", "webp"], ...] = ("png", "jpeg", "webp")
    default_delivery: Delivery = "base64"
    default_size: tuple[int, int] | None = None
    url_lifetime_s: float | None = None
    tier_edge_px: dict[str, int] = Field(default_factory=dict)


class Lenient(_Frozen):
    """A place in the request where a server may take more than the schema says, and is conforming either way.

    `pointer` leads into the body (`*`: every item); `types` are the further JSON types. No negative case is made of it.
    """

    pointer: str
    types: tuple[Literal["string", "number", "integer", "boolean", "array", "object", "null"], ...]
    note: str


class TaskCall(_Frozen):
    """A further operation about a task, and its parameter (of the path, else of the query) that takes the task's reference."""

    operation: str
    parameter: str


class AsyncProtocol(_Frozen):
    """Submit (with `flag` set, where there is one; without, every request becomes a task), get one of `status` and a task reference,
    then poll until the state is terminal.

    Polled is `operation` with the reference as its `parameter` (of the path, else of the query), or the address at `poll_url`, which
    wins where both are there and `poll_by` says so. `task_reference` (tried in order), `state`, `result`, `error`, `poll_url`,
    `result_url`, `progress` and `elapsed_s` are places; those of the acceptance and of a poll alike. `states` gives the wire's words
    for each phase (`true`, `2` where its states are truths or numbers; an `error` beside a truth says that the task failed); without `state` the status of a poll tells (202: running, another success: completed).
    The response map of the operation holds below `result`: in the poll's own body, or in what answers at `result_url` or to
    `result_from`. `cancel`: what calls a task off. `cost`: of the task, in its acceptance or a poll.
    """

    flag: str | None = None
    status: Annotated[tuple[int, ...], BeforeValidator(_listed, json_schema_input_type=int | tuple[int, ...])] = (202,)
    task_reference: tuple[Place, ...] = ()
    operation: str | None = None
    parameter: str | None = None
    poll_url: Place | None = None
    poll_by: Literal["reference", "address"] = "reference"
    state: Place | None = None
    states: dict[TaskPhase, StateWords] = Field(default_factory=dict)
    result: Place = ""
    result_url: Place | None = None
    result_from: TaskCall | None = None
    cancel: TaskCall | None = None
    error: Place | None = None
    elapsed_s: Place | None = None
    progress: Place | None = None
    cost: AmountPlace | None = None
    poll_interval_s: float = 1.0
    timeout_s: float = 300.0
    idempotency_header: str | None = None
    clause: Clause | None = None

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that are asked about a task."""
        calls = (self.operation, *(call.operation for call in (self.result_from, self.cancel) if call is not None))
        return tuple(name for name in calls if name is not None)

    def phase(self, word: str | None) -> TaskPhase | None:
        """The phase that a word of the wire stands for; None for none, and for one that the profile does not know."""
        if word is None:
            return None
        return next((phase for phase, words in self.states.items() if word in map(state_word, words)), None)

    def ended(self, word: str | None) -> bool:
        """Whether a word of the wire says that a task is over, one way or another."""
        return self.phase(word) in ("completed", "failed", "moderated", "cancelled")

    def word(self, phase: TaskPhase) -> StateWord | None:
        """The wire's (first) word for a phase, as it stands in an answer; None where it has none."""
        return next(iter(self.states.get(phase, ())), None)

    def idempotency_key(self, headers: Iterable[tuple[str, str]]) -> str | None:
        """The value of the idempotency header among these headers; None without one, or where the protocol has none."""
        wanted = (self.idempotency_header or "").lower()
        return next((value for name, value in headers if name.lower() == wanted), None) if wanted else None


class OperationProfile(_Frozen):
    """One operation: its tasks, its parameters and fields by wire name, and the map of its answer.

    `kind` picks the codec: `images` (one request, pictures back), `chat` (messages in, text or an event stream out),
    `task` (polls an async task). `needs`: the meanings a request cannot do without although the schema does not require
    them, by task or by the wire's word of the mode field.
    """

    kind: Literal["images", "chat", "task"] = "images"
    tasks: tuple[Task, ...] = ()
    billed: bool = True
    auth_required: bool = True
    model: str | None = None  # the model a request without a model field gets, or the cheapest one to ask for
    models: tuple[str, ...] = ()
    media_type: str | None = None  # of the body, where the document offers several
    alternative: str | None = None  # of the body, where it may be one of several kinds: its model or other telling value, its title or name
    path: dict[str, WireField] = Field(default_factory=dict)
    query: dict[str, WireField] = Field(default_factory=dict)
    headers: dict[str, WireField] = Field(default_factory=dict)
    fields: dict[str, WireField] = Field(default_factory=dict)
    needs: dict[str, tuple[Meaning, ...]] = Field(default_factory=dict)
    lenient: tuple[Lenient, ...] = ()
    response: ResponseMap = ResponseMap()
    asynchronous: AsyncProtocol | Literal["none"] | None = Field(default=None, alias="async")
    clause: Clause | None = None

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The first body field of each meaning."""
        found: dict[str, str] = {}
        for name, field in self.fields.items():
            found.setdefault(field.means, name)
        return found

    def wire_name(self, meaning: Meaning, index: int | None = None) -> str | None:
        """The body field that carries `meaning` (the `index`-th picture, where pictures have a field each), or None."""
        if index is None:
            return self.names.get(meaning)
        for name, field in self.fields.items():
            if field.means == meaning and (field.many or field.index in (None, index)):
                return name
        return None


class Limits(_Frozen):
    """Bounds that prose states: upload size that must be accepted (whole body), the one clearly above, answer time."""

    upload_accept_bytes: int | None = None
    upload_above_bytes: int | None = None
    answer_time_s: float | None = None
    clause: Clause | None = None


def _texts_for_keys(value: Any) -> Any:
    return {str(key): one for key, one in value.items()} if isinstance(value, dict) else value


class Success(_Frozen):
    """How a body says that it is an error although its status is a success's, for APIs that send errors with status 200.

    At `at` stands one of `values` in a success; without `values` nothing does (null, false, 0, or empty), for it is an error's own place.
    Where the body has no such place, the status alone tells. `statuses`: the HTTP status that a code stands for (`1004: 401`), the code
    being what is at the errors' `code`, else at `at`. A code from 400 to 599 stands for itself, every other for 400.
    """

    at: Annotated[str, Field(pattern=r"^/")]
    values: Annotated[tuple[Any, ...], BeforeValidator(_listed, json_schema_input_type=str | int | bool | tuple[Any, ...])] = ()
    statuses: Annotated[dict[str, Annotated[int, Field(ge=400, le=599)]], BeforeValidator(_texts_for_keys)] = Field(default_factory=dict)


class Errors(_Frozen):
    """Where an error body keeps its message and code (pointers, tried in order). `success`: what tells errors sent as successes."""

    message: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    success: Success | None = None
    retry_after_header: str = "retry-after"
    clause: Clause | None = None


class RuleEntry(_Frozen):
    """How one rule applies where that is not what the rule says itself: its level here, where the promise is made, and for which
    operations (all, unless named).

    `statuses` narrows an entry to answers with these statuses; the first entry that fits holds. Without `level` or `clause` the rule's
    own holds. Level `none` switches the rule off for these operations; `note` says why, or how an ambiguity was read. A profile may
    write the level alone.
    """

    level: Level | None = None
    clause: Clause | None = None
    operations: tuple[str, ...] | None = None
    statuses: tuple[int, ...] | None = None
    note: str | None = None


def _rule_entries(value: Any) -> Any:
    return [{"level": entry} if isinstance(entry, str) else entry for entry in _listed(value)]


class ModelProfile(_Frozen):
    """A model that the documents name (or a public source does), and what it narrows of its operations' fields."""

    id: str
    operations: tuple[str, ...]
    fields: dict[str, WireField] = Field(default_factory=dict)
    clause: Clause | None = None


class DefaultTask(_Frozen):
    """The operation and model a task uses when the user names neither."""

    operation: str
    model: str | None = None


def _with_document(value: Any, document: str) -> Any:
    """The value with the document's name in each clause that names none."""
    if isinstance(value, Mapping):
        return {
            key: {"document": document, **one} if key == "clause" and isinstance(one, Mapping) else _with_document(one, document)
            for key, one in value.items()
        }
    return [_with_document(one, document) for one in value] if isinstance(value, list) else value


class Profile(_Frozen):
    """A whole profile.yaml."""

    format: Literal["testcard.profile/1"] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    openapi: str | None = None  # the API document's file in the profile's folder; None: openapi.yaml, else the one document there
    name: str
    document: str
    documents: dict[str, PublicDocument] = Field(default_factory=dict)  # by the name that `document` and clauses cite them by
    base_urls: tuple[str, ...] = ()  # none where every user has a server of their own
    auth: Auth
    tasks: dict[Task, DefaultTask]
    models: tuple[ModelProfile, ...]
    operations: dict[str, OperationProfile]
    asynchronous: AsyncProtocol | None = Field(default=None, alias="async")
    limits: Limits = Limits()
    errors: Errors = Errors()
    rules: dict[
        str,
        Annotated[tuple[RuleEntry, ...], BeforeValidator(_rule_entries, json_schema_input_type=RuleEntry | tuple[RuleEntry, ...] | Level)],
    ] = Field(default_factory=dict)
    prices: tuple[PriceEntry, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _own_document(cls, data: Any) -> Any:
        return _with_document(data, data["document"]) if isinstance(data, Mapping) and isinstance(data.get("document"), str) else data
