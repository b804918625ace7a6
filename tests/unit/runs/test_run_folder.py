"""A run folder is evidence: appended to, never rewritten, readable after a kill."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import INLINE_BYTES, RunReader, RunWriter, default_folder, require_free
from testcard.harness.runs.records import Badge, Body, Exchange, Run, SeenResponse, SentRequest, TargetRecord
from testcard.harness.stops import Stop, StopReason, sentence


def an_exchange(number: int, writer: RunWriter, content: bytes = b"{}") -> Exchange:
    return Exchange(
        id=f"x{number}",
        operation="createImage",
        probe="generate/base",
        source="probe",
        request=SentRequest(
            method="POST", url="http://127.0.0.1:1/v1", headers=[("content-type", "application/json")], body=writer.body(b"{}")
        ),
        response=SeenResponse(status=200, headers=[], body=writer.body(content)),
        sent_s=0.0,
        done_s=1.0,
    )


def test_a_new_run_says_what_it_is_before_anything_is_sent(tmp_path: Path) -> None:
    """run.json stands from the first moment, with outcome `running`, so that a killed run is recognisable."""
    target = TargetRecord(provider="nanogpt", name="NanoGPT", base_url="http://127.0.0.1:1", mock=True)
    RunWriter.create(tmp_path / "deep" / "run", "check", targets=[target], config={"n": 1}, seed=7, region="eu")
    run = RunReader(tmp_path / "deep" / "run").run
    assert (run.kind, run.outcome, run.ended, run.seed, run.region) == ("check", "running", None, 7, "eu")
    assert run.targets == [target]
    assert run.environment.python.startswith("3.")
    assert run.started.endswith("Z")


def test_finish_records_how_it_ended(tmp_path: Path) -> None:
    """The end of a run is its outcome, its exit code and its reason."""
    writer = RunWriter.create(tmp_path / "run", "bench")
    writer.finish("inconclusive", 5, "budget spent")
    run = RunReader(tmp_path / "run").run
    assert (run.outcome, run.exit_code, run.reason) == ("inconclusive", 5, "budget spent")
    assert run.ended is not None
    assert run.ended >= run.started


def test_the_word_for_a_stop_stands_beside_its_sentence(tmp_path: Path) -> None:
    """Programs read the word and its numbers, people the sentence; a run of an earlier version has neither word nor number."""
    writer = RunWriter.create(tmp_path / "run", "bench")
    stop = Stop(reason=StopReason.REQUESTS_SPENT, limit=5)
    writer.finish("inconclusive", 5, sentence(stop), [stop])
    path = tmp_path / "run" / "run.json"
    kept = json.loads(path.read_text())
    assert (kept["reason"], kept["stops"][0]["reason"], kept["stops"][0]["limit"]) == (
        "the budget of 5 requests is spent",
        "requests-spent",
        5,
    )
    assert RunReader(tmp_path / "run").run.stops == [stop]
    del kept["stops"]
    path.write_text(json.dumps(kept))
    assert RunReader(tmp_path / "run").run.stops == []


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """Evidence is never overwritten: a second run into the same folder is a usage error that names --out."""
    RunWriter.create(tmp_path / "run", "check")
    with pytest.raises(UsageError, match="not empty") as caught:
        RunWriter.create(tmp_path / "run", "check")
    assert "--out" in str(caught.value.hint)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """A folder that the user made beforehand is fine as long as it is empty."""
    (tmp_path / "run").mkdir()
    RunWriter.create(tmp_path / "run", "check")
    assert (tmp_path / "run" / "run.json").is_file()


def test_a_path_that_cannot_be_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    """--out naming a file, or below one, is answered with the path and the reason, not with a traceback."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        RunWriter.create(tmp_path / "file", "check")
    with pytest.raises(UsageError, match="cannot be written"):
        RunWriter.create(tmp_path / "file" / "below", "check")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "content", [b"", b"short", "grüße".encode(), b"\xff\xfe\x00", b"a" * INLINE_BYTES, b"a" * (INLINE_BYTES + 1), os.urandom(50_000)]
)
def test_a_body_comes_back_as_it_was(tmp_path: Path, content: bytes) -> None:
    """Whatever the bytes, a recorded body is exactly them; over 4 KiB it lives in bodies/ under its hash, below it inline."""
    writer = RunWriter.create(tmp_path / "run", "check")
    body = writer.body(content)
    assert body.size == len(content)
    assert (body.sha256 is not None) == (len(content) > INLINE_BYTES)
    if body.sha256:
        assert body.sha256 == hashlib.sha256(content).hexdigest()
    assert RunReader(tmp_path / "run").bytes_of(body) == content


