"""Colours and markers: one light and one dark value each, so that one SVG serves both schemes.

Series colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; markers repeat the distinction in grey.
"""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """A colour by name: what the figure file says (light) and what the dark stylesheet puts in its place."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1b2128", "#e7eaee")
MUTED = Colour("muted", "#5a6572", "#a3adb9")
FAINT = Colour("faint", "#c9d0d8", "#47505b")
GRID = Colour("grid", "#e8ebef", "#2b323a")
SURFACE = Colour("surface", "#ffffff", "#15191e")
GOOD = Colour("good", "#1a7f4e", "#4cc38a")
BAD = Colour("bad", "#b3261e", "#ff8a80")
WARN = Colour("warn", "#8f6200", "#e3b341")

SERIES = (
    Colour("blue", "#0072b2", "#4da6e0"),
    Colour("vermillion", "#d55e00", "#ff8540"),
    Colour("green", "#009e73", "#2fcb9d"),
    Colour("purple", "#cc79a7", "#e6a3c8"),
    Colour("orange", "#e69f00", "#f5b93a"),
    Colour("sky", "#56b4e9", "#93d3f7"),
    Colour("slate", "#4d5763", "#bcc5cf"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h")

#: One colour for each way a request can end; the good ones first, in the order they are stacked.
OUTCOME_COLOURS = {
    "ok": Colour("o-ok", "#9fb8ad", "#4f7263"),
    "slow": Colour("o-slow", "#d9cfa0", "#7d7443"),
    "rate-limited": Colour("o-rate", "#e69f00", "#f5b93a"),
    "refused": Colour("o-refused", "#cc79a7", "#e6a3c8"),
    "policy": Colour("o-policy", "#8c6bb1", "#b79ad8"),
    "server-error": Colour("o-server", "#d55e00", "#ff8540"),
    "timeout": Colour("o-timeout", "#7a2b00", "#c9572a"),
    "connect": Colour("o-connect", "#56b4e9", "#93d3f7"),
    "tls": Colour("o-tls", "#0072b2", "#4da6e0"),
    "broken": Colour("o-broken", "#4d5763", "#bcc5cf"),
    "invalid-picture": Colour("o-invalid", "#1b2128", "#e7eaee"),
}

#: One colour for each part of a request's time, in the order they are stacked; light and dark alternate, so that they part in grey.
PHASE_COLOURS = {
    "wait to send": Colour("t-wait", "#d3d9e0", "#5f6a76"),
    "connect": Colour("t-connect", "#1b2128", "#e7eaee"),
    "queue": Colour("t-queue", "#e6a000", "#f5b93a"),
    "generate": Colour("t-generate", "#0072b2", "#4da6e0"),
    "receive": Colour("t-receive", "#a9d8f4", "#c9e8fa"),
    "download": Colour("t-download", "#7a2b00", "#c9572a"),
}

ALL = (INK, MUTED, FAINT, GRID, SURFACE, GOOD, BAD, WARN, *SERIES, *OUTCOME_COLOURS.values(), *PHASE_COLOURS.values())


def dark_rules() -> str:
    """CSS that turns the light colours of an SVG into the dark ones; presentation attributes yield to any rule.

    The selectors are bare classes: one with an ancestor in it does not match inside `<use>`, where markers are drawn.
    """
    seen: dict[str, Colour] = {}
    for colour in ALL:
        seen.setdefault(colour.light, colour)
    rules = []
    for colour in seen.values():
        name = class_name(colour.light)
        rules.append(f".f-{name}{{fill:{colour.dark}}}.s-{name}{{stroke:{colour.dark}}}")
    return "".join(rules)


def class_name(light: str) -> str:
    """The class that marks a light colour in an SVG: its digits."""
    return light.lstrip("#").lower()


KNOWN = frozenset(colour.light.lower() for colour in ALL)
