"""report.html: one file, no external asset, a Content-Security-Policy that allows exactly its own sheet and script.

blind.html: the page on which a person votes between pairs of pictures without names. One file, nothing leaves it by itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from testcard.harness.errors import Exit
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.text.words import GLYPHS, MEANINGS, clean, count, data_size, listing, waiver_line, waiver_reason
from testcard.reports.content.comparison import compared_at
from testcard.reports.content.definitions import DEFINITIONS
from testcard.reports.content.evidence import gather
from testcard.reports.content.measures import VOLUME_NOTE, VOLUMES
from testcard.reports.content.votes import BlindPair, asked_for
from testcard.reports.figures import palette
from testcard.reports.pages.page import Page

TEMPLATES = Path(__file__).parent / "templates"


def render_html(page: Page) -> str:
    """The whole file. Only the sheet, the script and our own figures go in unescaped."""
    style = sheet()
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; base-uri 'none'; form-action 'none'"
    figures = {
        name: {"drawing": drawing, "svg": Markup(drawing.inline), "small": Markup(drawing.small)}
        for name, drawing in page.gallery.drawings.items()
    }
    context: dict[str, Any] = {
        "page": page,
        "sections": page.sections,
        "figures": figures,
        "policy": policy,
        "style": Markup(style),
        "script": Markup(script),
    }
    return environment().get_template("report.html.j2").render(context)


@cache
def environment() -> Environment:
    """What templates are rendered by: everything is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        compared_at=compared_at, clean=clean, data_size=data_size, listing=listing, waiver_line=waiver_line, waiver_reason=waiver_reason
    )
    environment.globals.update(
        definitions=DEFINITIONS, volumes=VOLUMES, volume_note=VOLUME_NOTE, glyphs=GLYPHS, meanings=MEANINGS, count=count
    )
    return environment


@cache
def sheet() -> str:
    """The style sheet, with the dark colours of figures."""
    sheet = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return sheet + f"@media screen and (prefers-color-scheme:dark){{{palette.dark_rules()}}}"


def digest(text: str) -> str:
    """How a Content-Security-Policy names a sheet or a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8", "replace")).digest()).decode("ascii")


def write_blind(runs: Sequence[RunReader], out: Path | None = None) -> Path:
    """Writes the page of these runs' pictures into the new folder `out` and returns it. `UsageError` where there is no pair."""
    text = render_blind(asked_for(evidence := gather(runs)))
    out = out if out is not None else default_folder("blind")
    names = [Path(os.path.relpath(run.folder.resolve(), out.resolve())).as_posix() for run in evidence.runs]
    writer = RunWriter.create(out, "report", config={"runs": names, "blind": True})
    with writer:
        writer.write_text("blind", "blind.html", text)
        writer.finish("pass", Exit.PASS, None)
    return out / "blind.html"


def render_blind(pairs: Sequence[BlindPair]) -> str:
    """The whole file. It holds tokens, prompts and pictures, and no name of a target, model or file."""
    style, script = sheet(), (TEMPLATES / "blind.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; base-uri 'none'; form-action 'none'"
    pictures = {entry.token: entry.uri for pair in pairs for entry in (pair.one, pair.other)}
    ordered = dict(sorted(pictures.items()))  # by token: the order of targets would tell them apart
    shown = [pair if pair.one.token < pair.other.token else BlindPair(pair.other, pair.one) for pair in pairs]
    shown.sort(key=lambda pair: (pair.one.token, pair.other.token))
    context = {"pairs": shown, "pictures": ordered, "policy": policy, "style": Markup(style), "script": Markup(script)}
    return environment().get_template("blind.html.j2").render(context)
