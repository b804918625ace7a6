"""profile.yaml: everything about a provider that OpenAPI cannot say, as frozen pydantic models.

Words used here. *meaning*: what a wire field stands for, in the task's own terms, the same for all providers
(`size`, `seed`, `delivery`). *format*: how that meaning is spelt on the wire (`data-url`: a picture as a data URL).
*must_accept*: values the documents state, which a conforming server takes. *may_refuse*: values worth trying, where a
4xx answer is no violation. Pointers are JSON pointers into the response body; `*` stands for every item of a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from testcard.specs.prices import PriceEntry

Task = Literal["generate", "edit", "variation", "describe"]
Level = Literal["must", "should", "info", "none"]
Meaning = Literal[
    "prompt", "negative_prompt", "model", "n", "size", "width", "height", "seed", "steps", "guidance", "sampler", "strength", "mode", "quality",
    "background", "format", "delivery", "user", "image", "mask", "aspect_ratio", "tier", "safety_tolerance", "max_tokens", "temperature",
    "stream", "messages", "async", "task_id", "other",
]  # fmt: skip
WireFormat = Literal["plain", "size", "base64", "data-url", "file", "url-or-base64", "messages"]

#: The key that Testcard's own mocks take unless another is asked for. It is public, no secret.
MOCK_API_KEY = "testcard"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clause(_Frozen):
    """Where a promise is made: the provider document's file name (or a public address) and the heading in it."""

    document: str
    heading: str
    source: Literal["document", "published-client", "http", "openai"] = "document"


class Header(_Frozen):
    """A header that carries the key: `name: prefix + key`."""

    name: str
    prefix: str = ""


class Auth(_Frozen):
    """How a request is authenticated and which environment variable a user keeps the key in."""

    header: Header
    also_accepts: tuple[Header, ...] = ()
    key_env: str
    clause: Clause


class WireField(_Frozen):
    """One field of the request (body property, form field or path parameter), keyed by its wire name.

    `part`: which piece of a model id split at "/" (0 or 1) a path parameter carries. `index`: which of several input
    pictures the field carries; None with `many` means all of them. `values`: task value → wire value, where they differ
    (a mode's task values are text-to-image, image-to-image and inpaint, by what the request carries).
    `models`: those that the document names for the field, where other models need not know it. `edits`: which part of a mask
    may change. `may_refuse` without `must_accept`: some models do not know the field, so that every value of it may be refused.
    `cheapest`: the value that a probe sends when it does not care. `also_formats`: further spellings that a server may
    take beside `format`; the client never sends them. `aliases`: further names that a server may take for the field.
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
    clause: Clause | None = None

    @property
    def model_specific(self) -> bool:
        """Whether a server may refuse the field altogether, with values that the schema allows too."""
        return bool(self.may_refuse) and not self.must_accept


class ResponseMap(_Frozen):
    """Where the answer keeps what a client needs (pointers into the JSON body).

    `pictures` names each picture's item; `base64`, `url`, `item_seed` and `finish` are relative to it ("" is the item itself).
    `formats`: formats a picture may have when none was asked for. `default_size`: pixels when no size was asked for.
    `tier_edge_px`: for a resolution tier, the edge of the square with the tier's area.
    """

    pictures: str | None = None
    base64: str | None = None
    url: str | None = None
    item_seed: str | None = None
    finish: str | None = None
    created: str | None = None
    cost: str | None = None
    balance: str | None = None
    usage: dict[Literal["prompt_tokens", "completion_tokens", "total_tokens"], str] = Field(default_factory=dict)
    echoes: dict[Meaning, str] = Field(default_factory=dict)
    formats: tuple[Literal["png", "jpeg", "webp"], ...] = ("png", "jpeg", "webp")
    default_delivery: Literal["base64", "url"] = "base64"
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


class OperationProfile(_Frozen):
    """One operation: its tasks, its fields by wire name, and the map of its answer.

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
    path: dict[str, WireField] = Field(default_factory=dict)
    fields: dict[str, WireField] = Field(default_factory=dict)
    needs: dict[str, tuple[Meaning, ...]] = Field(default_factory=dict)
    lenient: tuple[Lenient, ...] = ()
    response: ResponseMap = ResponseMap()
    clause: Clause

    def wire_name(self, meaning: Meaning, index: int | None = None) -> str | None:
        """The body field that carries `meaning` (the `index`-th picture, where pictures have a field each), or None."""
        for name, field in self.fields.items():
            if field.means == meaning and (index is None or field.many or field.index in (None, index)):
                return name
        return None


class AsyncProtocol(_Frozen):
    """Submit with `flag` set, get `status` and a task reference, poll `operation` until the state is terminal.

    `task_reference` (tried in order), `state`, `result`, `error`, `poll_url` and `elapsed_s` are pointers into the body;
    `states` gives the wire's word for each state.
    """

    flag: str
    status: int = 202
    task_reference: tuple[str, ...]
    operation: str
    parameter: str
    state: str
    states: dict[Literal["queued", "running", "completed", "failed"], str]
    result: str
    error: str | None = None
    poll_url: str | None = None
    elapsed_s: str | None = None
    poll_interval_s: float = 1.0
    timeout_s: float = 300.0
    idempotency_header: str | None = None
    clause: Clause

    def idempotency_key(self, headers: Iterable[tuple[str, str]]) -> str | None:
        """The value of the idempotency header among these headers; None without one, or where the protocol has none."""
        wanted = (self.idempotency_header or "").lower()
        return next((value for name, value in headers if name.lower() == wanted), None) if wanted else None


class Limits(_Frozen):
    """Bounds that prose states: upload size that must be accepted (whole body), the one clearly above, answer time."""

    upload_accept_bytes: int | None = None
    upload_above_bytes: int | None = None
    answer_time_s: float | None = None
    clause: Clause | None = None


class Errors(_Frozen):
    """Where an error body keeps its message and code (pointers, tried in order)."""

    message: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    retry_after_header: str = "retry-after"
    clause: Clause | None = None


class RuleEntry(_Frozen):
    """How one rule applies: its level here, where the promise is made, and for which operations (all, unless named).

    `statuses` narrows an entry to answers with these statuses; the first entry that fits holds.
    Level `none` switches the rule off for these operations; `note` says why, or how an ambiguity was read.
    """

    level: Level
    clause: Clause
    operations: tuple[str, ...] | None = None
    statuses: tuple[int, ...] | None = None
    note: str | None = None


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class ModelProfile(_Frozen):
    """A model that the documents name (or a public source does), and what it narrows of its operations' fields."""

    id: str
    operations: tuple[str, ...]
    fields: dict[str, WireField] = Field(default_factory=dict)
    clause: Clause


class DefaultTask(_Frozen):
    """The operation and model a task uses when the user names neither."""

    operation: str
    model: str | None = None


class Profile(_Frozen):
    """A whole profile.yaml."""

    format: Literal["testcard.profile/1"] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    name: str
    document: str
    base_urls: tuple[str, ...]
    auth: Auth
    tasks: dict[Task, DefaultTask]
    models: tuple[ModelProfile, ...]
    operations: dict[str, OperationProfile]
    asynchronous: AsyncProtocol | None = Field(default=None, alias="async")
    limits: Limits = Limits()
    errors: Errors = Errors()
    rules: dict[str, Annotated[tuple[RuleEntry, ...], BeforeValidator(_listed)]] = Field(default_factory=dict)
    prices: tuple[PriceEntry, ...] = ()
    notes: tuple[str, ...] = ()
