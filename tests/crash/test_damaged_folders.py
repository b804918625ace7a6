"""Whatever stands in a run folder in place of what was written there, no command ends with a traceback or waits without end.

Each names the file (and the line, where there are lines) and exits 2, or does with what is left what it can do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testcard.harness.check.rejudge import judge_again
from testcard.harness.errors import UsageError
from testcard.harness.rules.promises import RULES
from testcard.harness.runs.folder import RunReader
from testcard.harness.statistics.samples import read
from testcard.reports.pages.render import composed
from testcard.specs.loader import load_provider
from testkit.command_line import typed

BEFORE = Path(__file__).parents[1] / "fixtures" / "runs_of_1d4f303"
BODY = "bodies/517ac8ca3e6a505d9626bcb264de381f22c9ad3c5e61bab6769973330d428435"

Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    """Half of it is gone."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def no_text(path: Path) -> None:
    """A byte that stands in no UTF-8, in the first string."""
    data = path.read_bytes()
    place = re.search(rb'": ?"', data)
    where = place.end() if place else len(data) // 2
    path.write_bytes(data[:where] + b"\xff" + data[where:])


def deep(path: Path) -> None:
    """Nested 5,000 deep."""
    path.write_bytes(b'{"config":' * 5000 + b"1" + b"}" * 5000 + b"\n")


def huge_number(path: Path) -> None:
    """An integer of 5,000 digits."""
    path.write_bytes(re.sub(rb"(: ?)(\d+)(?=[,\n}])", rb"\g<1>" + b"9" * 5000, path.read_bytes(), count=1))


def pipe(path: Path) -> None:
    """A named pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    """A file without an end."""
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    """A folder of that name."""
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    """Nothing of that name."""
    path.unlink()


def empty(path: Path) -> None:
    """Nothing in it."""
    path.write_bytes(b"")


EVERY: tuple[Damage, ...] = (cut, no_text, deep, huge_number, pipe, endless, folder, gone, empty)
#: No exchange at all is what a check without a request records.
HARMLESS = {("exchanges.jsonl", "empty")}


def read_all(run: Path) -> None:
    """Everything that a reader of run folders asks of one."""
    reader = RunReader(run)
    reader.verdicts()
    reader.summary()
    for one in reader.exchanges():
        reader.bytes_of(one.request.body)
        if one.response is not None:
            reader.bytes_of(one.response.body)
    if reader.run.kind == "bench":
        read(reader)


@pytest.mark.parametrize("damage", EVERY)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("check", "run.json"),
        ("check", "exchanges.jsonl"),
        ("check", "verdicts.json"),
        ("check", BODY),
        ("bench", "run.json"),
        ("bench", "samples.parquet"),
        ("bench", "summary.json"),
    ],
)
def test_a_damaged_file_is_named(kind: str, name: str, damage: Damage, tmp_path: Path) -> None:
    """A run that ended and whose file is no longer what it was: an error for its user, with the file in it."""
    run = tmp_path / kind
    shutil.copytree(BEFORE / kind, run)
    before = (run / name).read_bytes()
    damage(run / name)
    unchanged = (run / name).is_file() and (run / name).read_bytes() == before  # it holds no number
    if unchanged or (name, damage.__name__) in HARMLESS:
        read_all(run)
        return
    with pytest.raises(UsageError) as raised:
        read_all(run)
    assert Path(name).name in raised.value.message
    if name.endswith("l") and damage in (cut, no_text, deep, huge_number):
        assert re.search(r"exchanges\.jsonl:\d+", raised.value.message)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["report", "check", "--out", "out"], "verdicts.json"),
        (["check", "nanogpt", "--rejudge", "check", "--out", "out"], "exchanges.jsonl"),
        (["compare", "bench", "bench"], "summary.json"),
        (["history", "check", "--index", "index.sqlite"], "verdicts.json"),
        (["replay", "check", "--list"], "exchanges.jsonl"),
        (["open", "--print", "check"], "run.json"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_say_so(arguments: list[str], name: str, tmp_path: Path) -> None:
    """Each command that reads run folders exits 2 and names the file, where a named pipe stands in its place."""
    for kind in ("check", "bench"):
        shutil.copytree(BEFORE / kind, tmp_path / kind)
        if (tmp_path / kind / name).exists():
            pipe(tmp_path / kind / name)
    ended = typed(arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert f"{name} is a named pipe, not a file" in ended.stderr


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["operations", "rules", "model", "no_auth", "strict", "live", "not_sent", "waivers", "day", "stopped"]),
    st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)),
)  # fmt: skip
def test_any_config_is_judged_or_refused(tmp_path: Path, name: str, value: object) -> None:
    """Whatever a stranger's run.json says of how it was checked: verdicts, or an error that names run.json."""
    run = tmp_path / "check"
    if not run.exists():
        shutil.copytree(BEFORE / "check", run)
        (run / "before.json").write_bytes((run / "run.json").read_bytes())
    record = json.loads((run / "before.json").read_bytes())
    record["config"][name] = value
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    try:
        judge_again(load_provider("nanogpt"), RunReader(run), rules=[RULES["image.count"]])
    except UsageError as error:
        said = error.message
    else:
        return
    assert "run.json" in said


def test_what_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    """A run that says it is running: all whole lines are read, the last half one is not, and files that are not there yet are none."""
    run = tmp_path / "check"
    shutil.copytree(BEFORE / "check", run)
    text = (run / "run.json").read_text(encoding="utf-8")
    (run / "run.json").write_text(re.sub(r'"outcome": "\w+"', '"outcome": "running"', text), encoding="utf-8")
    data = (run / "exchanges.jsonl").read_bytes()
    (run / "exchanges.jsonl").write_bytes(data[:-40])
    (run / "verdicts.json").unlink()
    assert len(list(RunReader(run).exchanges())) == data.count(b"\n") - 1
    assert RunReader(run).verdicts() is None


@pytest.mark.parametrize(
    ("place", "value"),
    [("requests", -1), ("rounds", -2), ("goodput_rps", -0.5), ("errors", {"timeout": -1}), ("error_rate", {"value": 0.0, "n": -36})],
)
def test_fewer_than_none_is_named(tmp_path: Path, place: str, value: object) -> None:
    """A count or a rate below zero in summary.json: the file and the place in it, before a figure is made of it."""
    run = tmp_path / "bench"
    shutil.copytree(BEFORE / "bench", run)
    summary = json.loads((run / "summary.json").read_bytes())
    summary["rows"][0][place] = value
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"summary\.json:1: .*>= 0.*rows\[0\]\.{place}"):
        RunReader(run).summary()


def test_a_row_without_samples_is_reported(tmp_path: Path) -> None:
    """summary.json tells of a target that samples.parquet does not hold: there is nothing to rank it by, and a report all the same."""
    run = tmp_path / "bench"
    shutil.copytree(BEFORE / "bench", run)
    summary = json.loads((run / "summary.json").read_bytes())
    summary["rows"] = [{**summary["rows"][0], "target": target} for target in (2**63 - 1, 2**63 - 2)]
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    composed([RunReader(run)])


def test_reasons_without_their_levels_are_named(tmp_path: Path) -> None:
    """run.json holds three levels for one reason why nothing was sent."""
    run = tmp_path / "check"
    shutil.copytree(BEFORE / "check", run)
    record = json.loads((run / "run.json").read_bytes())
    record["config"]["not_sent"] = [{"operation": "createImage", "rule": "image.count", "reasons": ["x"], "levels": ["must"] * 3}]
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.json: config: .*as many levels.*not_sent\[0\]"):
        judge_again(load_provider("nanogpt"), RunReader(run))
