"""Pairs of pictures to vote on without names: the same task and prompt, the same size, two targets.

Each picture goes by a token that is made of the run, the target and the picture's own bytes: the page holds no name, and whoever has the
runs can say again which picture was whose.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from testcard.harness.intake.limits import limits
from testcard.harness.intake.pictures import open_picture
from testcard.harness.runs.records import Exchange
from testcard.harness.text.words import clean, shortened
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.pictures import delivered_by, pictured

SHOWN_PX = 640
#: Pictures that one page holds, so that it stays a file of a few megabytes.
MOST_PICTURES = 48
_TASKS = ("generate", "edit", "variation")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture to vote on; `group` is what only equal ones of are held against each other."""

    token: str
    party: Party
    group: str
    prompt: str
    uri: str


@dataclass(frozen=True, slots=True)
class BlindPair:
    """Two pictures of one prompt, of two targets."""

    one: Entry
    other: Entry


def pairs(evidence: Evidence) -> list[BlindPair]:
    """Every two targets' pictures of the same task, prompt and size, one picture each; the prompts that most targets drew come first."""
    found: dict[tuple[str, str], dict[str, Entry]] = {}
    for party in evidence.parties:
        for exchange, task, prompt in _drawn(party):
            for data in delivered_by(party, exchange):
                entry = _entry(party, task, prompt, data) if data is not None else None
                if entry is not None:
                    found.setdefault((entry.group, prompt), {}).setdefault(party.key, entry)
                    break
    sets = sorted((tuple(each.values()) for each in found.values() if len(each) > 1), key=lambda entries: -len(entries))
    kept, pictures = [], 0
    for entries in sets:
        pictures += len(entries)
        if pictures > MOST_PICTURES:
            break
        kept += [BlindPair(one, other) for one, other in combinations(entries, 2)]
    return kept


def _drawn(party: Party) -> Iterator[tuple[Exchange, str, str]]:
    for exchange in pictured(party):
        task, prompt = exchange.asked.get("task"), exchange.asked.get("prompt")
        if task in _TASKS:
            yield exchange, str(task), prompt if isinstance(prompt, str) else ""


def _entry(party: Party, task: str, prompt: str, data: bytes) -> Entry | None:
    """The picture ready to be shown; None where it does not decode."""
    try:
        with open_picture(data) as picture:
            width, height = picture.size
            if width * height > limits().pixels:
                return None
            small = picture.convert("RGB")
            small.thumbnail((SHOWN_PX, SHOWN_PX), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=82, method=2)
    except Exception:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes; all of it means "does not decode")
        return None
    assert party.check is not None
    named = "\n".join((party.check.run.started, party.target.provider, party.target.base_url, hashlib.sha256(data).hexdigest(), prompt))
    token = hashlib.sha256(named.encode()).hexdigest()[:16]
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Entry(token, party, f"{task} · {width}×{height}", shortened(clean(prompt), 300), uri)
