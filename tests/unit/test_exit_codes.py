"""Exit codes are an interface: their numbers, and which of several wins."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from testcard.harness import cli, errors
from testcard.harness.errors import Exit, Inconclusive, KeyRefused, TargetUnreachable, TestcardError, UsageError, worst
from testkit.waiting import PATIENCE_S


def test_the_numbers_are_those_of_the_documentation() -> None:
    """Scripts rely on them."""
    assert {code.name: code.value for code in Exit} == {
        "PASS": 0, "GATE_FAILED": 1, "USAGE": 2, "TARGET": 3, "INTERNAL": 4, "INCONCLUSIVE": 5, "INTERRUPTED": 130,
    }  # fmt: skip


def test_the_worst_of_several_wins() -> None:
    """Order of precedence 130, 4, 2, 3, 1, 5, 0, whatever the order they come in; nothing at all is a pass."""
    order = [130, 4, 2, 3, 1, 5, 0]
    for worse, better in itertools.combinations(order, 2):
        assert worst([Exit(better), Exit(worse)]) == worst([Exit(worse), Exit(better)]) == worse
    assert worst([]) == Exit.PASS


def test_every_error_has_a_code_of_the_table() -> None:
    """No error of ours leads to an exit code that the documentation does not know."""
    codes = {code.value for code in Exit}
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, TestcardError):
            assert kind.exit_code in codes


def raising(error: BaseException) -> Callable[[], None]:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("wrong", hint="do this"), 2, ["error: wrong", "next: do this"]),
        (TargetUnreachable("gone"), 3, ["error: gone"]),
        (KeyRefused("no"), 3, ["error: no"]),
        (Inconclusive("spent"), 5, ["error: spent"]),
        (RuntimeError("oops"), 4, ["internal error: RuntimeError: oops", "TESTCARD_TRACEBACK"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (click.UsageError("bad flag"), 2, ["bad flag"]),
        (OSError(28, "No space left on device", "samples.parquet"), 4, ["error: No space left on device: samples.parquet", "next:"]),
        (OSError("strange"), 4, ["internal error: OSError: strange"]),
    ],
)
def test_errors_become_codes_and_sentences(
    error: BaseException, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a command raises ends as its exit code and a message on stderr; stdout stays empty."""
    monkeypatch.setattr(cli, "resolve", lambda where: raising(error))
    assert cli.run(["check"]) == code
    out, talk = capfd.readouterr()
    assert out == ""
    for word in words:
        assert word in talk


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek"], ["No such command", "Did you mean", "check"]),
        (["--speed"], ["No such option"]),
        (["mock", "--port", "many"], ["--port", "many"]),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """A slip is answered with what was wrong and, for a command, with the nearest name; exit 2."""
    assert cli.run(arguments) == 2
    talk = capfd.readouterr().err
    for word in words:
        assert word in talk


def test_a_commands_own_code_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that returns a code exits with it, one that returns nothing passes."""
    results: list[Any] = [Exit.GATE_FAILED, None, 0]
    for result in results:

        @click.command()
        def command(result: Any = result) -> Any:
            return result

        monkeypatch.setattr(cli, "resolve", lambda where, command=command: command)
        assert cli.run(["check"]) == (result or 0)


def test_ctrl_c_in_the_middle_of_a_garbage_collection_is_not_lost() -> None:
    """Hypothesis hooks into the collector, and Python ignores what is raised there: the interrupt still ends the command with 130."""
    program = (
        "import gc, time, click\n"
        "from testcard.harness import cli\n"
        "def once(phase, info):\n"
        "    gc.callbacks.remove(once)\n"
        "    raise KeyboardInterrupt\n"
        "@click.command()\n"
        "def command():\n"
        "    gc.callbacks.append(once)\n"
        "    gc.collect()\n"
        "    time.sleep(10)\n"
        "    print('went on')\n"
        "cli.resolve = lambda where: command\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "check"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (130, "")
    assert "interrupted" in done.stderr


@pytest.mark.parametrize("printing", ["click.echo", "Console().print"])
def test_a_reader_that_leaves_is_no_verdict(printing: str) -> None:
    """`testcard rules | head -1` ends with the code of SIGPIPE: 1 would say that a gate failed, 0 that one passed.

    Also where rich prints, which leaves with 1 by itself.
    """
    program = (
        "import click\n"
        "from rich.console import Console\n"
        "from testcard.harness import cli\n"
        "@click.command()\n"
        "def command():\n"
        f"    write = {printing}\n"
        "    for number in range(30_000):\n"
        "        write(f'line {number}')\n"
        "cli.resolve = lambda where: command\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, "rules"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=PATIENCE_S) == 141
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "code", "message", "step"),
    [
        (["check", "nanogtp", "--json"], 2, "there is no provider nanogtp", "did you mean nanogpt?"),
        (["check", "--json", "--foo"], 2, "No such option '--foo'.", "testcard check --help"),
        (["rules", "image.sise", "--json"], 2, "there is no rule image.sise", "did you mean image.size"),
        (["selftest", "--fault", "image.cuont", "--json"], 2, "--fault image.cuont matches no fault", "did you mean image.count"),
    ],
)
def test_a_failed_command_with_json_prints_its_error_as_json(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str, step: str
) -> None:
    """A script reads one JSON object from stdout, whatever happened; people read the same on stderr."""
    assert cli.run(arguments) == code
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == code
    assert message in error["message"]
    assert step in error["next"]
    assert message in err


def test_an_error_after_the_result_adds_no_second_object(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed stays the only object on stdout; the exit code and stderr tell of the error."""

    @click.command()
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:
        click.echo("{}")
        raise UsageError("too late")

    monkeypatch.setattr(cli, "resolve", lambda name: command)
    assert cli.run(["check", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "{}\n"
    assert "too late" in err
