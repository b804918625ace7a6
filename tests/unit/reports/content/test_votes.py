"""The blind page holds no name, asks only about what is alike, and its votes are counted; anything else is refused by name."""

import json
import re
from pathlib import Path

import pytest

from testcard.harness import cli
from testcard.harness.runs.folder import RunReader
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.content.votes import pairs


@pytest.fixture(scope="module")
def evidence(runs: list[RunReader]) -> Evidence:
    return gather(runs)


def saved(path: Path, votes: list[tuple[str, str, str]]) -> Path:
    path.write_text(
        json.dumps(
            {"schema": "testcard.votes/1", "votes": [{"left": one, "right": other, "choice": choice} for one, other, choice in votes]}
        )
    )
    return path


def test_pairs_are_of_one_group_and_prompt_and_two_targets(evidence: Evidence) -> None:
    found = pairs(evidence)
    assert found
    for pair in found:
        assert pair.one.party is not pair.other.party
        assert (pair.one.group, pair.one.prompt) == (pair.other.group, pair.other.prompt)
    assert len({entry.token for pair in found for entry in (pair.one, pair.other)}) > 1
    assert pairs(evidence) == found


def test_the_page_holds_no_name_and_nothing_from_elsewhere(runs: list[RunReader], evidence: Evidence, tmp_path: Path) -> None:
    """No provider, model, address or run; each picture once; one script and one sheet, by digest."""
    assert cli.run(["report", *(str(run.folder) for run in runs), "--blind", "--out", str(tmp_path / "blind")]) == 0
    text = (tmp_path / "blind" / "blind.html").read_text(encoding="utf-8")
    words = re.sub(r'src="data:[^"]+"', "", text).lower()
    for party in evidence.parties:
        for name in (party.target.provider, party.label, party.target.base_url, *party.target.models):
            assert name.lower() not in words
    assert "http://" not in words
    assert "https://" not in words
    found = pairs(evidence)
    assert words.count("<li data-one=") == len(found)
    assert words.count('<img id="p-') == len({entry.token for pair in found for entry in (pair.one, pair.other)})


def test_votes_are_counted_within_their_group(
    runs: list[RunReader], evidence: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wins every vote is first, with votes of two people; the table is in page and Markdown."""
    every = pairs(evidence)
    found = [pair for pair in every if pair.one.group == every[0].one.group]
    best = found[0].one.party
    votes = []
    for pair in found:
        choice = "left" if pair.one.party is best else "right" if pair.other.party is best else "tie"
        votes.append((pair.one.token, pair.other.token, choice))
    files = [saved(tmp_path / f"{name}.json", votes) for name in ("anna", "ben")]
    arguments = ["report", *(str(run.folder) for run in runs), "--out", str(tmp_path / "report")]
    assert cli.run([*arguments, *(part for file in files for part in ("--votes", str(file)))]) == 0
    capsys.readouterr()
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    part = text[text.index("### What people preferred") :]
    assert f"{2 * len(votes)} votes of 2 people" in part
    lines = [line for line in part.splitlines() if line.startswith("|")]
    assert best.label in lines[2]  # below the heading and its rule
    assert 'id="panel-votes"' in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no file of votes"),
        ('{"schema": "other", "votes": []}', "is no file of votes"),
        ('{"schema": "testcard.votes/1", "votes": []}', "hold no vote"),
        ('{"schema": "testcard.votes/1", "votes": [{"left": "a", "right": "b", "choice": "left"}]}', "1 of 1 vote are about pictures"),
        ('{"schema": "testcard.votes/1", "votes": [{"left": "a", "right": "b", "choice": "both"}]}', "is no file of votes"),
    ],
)
def test_what_is_no_vote_is_refused(
    runs: list[RunReader], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    """Exit 2 with the reason and the next step, and no report is left."""
    file = tmp_path / "votes.json"
    file.write_text(content)
    out = tmp_path / "report"
    assert cli.run(["report", *(str(run.folder) for run in runs), "--votes", str(file), "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_blind_goes_alone(runs: list[RunReader], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With votes it is a usage error; without a pair it says what to name."""
    assert cli.run(["report", str(runs[0].folder), "--blind", "--votes", "x.json"]) == 2
    assert cli.run(["report", str(runs[0].folder), "--blind", "--out", str(tmp_path / "one")]) == 2
    assert "two targets" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()
