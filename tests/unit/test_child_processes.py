"""Children of a command: all are told to stop at once, none is started after that, none outlives its parent, no error gets lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testcard.harness import child_processes
from testcard.harness.child_processes import ChildCommand, ChildProcesses, usable
from testcard.harness.errors import Exit
from testkit.waiting import PATIENCE_S

#: What the children of these tests are instead of Testcard's command line: a small program that is given on its command line.
SMALL = """
import signal, sys, time
def told(number, frame):
    open(sys.argv[1] + '.told', 'w').write(repr(time.monotonic()))
    time.sleep(float(sys.argv[2]))
    sys.exit(130)
signal.signal(signal.SIGINT, told)
open(sys.argv[1] + '.up', 'w').close()
time.sleep(60)
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Children run a program of these tests instead of Testcard's command line: `NAME SECONDS` waits to be told, then so many seconds."""
    program = tmp_path / "program.py"
    program.write_text(SMALL)
    starter = tmp_path / "python"
    starter.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {program} "$@"\n')
    starter.chmod(0o755)
    monkeypatch.setattr(child_processes.sys, "executable", str(starter))
    return tmp_path


def child(folder: Path, name: str, seconds: float = 0) -> ChildCommand:
    return ChildCommand(name, [str(folder / name), str(seconds)])


async def until(*paths: Path) -> None:
    while not all(path.exists() for path in paths):
        await asyncio.sleep(0.01)


def test_ctrl_c_reaches_all_children_before_the_first_has_ended(small: Path) -> None:
    """The second child is told while the first still writes down what it has: it must not go on sending meanwhile."""
    children = [child(small, "first", 1), child(small, "second", 1), child(small, "third")]

    async def go() -> None:
        async with ChildProcesses() as processes:
            running = asyncio.create_task(processes.run(children, at_once=2))
            await until(small / "first.up", small / "second.up")
            os.kill(os.getpid(), signal.SIGINT)
            await running

    asyncio.run(go())
    told = [float((small / f"{name}.told").read_text()) for name in ("first", "second")]
    ended = [one.ended_s or 0.0 for one in children[:2]]
    assert max(told) < min(ended)
    assert [one.exit_code for one in children] == [130, 130, None]
    assert children[2].state == "left out"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_closed_terminal_are_ctrl_c(small: Path, number: signal.Signals) -> None:
    """The children are told in the way of Ctrl-C, and the signals mean what they meant before when the block is left."""
    before = signal.getsignal(number)
    one = child(small, "one")

    async def go() -> None:
        async with ChildProcesses() as processes:
            running = asyncio.create_task(processes.run([one]))
            await until(small / "one.up")
            os.kill(os.getpid(), number)
            await running

    asyncio.run(go())
    assert one.exit_code == 130
    assert signal.getsignal(number) is before


def test_a_child_that_is_just_being_started_is_told_too(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes between the decision to start a child and its existence is not lost on it."""
    one, other = child(small, "one"), child(small, "other")
    processes = ChildProcesses(grace_s=5)
    really_start = processes._start

    async def start(command: ChildCommand) -> asyncio.subprocess.Process:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        process = await really_start(command)
        await until(small / f"{command.name}.up")
        return process

    monkeypatch.setattr(processes, "_start", start)

    async def go() -> None:
        async with processes:
            await processes.run([one, other])

    asyncio.run(go())
    assert (one.exit_code, one.state) == (130, "done")
    assert (other.exit_code, other.state) == (None, "left out")


def test_the_second_ctrl_c_kills(small: Path) -> None:
    """Nobody has to wait for a child that hangs; how it ended is said."""
    one = child(small, "one", 60)
    times: list[int] = []

    async def go() -> None:
        async with ChildProcesses(interrupted=times.append) as processes:
            running = asyncio.create_task(processes.run([one]))
            await until(small / "one.up")
            processes.stop()
            await until(small / "one.told")
            processes.stop()
            await running

    asyncio.run(go())
    assert (one.exit_code, one.result, one.words) == (-9, Exit.INTERNAL, "killed by SIGKILL")
    assert times == [1, 2]


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "interrupted"), (signal.SIGSEGV, "killed by SIGSEGV")]
)
def test_a_child_that_a_stop_reached_before_it_could_say_so_was_interrupted(number: signal.Signals, words: str) -> None:
    """While it imports, and while it leaves, a signal ends it as it ends any program."""
    assert ChildCommand("one", [], state="done", exit_code=-number).words == words


def test_a_child_that_does_not_end_in_time_is_killed(small: Path) -> None:
    """After its grace."""
    one = child(small, "one", 60)

    async def go() -> None:
        async with ChildProcesses(grace_s=0.2) as processes:
            running = asyncio.create_task(processes.run([one]))
            await until(small / "one.up")
            processes.stop()
            await running

    asyncio.run(go())
    assert one.exit_code == -9


def test_a_child_that_cannot_be_started_ends_as_an_internal_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has an exit code, and says why; the others run."""
    monkeypatch.setattr(child_processes.sys, "executable", str(small / "absent"))
    one = child(small, "one")

    async def go() -> None:
        async with ChildProcesses() as processes:
            await processes.run([one])

    asyncio.run(go())
    assert (one.result, one.state) == (Exit.INTERNAL, "done")
    assert "No such file" in one.talk[-1]
    assert not usable(one)


def test_an_error_of_the_display_is_raised_and_leaves_no_child_behind(small: Path) -> None:
    """It does not vanish in a thread; what runs is told to stop and waited for."""
    one, other = child(small, "one"), child(small, "other")

    def changed(command: ChildCommand) -> None:
        if command is other:
            raise RuntimeError("a mistake of ours")

    async def go() -> None:
        async with ChildProcesses(changed) as processes:
            first = asyncio.create_task(processes.run([one]))
            await until(small / "one.up")
            await asyncio.gather(first, processes.run([other]))

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        asyncio.run(go())
    assert (small / "one.told").exists()


def test_progress_and_talk_are_told_apart_however_long_a_line_is() -> None:
    """A line of progress sets how far a child is; anything else is kept as talk; what is broken is neither."""
    one = ChildCommand("one", [])
    one.hear('{"testcard.progress": {"done": 3, "total": 4, "fields": {"spend": "$1"}}}\n')
    one.hear('{"testcard.progress": []}\n')
    one.hear("x" * 300_000 + "\n")
    one.hear("\n")
    assert (one.done, one.total, one.fields) == (3, 4, {"spend": "$1"})
    assert [len(line) for line in one.talk] == [300_000]


def test_a_command_ends_as_interrupted_when_its_parent_is_gone() -> None:
    """However the parent died, even by SIGKILL: the end of standard input is Ctrl-C. SIGINT that was ignored is heard again."""
    environment = {**os.environ, child_processes.STOP_WITH_STDIN: "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "testcard.harness.cli", "mock", "nanogpt", "--port", "0", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    assert process.stdout.readline()  # it serves
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 130)
