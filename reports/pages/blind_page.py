"""blind.html: the page on which a person votes between pairs of pictures without names. One file, nothing leaves it by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from testcard.harness.errors import Exit
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.reports.content.blind import BlindPair
from testcard.reports.content.evidence import gather
from testcard.reports.content.votes import asked_for
from testcard.reports.pages.html import TEMPLATES, digest, environment, sheet


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
