"""A few attacks of the kit on the clients and on commands as a user starts them; all of them on every command: `hostile/kit/table.py`, by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hostile.kit.server import ATTACKS, Server
from hostile.kit.table import carried_out

from testcard.harness.client import AsyncClient, Client, ClientError
from testcard.harness.errors import UsageError
from testkit.pictures import plain

#: Seconds that an answer is waited for here, and that nobody on any machine needs to give it up.
TIMEOUT_S, NEVER_S = 0.5, 60.0

SOME = [
    "dripped-headers", "interim-flood", "interim-dripped", "huge-header", "many-headers", "huge-status-line", "http-0-9", "tls-rubbish",
    "length-2-31", "length-400-digits", "length-negative", "dripped-body", "half-a-body", "reset-in-body", "chunked-one-byte-each",
    "chunked-size-line-forever", "chunked-trailers-forever", "coding-unknown", "gzip-fifty-times", "deep-arrays", "many-empty-arrays",
    "digits-5000", "cost-1e999", "created-10-400", "lone-surrogates", "lone-surrogate-picture", "controls-in-message", "utf-16",
    "usage-10-400", "usage-nan", "seed-10-400", "retry-after-year", "retry-after-zone", "retry-after-huge", "pictures-empty-20000",
    "bomb-claims-gigapixels", "eps", "tiff", "svg", "ztxt-many", "chunk-length-huge", "gif-frames", "webp-rubbish", "avif-rubbish",
    "jpeg-claims", "apng-frames", "url-to-metadata", "url-to-file", "url-to-other-port", "url-v6-mapped", "url-bracket", "urls-in-circles",
    "redirect-circle", "redirect-file", "download-dripped-headers", "download-redirect-metadata", "task-dots", "task-newline", "task-retry-year",
    "task-for-ever", "task-deep", "task-result-deep", "stream-ids-are-lists", "stream-comments", "stream-returns", "stream-deep",
    "stream-usage-huge", "stream-after-done", "stream-cut-letter", "cookies", "honest",
    "line-feeds-only", "interim-huge", "two-answers", "upload-never-read", "upload-refused-early", "length-list-differs", "length-2-32-and-2",
    "chunked-huge-trailer", "gzip-endless-empty-members", "exponent-huge", "cost-text-of-a-megabyte", "keys-alike", "media-type-controls",
    "url-full-width", "url-no-scheme", "url-port-word", "redirect-308-origin", "download-origin", "task-poll-metadata", "task-state-huge",
    "stream-values", "stream-surrogates", "stream-delta-list", "stream-finish-odd", "png-2-32", "apng-2000", "jpeg-scans", "base64-padding",
    "words-controls-401", "words-lines", "key-entities-400", "key-in-status-line", "key-in-location", "stream-key",
    "jpeg-markers-padded", "gif-comments-million", "png-iccp-9000", "url-nul-in-host", "url-soft-hyphen", "url-zero-width", "chunked-trailer-dripped", "half-closed-in-the-head",
    "interim-with-a-body", "words-sixel", "key-base32-400", "task-id-percent-line", "stream-comment-endless",
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.close()


def _ended(work: Any) -> str:
    """How a client's call ended: in a result or a typed error, whatever it met; "never" where it did not."""
    found = ["never"]

    def carried_out() -> None:
        try:
            work()
            found[0] = "result"
        except (ClientError, UsageError) as error:
            found[0] = f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test is to show it)
            found[0] = f"RAISED {type(error).__name__}: {error}"

    thread = threading.Thread(target=carried_out, daemon=True)
    thread.start()
    thread.join(NEVER_S)
    return found[0]


@pytest.mark.parametrize("name", SOME)
def test_a_call_ends_in_a_result_or_an_error_of_its_own(server: Server, name: str) -> None:
    """In its time, sync and async; what is said of it can be shown on a terminal."""
    provider = ATTACKS[name][0]
    timeout_s = NEVER_S / 2 if name in _SOUND else TIMEOUT_S
    options: dict[str, Any] = {"base_url": server.url(name), "api_key": "k", "timeout_s": timeout_s, "poll_timeout_s": timeout_s}
    stream, terms = name.startswith("stream"), {"asynchronous": True} if provider == "opengpu-relay" else {}

    def sync() -> None:
        with Client(provider, **options) as client:
            if stream:
                client.describe(plain(), stream=True).finish()
            elif provider == "nvidia-nim-vision":
                client.describe(plain())
            else:
                client.generate("a cat", **terms)  # type: ignore[arg-type]

    async def other() -> None:
        async with AsyncClient(provider, **options) as client:
            if stream:
                await (await client.describe(plain(), stream=True)).finish()
            elif provider == "nvidia-nim-vision":
                await client.describe(plain())
            else:
                await client.generate("a cat", **terms)  # type: ignore[arg-type]

    for end in (_ended(sync), _ended(lambda: asyncio.run(other()))):
        assert not end.startswith(("never", "RAISED")), end
        assert all(letter.isprintable() or letter == "\n" for letter in end), ascii(end)
        assert (end == "result") == (name in _SOUND), end


#: What is odd, and no attack on what was asked for: the picture is there.
_SOUND = {
    "honest", "cookies", "utf-16", "digits-5000", "cost-1e999", "created-10-400", "usage-10-400", "usage-nan", "seed-10-400",
    "stream-ids-are-lists", "stream-usage-huge", "two-answers", "exponent-huge", "cost-text-of-a-megabyte", "keys-alike", "media-type-controls",
    "line-feeds-only", "stream-surrogates", "stream-delta-list", "stream-finish-odd", "stream-after-done", "base64-padding",
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("check", "created-10-400"),
        ("check", "interim-flood"),
        ("bench", "words-controls-400"),
        ("bench", "redirect-302-origin"),
        ("evaluate", "key-base64-200"),
    ],
)
def test_a_command_is_decided_and_sealed(server: Server, command: str, name: str) -> None:
    """Whatever the server does, a command ends with a documented code and run folders that are whole, and lets nothing out. A part of the table."""
    row = carried_out(command, name, server.url(name), server.url(name).rpartition("/")[0], patience_s=5 * NEVER_S)
    assert not row.unsound, row
