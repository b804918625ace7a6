"""How the children of `testcard evaluate` are shown while they run: all at once on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from testcard.harness.child_processes import ChildCommand
from testcard.harness.cli import say
from testcard.harness.errors import Exit
from testcard.harness.progress import PLAIN_INTERVAL_S
from testcard.harness.text.verdicts import GLYPHS
from testcard.harness.text.words import listing

_STATES = {"waiting": ("·", "dim"), "running": ("▸", "bold"), "left out": ("–", "dim")}
_ENDS: dict[Exit | None, tuple[str, str]] = {
    Exit.PASS: (GLYPHS["pass"], "green"),
    Exit.INCONCLUSIVE: (GLYPHS["inconclusive"], "yellow"),
    Exit.INTERRUPTED: (GLYPHS["not-run"], "yellow"),
}


class ChildrenDisplay:
    """A table that is drawn again on a terminal; elsewhere a line when a command starts or ends, and for each one every 10 s."""

    def __init__(self, children: Sequence[ChildCommand], *, quiet: bool = False) -> None:
        self.children = children
        self.notice = ""
        self._quiet = quiet
        self._terminal = not quiet and sys.stderr.isatty() and os.environ.get("TESTCARD_PROGRESS", "live") == "live"
        self._live: Any = None

    def __enter__(self) -> ChildrenDisplay:
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=5, get_renderable=self._table)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def changed(self, child: ChildCommand) -> None:
        """A command is about to start, or has ended."""
        if self._terminal or self._quiet:
            return
        say(f"{child.name}: started" if child.exit_code is None else f"{child.name}: {child.words} after {child.elapsed_s:.1f} s")

    def interrupted(self, times: int) -> None:
        """A stop was asked for, so many times by now."""
        running = [child.name for child in self.children if child.state == "running"]
        if times > 1 or not running:
            self.notice = "interrupted"
        else:
            self.notice = f"interrupted: waiting for {listing(running)} to save what they have (again: abort)"
        if not self._terminal:
            say(self.notice)

    async def tick(self) -> None:
        """Says how far each running command is, every 10 s, where nothing is drawn; runs until it is cancelled."""
        while True:
            await asyncio.sleep(PLAIN_INTERVAL_S)
            for child in self.children if not (self._terminal or self._quiet) else ():
                if child.state == "running":
                    share = f" {child.done / child.total:.0%}" if child.total else ""
                    say(f"{child.name}:{share} {_fields(child)} ({child.elapsed_s:.0f} s)")

    def _table(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for child in self.children:
            mark, style = _STATES.get(child.state) or _ENDS.get(child.result, (GLYPHS["fail"], "red"))
            bar: Any = child.words
            if child.state == "running":
                bar = ProgressBar(
                    total=child.total or 1,
                    completed=child.done if child.total else 0,
                    width=24,
                    pulse=not child.total,
                    animation_time=time.monotonic(),
                )
            seconds = f"{child.elapsed_s:5.1f} s" if child.started_s else ""
            table.add_row(Text(mark, style=style), Text(child.name, style=style), bar, seconds, Text(_fields(child), style="dim"))
        return Group(table, Text(self.notice)) if self.notice else table


def _fields(child: ChildCommand) -> str:
    return "  ".join(f"{name} {value}" for name, value in child.fields.items() if value not in (None, ""))