def test_the_same_body_is_stored_once(tmp_path: Path) -> None:
    """Twenty exchanges with one picture cost the disk one picture."""
    writer = RunWriter.create(tmp_path / "run", "check")
    content = os.urandom(20_000)
    for number in range(20):
        writer.append(an_exchange(number, writer, content))
    assert [file.stat().st_size for file in (tmp_path / "run" / "bodies").iterdir()] == [20_000]


def test_appending_from_many_threads_loses_nothing(tmp_path: Path) -> None:
    """Eight threads appending at once write whole lines, and run.json lists the file."""
    writer = RunWriter.create(tmp_path / "run", "check")

    def work(start: int) -> None:
        for number in range(start, start + 25):
            writer.append(an_exchange(number, writer, b"x" * (5000 + number % 3)))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = RunReader(tmp_path / "run")
    assert sorted(exchange.id for exchange in reader.exchanges()) == sorted(f"x{number}" for number in range(200))
    assert all(len(reader.bytes_of(exchange.response.body)) >= 5000 for exchange in reader.exchanges() if exchange.response)


def test_appending_never_touches_what_stands(tmp_path: Path) -> None:
    """Earlier lines keep their bytes and place."""
    writer = RunWriter.create(tmp_path / "run", "check")
    writer.append(an_exchange(0, writer))
    before = (tmp_path / "run" / "exchanges.jsonl").read_bytes()
    writer.append(an_exchange(1, writer))
    assert (tmp_path / "run" / "exchanges.jsonl").read_bytes().startswith(before)


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    """What was wholly written is read; the half line is not an error."""
    writer = RunWriter.create(tmp_path / "run", "check")
    for number in range(3):
        writer.append(an_exchange(number, writer))
    path = tmp_path / "run" / "exchanges.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert [exchange.id for exchange in RunReader(tmp_path / "run").exchanges()] == ["x0", "x1"]


@pytest.mark.parametrize("line", [b'{"id": 5}\n', b"not json\n"])
def test_a_broken_line_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    """A record changed by hand is an error that says the file and the line, not a silent gap."""
    writer = RunWriter.create(tmp_path / "run", "check")
    writer.append(an_exchange(0, writer))
    with (tmp_path / "run" / "exchanges.jsonl").open("ab") as file:
        file.write(line)
    with pytest.raises(UsageError, match=r"exchanges\.jsonl:2"):
        list(RunReader(tmp_path / "run").exchanges())


