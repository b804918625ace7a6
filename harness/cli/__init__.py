"""The command line: a table of commands, each imported only when it is called, and one place where errors become exit codes.

May import everything in the harness; mocks, benchmarks and reports only by name, through `testcard.harness.extras`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, cast

import click

from testcard.harness.cli.outgoing import Outgoing
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.extras import extra_of, require, requirement, resolve

#: name → (where the click command is, its line in `testcard --help`)
COMMANDS: dict[str, tuple[str, str]] = {
    "evaluate": (
        "testcard.harness.cli.evaluate:evaluate",
        "Check, load and compare every target; without a config, the five embedded mocks.",
    ),
    "init": ("testcard.harness.cli.init:init", "Write a testcard.toml for your targets, and the file that checks them in CI."),
    "doctor": ("testcard.harness.cli.doctor:doctor", "Look at what can go wrong before anything is sent, and say what to do."),
    "check": ("testcard.harness.cli.check.command:command", "Judge whether a target keeps its documented contract."),
    "replay": ("testcard.harness.cli.replay:replay", "Send one recorded exchange of a check again and show what differs."),
    "bench": ("testcard.benchmarks.command:command", "Measure latency, throughput and cost under load."),
    "calibrate": ("testcard.benchmarks.calibration.command:calibrate", "Measure which rates this machine can be trusted with."),
    "report": ("testcard.reports.command:report", "Render runs as one offline HTML file, Markdown, CSV and figures."),
    "compare": ("testcard.reports.command:compare", "Say what got better or worse between two runs."),
    "watch": ("testcard.harness.cli.watch:watch", "Look at targets on an interval within a daily budget, and tell of changes."),
    "history": ("testcard.harness.cli.history:history", "Show how figures and findings moved over runs."),
    "mock": ("testcard.mocks.command:mock", "Serve one or more providers' contracts on this machine, with faults if asked."),
    "generate": ("testcard.harness.cli.client:generate", "Generate pictures from a prompt (the reference client)."),
    "edit": ("testcard.harness.cli.client:edit", "Edit a picture."),
    "variation": ("testcard.harness.cli.client:variation", "Make variations of a picture."),
    "describe": ("testcard.harness.cli.client:describe", "Describe a picture in words."),
    "providers": ("testcard.harness.cli.catalogue:providers", "List the providers, their operations, models and prices."),
    "rules": ("testcard.harness.cli.catalogue:rules", "List the rules, or explain one."),
    "selftest": ("testcard.harness.cli.selftest:selftest", "Run every fault against every rule and print the kill matrix."),
    "open": ("testcard.harness.cli.runs:open_report", "Open the report of a run in the browser."),
    "clean": ("testcard.harness.cli.runs:clean", "Delete older runs."),
    "schema": (
        "testcard.harness.cli.schema:schema",
        "Print the JSON Schema of testcard.toml, workload.toml, profile.yaml or a run's file.",
    ),
    "spec": ("testcard.harness.cli.spec:spec", "Check a provider's two files, compare two documents, hold a run against its document."),
}

#: command → the extras without which it cannot do its work; what is not here works in a bare install
NEEDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("check", "bench", "report"),
    "check": ("check",),
    "replay": ("check",),
    "bench": ("bench",),
    "calibrate": ("bench",),
    "report": ("report",),
    "compare": ("report",),
    "watch": ("check",),
    "history": ("report",),
    "mock": ("mock",),
    "selftest": ("check", "mock"),
}

#: Seconds that a command goes on whose parent has died; its own children then follow within 3 s.
_ORPHAN_S = 2.0
#: Errors of the machine rather than of Testcard: no space, no right, too many open files.
_MACHINES_OWN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE)

#: Errors of a name that was given: no file can have it.
_NO_SUCH_NAME = (errno.ENAMETOOLONG, errno.ELOOP)


class _ReaderLeft(Exception):
    """Whoever read stdout has gone (`testcard rules | head`). The exit code is a shell's for SIGPIPE: any of ours would claim a verdict."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and help lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None when the table has no such name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        require(NEEDS.get(cmd_name, ()), f"testcard {cmd_name}")
        command: click.Command = resolve(entry[0])
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but for a broken pipe, which click, and rich, would turn into 1: the code of a failed gate."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderLeft from error
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):
                raise _ReaderLeft from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table's own help lines, so that --help imports nothing."""
        width = max(map(len, COMMANDS)) + 2
        with formatter.section("Commands"):
            formatter.write_dl([(name.ljust(width - 2), text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name suggested for a command that is not there."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {near[0]}?", ctx=ctx) from None
            raise


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 pass, 1 gate failed, 2 usage, 3 target unreachable or key refused, 4 internal error, 5 inconclusive, 130 interrupted.",
)
@click.version_option(package_name="testcard", prog_name="testcard")
def testcard() -> None:
    """Does an image-generation API keep its contract, how fast is it under load, and what does a good image cost?"""


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    _open_closed_streams()
    sys.unraisablehook = _not_lost
    if os.environ.pop("TESTCARD_STOP_WITH_STDIN", None):
        _stop_with_stdin()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup, say, has SIGHUP ignored
            signal.signal(number, _as_ctrl_c)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # one more, when all is said and the streams are let go
        code = Exit.INTERRUPTED
    sys.exit(code)


def _open_closed_streams() -> None:
    """Gives each standard stream that was closed at the start (`>&-`, as some daemons do) to the null device.

    Otherwise a line for it would be an error, and the first file that is opened, such as a run's, would take its number and what is said.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115 (for good)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Does what Ctrl-C does at this moment; as itself where Ctrl-C is ignored, as in a shell's background job."""
    if number == signal.SIGHUP:
        from testcard.harness.progress import leave_terminal

        leave_terminal()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _stop_with_stdin() -> None:
    """Takes the end of standard input for Ctrl-C, so that a child of ours does not outlive its parent, however that died."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited; the parent passes a stop on as SIGINT
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # nobody hears any more, and talk into a broken pipe would end the run unsealed
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_ORPHAN_S)
        os._exit(Exit.INTERRUPTED)  # what is recorded can be read without a closing step

    threading.Thread(target=wait, daemon=True).start()


def _not_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeats a Ctrl-C that arrived where Python cannot raise: in a finaliser, or in Hypothesis's callback to the garbage collector."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    # A moment later, because until this hook has returned it would be lost once more; as a signal, so that it ends a wait.
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    timer = threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT))
    timer.daemon = True
    timer.start()


def run(args: list[str]) -> int:
    """The exit code of the command line with these arguments; writes to stdout and stderr, never raises.

    With --json, a command that fails before it has printed a result prints `{"error": {"code", "message", "next"}}` as well.
    """
    streams = sys.stdout, sys.stderr
    shown = Outgoing(sys.stdout), Outgoing(sys.stderr)
    sys.stdout, sys.stderr = cast(Any, shown)
    try:
        return _run_heard(args)
    finally:
        with suppress(OSError, ValueError):  # nobody reads any more
            for stream in shown:
                stream.release()
        sys.stdout, sys.stderr = streams


def _run_heard(args: list[str]) -> int:
    if "--json" not in args:
        return _run(args, lambda code, message, hint: None)
    stdout = sys.stdout
    noticed: Any = _Noticed(stdout)
    sys.stdout = noticed

    def fail(code: int, message: str, hint: str | None) -> None:
        if not noticed.used:
            import json

            click.echo(json.dumps({"error": {"code": code, "message": message, "next": hint}}))

    try:
        return _run(args, fail)
    finally:
        sys.stdout = stdout


class _Noticed:
    """A stream that knows whether anything was written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.used = False

    def write(self, text: str) -> int:
        self.used = True
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _run(args: list[str], fail: Callable[[int, str, str | None], None]) -> int:
    try:
        result = testcard.main(args=args, prog_name="testcard", standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.PASS
    except click.exceptions.Exit as wanted:
        return wanted.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        context = getattr(error, "ctx", None)
        fail(Exit.USAGE, error.format_message(), f"{context.command_path if context is not None else 'testcard'} --help")
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        fail(Exit.INTERRUPTED, "interrupted", None)
        return Exit.INTERRUPTED
    except TestcardError as error:
        say(f"error: {error.message}")
        if error.hint:
            say(f"next: {error.hint}")
        fail(int(error.exit_code), error.message, error.hint)
        return int(error.exit_code)
    except _ReaderLeft:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno in _NO_SUCH_NAME:
            message = f"{error.strerror}: {str(error.filename)[:100]!r}"
            say(f"error: {message}")
            fail(Exit.USAGE, message, None)
            return Exit.USAGE
        if error.errno not in _MACHINES_OWN:
            return _internal(error, fail)
        message = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
        hint = "look at the disk, its permissions and this process's limits; what was recorded so far is kept"
        say(f"error: {message}")
        say(f"next: {hint}")
        fail(Exit.INTERNAL, message, hint)
        return Exit.INTERNAL
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if extra is None:
            return _internal(error, fail)
        message = f"this needs more than the base install: pip install '{requirement([extra])}'"
        say(f"error: {message}")
        fail(Exit.USAGE, message, None)
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 (the one place where whatever is left becomes exit code 4)
        return _internal(error, fail)


def _internal(error: Exception, fail: Callable[[int, str, str | None], None]) -> int:
    """Tells of a mistake of ours; raises it again where a traceback is asked for."""
    if os.environ.get("TESTCARD_TRACEBACK"):
        raise error
    message = f"{type(error).__name__}: {error}"
    hint = "run it again with TESTCARD_TRACEBACK=1 and report what it prints; what was recorded so far is kept"
    say(f"internal error: {message}")
    say(f"next: {hint}")
    fail(Exit.INTERNAL, message, hint)
    return Exit.INTERNAL


def say(text: str) -> None:
    """One line of talk on stderr; where nobody hears it any more, what was talked about goes on all the same."""
    with suppress(OSError):
        click.echo(text, err=True)
