"""Votes that people saved from the blind page, and what they say of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.runs.records import Estimate
from testcard.harness.text.words import PERCENT, count
from testcard.reports.content.blind import BlindPair, Entry, pairs
from testcard.reports.content.evidence import Evidence
from testcard.reports.content.exhibits import Panel, Table

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
            if path.stat().st_size > _MOST_BYTES:
                raise UsageError(f"{path} is too large for a file of votes")
            found = msgspec.json.decode(path.read_bytes(), type=SavedVotes)
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
    from testcard.harness.statistics.preference import Vote, strengths  # numpy

    asked = pairs(evidence)
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
