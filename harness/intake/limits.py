"""How much of a stranger's answer is taken: one frozen value, which every reader of this process asks.

Each limit has a key in `[limits]` of testcard.toml and the flag `--limit NAME=VALUE`; docs/limits.md lists them. What exceeds one is cut,
said to be cut, and told as what the answer did; it never ends a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

MIB = 1024 * 1024


def _limit(default: float, says: str, *, least: float = 1, most: float = 2**40) -> Any:
    return field(default=default, metadata={"says": says, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """What is taken of one answer, unless it says otherwise. Bytes, seconds and counts."""

    status_line_bytes: int = _limit(4096, "bytes of the status line", least=32, most=65_536)
    header_bytes: int = _limit(65_536, "bytes of the whole head, interim answers not counted", least=256, most=100_000)
    header_count: int = _limit(256, "header fields", least=8, most=10_000)
    interim_count: int = _limit(16, "interim answers (status 1xx) before the answer", most=10_000)
    body_bytes: int = _limit(64 * MIB, "bytes of a body, as sent and as decoded", least=1024)
    codings: int = _limit(2, "content codings on top of each other (gzip, deflate)", least=0, most=8)
    bytes_per_s: float = _limit(0.2, "bytes a second, over each window in which any came", least=0, most=1e9)
    window_s: float = _limit(30.0, "seconds of that window", least=0.1, most=86_400)
    connect_s: float = _limit(15.0, "seconds until a connection stands", least=0.01, most=86_400)
    between_bytes_s: float = _limit(330.0, "seconds from one byte to the next", least=0.01, most=86_400)
    json_bytes: int = _limit(64 * MIB, "bytes of a JSON text", least=1024)
    json_depth: int = _limit(64, "arrays and objects inside each other", least=4, most=200)
    json_values: int = _limit(10_000, "members and items of a JSON text", least=100, most=10**8)
    error_chars: int = _limit(8192, "characters of an error's words that are read", least=64, most=10**6)
    sse_line_bytes: int = _limit(48 * MIB, "characters of a line of an event stream", least=256)
    sse_event_bytes: int = _limit(48 * MIB, "characters of an event", least=256)
    sse_events: int = _limit(20_000, "events of a stream; ten times as many lines", most=10**7)
    pictures: int = _limit(64, "pictures of an answer", most=10_000)
    picture_bytes: int = _limit(36 * MIB, "bytes of one picture (in base64 a third more)", least=1024)
    pixels: int = _limit(
        40_000_000,
        "pixels of a picture that is decoded; of a WebP, an AVIF, or a JPEG of several scans half as many",
        least=4096,
        most=500_000_000,
    )
    picture_parts: int = _limit(
        10_000,
        "chunks of a PNG, segments of a JPEG, or blocks of a GIF; a hundredth of it: compressed chunks, scans",
        least=100,
        most=10**7,
    )
    frames: int = _limit(64, "frames of an animated picture", most=100_000)
    text_chunk_bytes: int = _limit(MIB, "bytes of text in a picture, unpacked, and of its EXIF in a JPEG", least=1024, most=64 * MIB)
    redirects: int = _limit(3, "redirects in a row", least=0, most=10)
    judged_bytes: int = _limit(
        96 * MIB, "bytes of answers above 64 KB that a check judges; what is beyond them is recorded only", least=MIB
    )
    held_bytes: int = _limit(112 * MIB, "bytes of answers in memory at once, all together", least=MIB)


_now = IntakeLimits()
#: What the command line said: it wins over the file.
_said: dict[str, float] = {}


def limits() -> IntakeLimits:
    """The limits that hold in this process."""
    return _now


def use_limits(wanted: IntakeLimits) -> None:
    """Lets these hold from now on, but for what `say_limit` was told: once, when a command begins."""
    global _now
    _now = changed(wanted, _said)


def say_limit(text: str) -> None:
    """A limit as the command line states it (see `parsed`), which holds whatever the file says. `ValueError` for what is none."""
    name, value = parsed(text)
    changed(_now, {name: value})
    _said[name] = value
    use_limits(_now)


def said() -> list[str]:
    """What the command line said, in its own form, for a process that is to be told the same."""
    return [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in _said.items()]


def differing() -> dict[str, float]:
    """The limits that differ from the defaults, for a process that is to have the same."""
    standard = IntakeLimits()
    return {one.name: value for one in fields(IntakeLimits) if (value := getattr(_now, one.name)) != getattr(standard, one.name)}


def changed(base: IntakeLimits, values: Mapping[str, object]) -> IntakeLimits:
    """The limits with some of them changed. `ValueError` names the first that there is not, or whose value is out of its range."""
    known = {one.name: one for one in fields(IntakeLimits)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no limit {name}; the limits are: {', '.join(known)}")
        found[name] = _checked(name, value, known[name])
    return replace(base, **found)


def _checked(name: str, value: object, one: Any) -> float:
    least, most = one.metadata["least"], one.metadata["most"]
    whole = isinstance(one.default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value <= most:
        raise ValueError(f"{name} has to be {'a whole number' if whole else 'a number'} from {least:g} to {most:,g}")
    return value


_UNITS = {"": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": MIB, "g": 10**9, "gb": 10**9, "gib": 1024 * MIB}


def parsed(text: str) -> tuple[str, float]:
    """A limit as a person writes it on the command line, such as `body_bytes=128MiB`. `ValueError` for anything else."""
    name, sign, value = text.partition("=")
    number = value.strip().rstrip("abcdefghiklmABCDEFGHIKLM")
    unit = value.strip()[len(number) :].lower()
    try:
        if not sign or unit not in _UNITS:
            raise ValueError
        amount = float(number.replace("_", "")) * _UNITS[unit]
    except ValueError:
        raise ValueError(f"{text[:80]} is no limit; write it as body_bytes=128MiB") from None
    return name.strip(), int(amount) if amount == amount and abs(amount) < 2**62 and amount == int(amount) else amount
