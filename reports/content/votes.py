"""Votes that people saved from the blind page, and what they say of the targets.

Pairs of pictures to vote on without names: the same task and prompt, the same size, two targets.

Each picture goes by a token that is made of the run, the target and the picture's own bytes: the page holds no name, and whoever has the
runs can say again which picture was whose.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.intake.pictures import may_decode, open_picture
from testcard.harness.runs.records import Estimate, Exchange
from testcard.harness.text.words import PERCENT, clean, count, shortened
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.exhibits import Panel, Table
from testcard.reports.content.pictures import delivered_by, pictured
from testcard.specs.user_files import content

if TYPE_CHECKING:
    from PIL import Image

SHOWN_PX = 640
#: Pictures that one page holds, so that it stays a file of a few megabytes.
MOST_PICTURES = 48
_TASKS = ("generate", "edit", "variation")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture to vote on; `group` is what only equal ones of are held against each other. `uri` is empty where nobody is to see it."""

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


def pairs(evidence: Evidence, *, shown: bool = True) -> list[BlindPair]:
    """Every two targets' pictures of the same task, prompt and size, one picture each; the prompts that most targets drew come first.

    Without `shown`, for votes that are cast already, no picture is made ready to be seen.
    """
    found: dict[tuple[str, str], dict[str, Entry]] = {}
    for party in evidence.parties:
        for exchange, task, prompt in _drawn(party):
            for data in delivered_by(party, exchange):
                group = _group(task, data) if data is not None else None
                if group is None or data is None:
                    continue
                there = found.setdefault((group, prompt), {})
                if party.key in there:
                    break
                entry = _entry(party, group, prompt, data, shown=shown)
                if entry is not None:
                    there[party.key] = entry
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


def _group(task: str, data: bytes) -> str | None:
    """What a picture's header says that it is; None where it is none, or too large to be decoded."""
    try:
        with open_picture(data) as picture:
            return f"{task} · {picture.width}×{picture.height}" if may_decode(picture, data) else None
    except Exception:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes)
        return None


def _entry(party: Party, group: str, prompt: str, data: bytes, *, shown: bool) -> Entry | None:
    """A picture that has a group, ready to be shown where it is; None where it does not decode."""
    try:
        with open_picture(data) as picture:
            small = picture.convert("RGB")
            small.thumbnail((SHOWN_PX, SHOWN_PX), reducing_gap=2.0)
        uri = _uri(small) if shown else ""
    except Exception:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes; all of it means "does not decode")
        return None
    assert party.check is not None
    named = "\n".join((party.check.run.started, party.target.provider, party.target.base_url, hashlib.sha256(data).hexdigest(), prompt))
    token = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:16]
    return Entry(token, party, group, shortened(clean(prompt), 300), uri)


def _uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


SCHEMA = "testcard.votes/1"
_MOST_BYTES = 8_000_000


class SavedVote(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One vote: the tokens of the pictures as they stood, and which was preferred."""

    left: str
    right: str
    choice: Literal["left", "right", "tie"]


class SavedVotes(msgspec.Struct, frozen=True):
    """A file of one person's votes."""

    schema: Literal["testcard.votes/1"]
    votes: list[SavedVote]


@dataclass(frozen=True, slots=True)
class Ballots:
    """Everybody's votes, and how many people they are of."""

    votes: list[SavedVote]
    people: int


def read_votes(files: Sequence[Path]) -> Ballots:
    """The votes of these files. `UsageError` with file and reason for what is none."""
    votes: list[SavedVote] = []
    for path in files:
        try:
            found = msgspec.json.decode(content(path, _MOST_BYTES), type=SavedVotes)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}", hint="name the file that the page of report --blind saved") from None
        except msgspec.DecodeError as error:
            raise UsageError(f"{path} is no file of votes: {error}", hint="name the file that the page of report --blind saved") from None
        votes += found.votes
    return Ballots(votes, len(files))


def counted(evidence: Evidence, ballots: Ballots) -> Panel:
    """What the votes say, a line for each target in each group (task and size), by Bradley and Terry.

    `UsageError` where votes are about pictures that these runs do not hold.
    """
    from testcard.harness.statistics.ranking import Vote, strengths  # numpy

    asked = pairs(evidence, shown=False)
    entries = {entry.token: entry for pair in asked for entry in (pair.one, pair.other)}
    _refuse_strangers(ballots, entries)
    groups: dict[str, list[SavedVote]] = {}
    for vote in ballots.votes:
        groups.setdefault(entries[vote.left].group, []).append(vote)
    body = []
    for group, votes in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        keys = list(dict.fromkeys(entries[token].party.key for vote in votes for token in (vote.left, vote.right)))
        names = {entries[token].party.key: entries[token].party.label for vote in votes for token in (vote.left, vote.right)}
        shares = {"left": 1.0, "right": 0.0, "tie": 0.5}
        cast = [
            Vote(keys.index(entries[vote.left].party.key), keys.index(entries[vote.right].party.key), shares[vote.choice]) for vote in votes
        ]
        found = sorted(zip(keys, strengths(len(keys), cast), strict=True), key=lambda entry: -entry[1].preferred)
        for key, strength in found:
            estimate = Estimate(value=strength.preferred, low=strength.low, high=strength.high, n=strength.votes)
            body.append(
                (
                    names[key],
                    group,
                    PERCENT.full(estimate),
                    *(f"{number:,}" for number in (strength.won, strength.tied, strength.lost, strength.votes)),
                )
            )
    said = (
        f"{count(len(ballots.votes), 'vote')} of {count(ballots.people, 'person', 'people')} between pairs of pictures without names. The share is the "
        "chance of being preferred to an average target of its group (Bradley–Terry with a weak prior, ties half to each), with its 95 % interval: few votes say little. It says what "
        "these people preferred of these pictures, and nothing of beauty."
    )
    header = ("target", "group", "preferred [95 % interval]", "won", "tied", "lost", "n")
    return Panel("votes", "What people preferred", said, Table(header, tuple(body)))


def _refuse_strangers(ballots: Ballots, entries: dict[str, Entry]) -> None:
    unknown = sum(
        vote.left not in entries or vote.right not in entries or entries[vote.left].group != entries[vote.right].group
        for vote in ballots.votes
    )
    if unknown:
        raise UsageError(
            f"{unknown} of {count(len(ballots.votes), 'vote')} are about pictures that these runs do not hold",
            hint="name the same runs that report --blind was given",
        )
    if not ballots.votes:
        raise UsageError("the files hold no vote", hint="vote on the page of report --blind, and save")
    if any(entries[vote.left].party.key == entries[vote.right].party.key for vote in ballots.votes):
        raise UsageError("a vote is between two pictures of one target", hint="name the file that the page of report --blind saved")


def asked_for(evidence: Evidence) -> list[BlindPair]:
    """The pairs that a person is asked about. `UsageError` where there are none."""
    found = pairs(evidence)
    if not found:
        raise UsageError(
            "there is no pair to vote on: no prompt was drawn in one size by two targets",
            hint="name checks of two targets or more, or an evaluate run",
        )
    return found
