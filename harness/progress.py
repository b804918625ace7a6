"""Progress on stderr: a live line on a terminal, one line every 10 s elsewhere, JSON lines for a parent process of ours.

Set TESTCARD_PROGRESS to `json` for one JSON object a line (what `evaluate` reads), to `plain` for plain lines on a terminal too,
or to `none` for silence.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

PLAIN_INTERVAL_S = 10.0


class Progress:
    """Shows how far something is. `update` may be called from any thread and as often as one likes.

    `total` is the number of units (requests, seconds); None when it is not known. Fields are shown as `name value`.
    `view` makes what a live display shows instead of the line, anything that rich can print, so many times a second.
    `quiet`: nothing is shown or said, except to a parent process of ours.
    """

    def __init__(
        self,
        label: str,
        total: float | None = None,
        *,
        unit: str = "requests",
        view: Callable[[], Any] | None = None,
        refresh_hz: float = 8,
        quiet: bool = False,
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0.0
        self.fields: dict[str, Any] = {}
        self._phase = ""
        self._started = time.monotonic()
        self._last = 0.0
        self._style = os.environ.get("TESTCARD_PROGRESS") or ("live" if _can_be_redrawn() else "plain")
        self._quiet = quiet and self._style != "json"
        if self._quiet:
            self._style = "none"
        self._live: Any = None
        self._view = view
        self._refresh_hz = refresh_hz

    @property
    def is_live(self) -> bool:
        """Whether a live display is on the terminal, which other output would tear."""
        return self._live is not None

    def __enter__(self) -> Self:
        if self._style == "live":
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text

            self._live = Live(  # as Text, because a model's name may hold what rich takes for markup
                console=Console(stderr=True),
                refresh_per_second=self._refresh_hz,
                transient=True,
                get_renderable=self._view or (lambda: Text(self._line(), no_wrap=True)),
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._style == "json":
            self._emit()

    def update(self, done: float | None = None, *, total: float | None = None, **fields: Any) -> None:
        """Sets how much is done and what else to show (spend, findings, rate)."""
        self._phase = ""
        if done is not None:
            self.done = done
        if total is not None:
            self.total = total
        self.fields = {**self.fields, **fields}
        now = time.monotonic()
        interval = 0.2 if self._style == "json" else PLAIN_INTERVAL_S
        if self._style in ("json", "plain") and now - max(self._last, self._started) >= interval:
            self._last = now
            self._emit()

    def phase(self, words: str, *, told: bool = False) -> None:
        """What is done while there is nothing to count, until the next `update`. `told`: off a terminal it is a line at once."""
        self._phase = words
        if told and self._style == "plain":
            self._last = time.monotonic()
            self._emit()

    def say(self, text: str) -> None:
        """One line of talk on stderr, above a live display; silent where another process reads the progress, and where nobody wants it."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        elif self._style != "json" and not self._quiet:
            _write(text)

    def _emit(self) -> None:
        if self._style == "json":
            record = {"label": self.label, "done": self.done, "total": self.total, "unit": self.unit, "fields": self.fields}
            _write(json.dumps({"testcard.progress": record}, default=str))
        else:
            _write(self._line())

    def _line(self) -> str:
        elapsed = time.monotonic() - self._started
        parts = [self.label]
        if self._phase:
            return "  ".join([*parts, self._phase])
        if self.total:
            share = min(self.done / self.total, 1.0)
            width = 24
            parts.append("▕" + "█" * round(share * width) + " " * (width - round(share * width)) + f"▏ {share:4.0%}")
            if 0.02 < share < 1:
                parts.append(f"{elapsed * (1 - share) / share:.0f} s left")
        else:
            parts.append(f"{self.done:g} {self.unit}")
        parts += [f"{name} {value}" for name, value in self.fields.items()]
        return "  ".join(parts)


def leave_terminal() -> None:
    """Lets stdout and stderr go nowhere where they are a terminal: it has closed, and an error of writing would end a run unsealed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):  # isatty says no of a terminal that is gone
                os.dup2(nowhere, number)
    os.close(nowhere)


def _write(line: str) -> None:
    with suppress(OSError):  # a terminal or a parent that is gone must not end what is being told of
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _can_be_redrawn() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
