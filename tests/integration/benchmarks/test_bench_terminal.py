"""A benchmark on a terminal: the display is drawn on stderr alone, keeps to its width, hears Ctrl-C, and leaves the terminal as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from testcard.harness.targets import embedded_mocks
from testkit.waiting import PATIENCE_S


def on_terminal(arguments: list[str], *, columns: int, interrupt_at: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, what the terminal got on stderr, and stdout (a pipe); SIGINT when `interrupt_at` is first shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    keep = {name: value for name, value in os.environ.items() if name not in ("TESTCARD_PROGRESS", "NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "testcard.harness.cli", "bench", *arguments], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        env={**keep, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    stdout: list[bytes] = []
    reader = threading.Thread(target=lambda stream: stdout.append(stream.read()), args=(process.stdout,))
    reader.start()
    shown = b""
    interrupted = False
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed: everything was read
            break
        if not interrupted and interrupt_at.encode() in shown:
            process.send_signal(signal.SIGINT)
            interrupted = True
    code = process.wait(10)
    reader.join(10)
    os.close(ours)
    return code, shown.decode(), b"".join(stdout).decode()


@pytest.mark.parametrize(("columns", "colour"), [(80, True), (120, False)])
def test_the_display_is_drawn_and_taken_away(tmp_path: Path, columns: int, colour: bool) -> None:
    """Rates, latency, spend and time while it runs; a notice after Ctrl-C; no line too long, no colour with NO_COLOR, the cursor back."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.6"]) as mocks:
        code, shown, stdout = on_terminal(
            [
                "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--users", "3", "--duration", "60", "--warmup", "0", "--rounds", "1",
                "--max-requests", "500", "--max-cost", "5", "--json", "--out", str(tmp_path / "run"),
            ],
            columns=columns,
            interrupt_at="this stage so far",
            **({} if colour else {"NO_COLOR": "1"}),
        )  # fmt: skip
    assert code == 130
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for words in (
        "target   nanogpt",
        "3 users, ",
        "/s achieved, 3 in flight",
        "of at most 500, spent $",
        " of at most $5",
        " left",
        "errors   none",
    ):
        assert words in plain
    assert "interrupted: waiting up to 0.8 s for what is in flight" in plain
    drawn = [line for line in re.split(r"[\r\n]+", plain) if line.startswith(("target", "time", "rate", "latency", "sent"))]
    assert max(map(len, drawn)) <= columns
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) == colour  # the notice is yellow
    assert "\x1b" not in stdout
    assert stdout.startswith("{")
