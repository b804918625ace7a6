"""What strangers send cannot leave its place: not in a shell, in Markdown, in CSV, in SVG or in a picture decoder."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.text.words import clean
from testcard.reports.content.exhibits import Table
from testcard.reports.content.pictures import _thumb
from testcard.reports.figures.style import Sketch, canvas, heading, render
from testcard.reports.pages.markdown import escaped, fenced
from testcard.reports.pages.render import write_report, written


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "<img src=x onerror=1>",
        "[a](http://evil.example)",
        "![a](x)",
        "`code`",
        "**bold**",
        "@someone",
        "https://evil.example/x",
        "- item",
        "1. item",
        "# head",
        "a\n\n# head",
        "$x$",
    ],
)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    """No cell ends early and no markup, link, mention or heading begins."""
    shown = escaped(text)
    assert "\n" not in shown
    assert "<" not in shown
    plain = shown
    for active in ("|", "`", "[", "]", "*", "$"):
        plain = plain.replace("\\" + active, "")
        assert active not in plain
    assert "https://" not in shown
    assert "http://" not in shown
    assert not shown.startswith(("- ", "# ", "1. "))
    assert "@s" not in shown


def test_fence_outgrows_the_backticks_inside() -> None:
    """A code block ends where it should."""
    assert fenced("a ```` b").splitlines()[0] == "`````"


def test_csv_runs_no_formula() -> None:
    """A cell that a spreadsheet would compute is text; numbers stay numbers."""
    text = written(["a", "b"], [["=HYPERLINK(1)", -3.5], ["+1", None], ['fine, "quoted"', 2]])
    assert list(csv.reader(io.StringIO(text)))[1:] == [["'=HYPERLINK(1)", "-3.5"], ["'+1", ""], ['fine, "quoted"', "2"]]


def test_figures_hold_any_name() -> None:
    """Markup, dollar signs and control characters in a name leave a well-formed SVG with that name as text."""
    name = clean('<b> & "x" $\\frac$ \x00\x1b[31m ü')

    def draw() -> Any:
        figure, (axes,) = canvas(2.0)
        heading(axes, name)
        return figure

    drawing = render(Sketch("f", name, name, Table((), ()), draw))
    for source in (drawing.inline, drawing.svg.decode()):
        texts = [
            "".join(element.itertext()) for element in ET.fromstring(source.encode()).iter() if element.tag.endswith(("text", "title"))
        ]
        assert texts.count(name) == 2


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\x00" * 200, b"\xff\xd8\xff\xe0 not a picture", b"GIF89a" + b"\xff" * 40]
)
def test_bytes_that_are_no_picture_are_named_so(data: bytes) -> None:
    """A decoder that fails is a remark in the report, not the end of it."""
    thumb = _thumb(data, "", left_px=1 << 30)
    assert thumb.uri is None
    assert thumb.problem


@pytest.mark.parametrize(
    ("side", "measured", "problem"), [(9_500, 9_500, "too large to show"), (20_000, None, "claims more pixels than are ever decoded")]
)
def test_a_bomb_is_not_decoded(synthetic: ModuleType, side: int, measured: int | None, problem: str) -> None:
    """A header that claims 90 or 400 megapixels is not followed: measured at most, and left alone."""
    data = bytearray(synthetic.picture(1, (8, 8)))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    thumb = _thumb(bytes(data), "", left_px=1 << 30)
    assert (thumb.width_px, thumb.height_px, thumb.uri, thumb.problem) == (measured, measured, None, problem)


def test_hostile_markdown_and_summary(report: Path) -> None:
    """The error body of the fixture makes no tag in report.md and summary.md outside code."""
    for name in ("report.md", "summary.md"):
        prose = [part for index, part in enumerate((report / name).read_text().split("```")) if index % 2 == 0]
        assert "<script" not in "".join(prose)
    assert (report / "summary.md").stat().st_size < 900_000


def test_names_with_control_characters_do_not_stop_a_report(synthetic: ModuleType, tmp_path: Path) -> None:
    """A provider whose name and model hold escape sequences still gets a whole report."""
    odd = synthetic.Maker("odd", "O\x1b[31mdd\x00", "d\x07.txt", ("op",), "m\x1b]0;x\x07", 0.4, 0.2, 0.01)
    path = write_report(synthetic.write_evaluation(tmp_path / "odd", requests=90, makers=(odd,)), tmp_path / "out")
    assert RunReader(path.parent).run.kind == "report"
    for name in ("report.html", "report.md", "comparison.csv", "figures/latency-ecdf.svg"):
        text = (path.parent / name).read_text()
        assert "\x1b" not in text, name
        assert "\x07" not in text, name