def test_run_json_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the middle of an update leaves the whole former run.json."""
    writer = RunWriter.create(tmp_path / "run", "check")
    before = (tmp_path / "run" / "run.json").read_bytes()

    def crash(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        writer.update(reason="x")
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_files_are_found_through_run_json(tmp_path: Path) -> None:
    """A reader asks for a kind of file, whatever it is called; one that is not there is None."""
    writer = RunWriter.create(tmp_path / "run", "check")
    writer.write("badge", "my-badge.json", Badge(label="contract", message="12/12", color="brightgreen"))
    reader = RunReader(tmp_path / "run")
    path = reader.path("badge")
    assert path == tmp_path / "run" / "my-badge.json"
    assert path is not None
    assert msgspec.json.decode(path.read_bytes(), type=Badge).message == "12/12"
    assert reader.path("verdicts") is None
    assert reader.verdicts() is None
    path.unlink()
    assert RunReader(tmp_path / "run").path("badge") is None


def test_what_is_no_run_says_so(tmp_path: Path) -> None:
    """A wrong folder, or a run.json of something else, is a usage error with the next step."""
    with pytest.raises(UsageError, match=r"no run\.json") as caught:
        RunReader(tmp_path)
    assert caught.value.hint
    (tmp_path / "run.json").write_text('{"schema": "other/1"}')
    with pytest.raises(UsageError, match=r"run\.json"):
        RunReader(tmp_path)


def test_children_of_an_evaluation(tmp_path: Path) -> None:
    """An evaluate folder leads to its runs; a child that never came to be is left out."""
    parent = RunWriter.create(tmp_path / "all", "evaluate")
    RunWriter.create(tmp_path / "all" / "check-a", "check")
    parent.update(children=["check-a", "bench"])
    assert [child.folder.name for child in RunReader(tmp_path / "all").children()] == ["check-a"]


def test_a_body_record_cannot_reach_outside_the_folder(tmp_path: Path) -> None:
    """A folder from a stranger cannot make the reader open other files."""
    RunWriter.create(tmp_path / "run", "check")
    with pytest.raises(UsageError):
        RunReader(tmp_path / "run").bytes_of(Body(size=3, sha256="../run.json"))


def test_a_file_entry_cannot_reach_outside_the_folder(tmp_path: Path) -> None:
    """The same for the files that run.json lists."""
    writer = RunWriter.create(tmp_path / "run", "check")
    (tmp_path / "secret.json").write_text("{}")
    writer.update(files={"verdicts": "../secret.json", "summary": str(tmp_path / "secret.json")})
    reader = RunReader(tmp_path / "run")
    assert reader.path("verdicts") is None
    assert reader.path("summary") is None


def test_base64_bodies_decode(tmp_path: Path) -> None:
    """Short binary bodies stand in the record itself."""
    RunWriter.create(tmp_path / "run", "check")
    assert RunReader(tmp_path / "run").bytes_of(Body(size=2, base64=base64.b64encode(b"\xff\x00").decode())) == b"\xff\x00"


def test_default_folders_do_not_collide(tmp_path: Path) -> None:
    """Runs that start within one second get a folder each, also when they look for one at the same moment."""
    found: list[Path] = []
    together = threading.Barrier(16)

    def look() -> None:
        together.wait()
        found.append(default_folder("check", tmp_path / "runs"))

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 16
    for folder in found:
        RunWriter.create(folder, "check")


def test_looking_at_a_folder_changes_nothing(tmp_path: Path) -> None:
    """Whether a run could be written is found out without making the folder; an empty or absent one is free."""
    require_free(tmp_path / "deep" / "run")
    require_free(tmp_path)
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("mine")
    for folder, said in ((tmp_path, "not empty"), (tmp_path / "file", "is a file"), (tmp_path / "file" / "below", "cannot be written")):
        with pytest.raises(UsageError, match=said):
            require_free(folder)


def test_what_utf8_cannot_hold_does_not_stop_a_run(tmp_path: Path) -> None:
    """JSON from a stranger may hold half a surrogate pair; the record keeps the rest and can be read again."""
    writer = RunWriter.create(tmp_path / "run", "check")
    writer.append(msgspec.structs.replace(an_exchange(0, writer), asked={"url": "http://127.0.0.1/\ud800x"}))
    writer.finish("fail", 1, "it said \ud83d")
    reader = RunReader(tmp_path / "run")
    assert [exchange.asked["url"] for exchange in reader.exchanges()] == ["http://127.0.0.1/?x"]
    assert reader.run.reason == "it said ?"


def test_a_record_keeps_every_field() -> None:
    """Written JSON holds defaults too, so that other readers need not know them."""
    fields = msgspec.json.decode(msgspec.json.encode(Badge(label="a", message="b", color="c")))
    assert set(fields) == {"schemaVersion", "label", "message", "color"}
    assert {"ended", "reason", "children", "files"} <= {field.name for field in msgspec.structs.fields(Run)}


class TestSeal:
    """However a command ends, run.json says how."""

    def made(self, folder: Path) -> RunWriter:
        return RunWriter.create(folder / "run", "check")

    @pytest.mark.parametrize(
        ("raised", "outcome", "code", "reason"),
        [
            (KeyboardInterrupt(), "interrupted", 130, "interrupted"),
            (UsageError("the key file is gone"), "error", 2, "the key file is gone"),
            (ZeroDivisionError("float division"), "error", 4, "ZeroDivisionError: float division"),
            (None, "error", 4, "it ended without saying how"),
        ],
    )
    def test_what_ends_a_run_is_written_down(
        self, tmp_path: Path, raised: BaseException | None, outcome: str, code: int, reason: str
    ) -> None:
        """An error, Ctrl-C or a forgotten end seals the run; the error itself goes on."""
        writer = self.made(tmp_path)
        if raised is None:
            with writer:
                pass
        else:
            with pytest.raises(type(raised)), writer:
                raise raised
        run = RunReader(writer.folder).run
        assert (run.outcome, run.exit_code, run.reason) == (outcome, code, reason)
        assert run.ended is not None

    def test_a_sealed_run_stays_as_it_was_sealed(self, tmp_path: Path) -> None:
        """What goes wrong after the seal (a report, printing) changes neither outcome nor end; sealing the same again changes nothing."""
        writer = self.made(tmp_path)

        def printing_fails() -> None:
            with writer:
                writer.finish("pass", 0)
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            printing_fails()
        ended = RunReader(writer.folder).run.ended
        writer.finish("pass", 0)
        run = RunReader(writer.folder).run
        assert (run.outcome, run.exit_code, run.ended) == ("pass", 0, ended)

    def test_a_worse_end_after_the_seal_is_kept(self, tmp_path: Path) -> None:
        """A command that finds out more after it sealed (the report could not be written) says so; the end stays when it was."""
        writer = self.made(tmp_path)
        writer.finish("pass", 0)
        ended = writer.run.ended
        writer.finish("error", 4, "the files for CI could not be written")
        run = RunReader(writer.folder).run
        assert (run.outcome, run.exit_code, run.reason, run.ended) == ("error", 4, "the files for CI could not be written", ended)

    def test_a_seal_that_cannot_be_written_hides_no_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a full disk the error that ended the run is what the command tells of."""
        writer = self.made(tmp_path)

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(RunWriter, "update", full)
        with pytest.raises(UsageError, match="the key"), writer:
            raise UsageError("the key file is gone")


def test_a_name_that_is_no_utf_8_stands_in_texts(tmp_path: Path) -> None:
    """A folder is named by bytes: a report that names it is written, with a question mark for what no letter is."""
    writer = RunWriter.create(tmp_path / "a\udcff", "check")
    path = writer.write_text("report", "report.html", f"run {writer.folder.name}")
    assert path.read_text(encoding="utf-8") == "run a?"


@pytest.mark.parametrize("after", ["removed", "renamed", "a file", "a link that leads nowhere"])
def test_a_folder_that_goes_in_the_middle_of_a_run_is_named(after: str, tmp_path: Path) -> None:
    """Whoever moves it away reads what happened and where, not that Testcard has made a mistake; what went with it is still read."""
    folder = tmp_path / "run"
    writer = RunWriter.create(folder, "check")
    writer.append(an_exchange(1, writer))
    folder.rename(tmp_path / "moved")
    if after == "a file":
        folder.write_text("")
    elif after == "a link that leads nowhere":
        folder.symlink_to(tmp_path / "nowhere")
    elif after == "removed":
        shutil.rmtree(tmp_path / "moved")
    for work in (
        lambda: writer.append(an_exchange(2, writer)),
        lambda: writer.body(b"x" * (INLINE_BYTES + 1)),
        lambda: writer.finish("pass", 0),
    ):
        with pytest.raises(OSError, match="removed or renamed while the run went on") as caught:
            work()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(folder))
    if after != "removed":
        assert [one.id for one in RunReader(tmp_path / "moved").exchanges()] == ["x1"]
