"""The one style of every figure: type, lines, axes, number formats, and how a drawing becomes SVG and PNG bytes.

Matplotlib's SVG is made fit for a page with a strict Content-Security-Policy, for both colour schemes and for screen readers: style
attributes become presentation attributes (a policy without unsafe-inline blocks the former), known colours get a class that a dark
stylesheet overrides, identifiers get the figure's name as a prefix, and the root a title and a description.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from testcard.harness.text.words import shortened, significant
from testcard.reports.content.evidence import Series
from testcard.reports.content.exhibits import Drawing, Table
from testcard.reports.figures import palette

WIDTH_IN = 10.0
#: The width of the same figure for a telephone: what stands beside the axes on the page stands above or under them there.
NARROW_IN = 4.4
_KEY_IN = 0.23
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)
PNG_DPI = 144
RASTER_DPI = 160
RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "testcard",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": palette.INK.light,
    "text.parse_math": False,  # a model's name may hold a dollar sign
    "axes.edgecolor": palette.FAINT.light,
    "axes.labelcolor": palette.MUTED.light,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": palette.GRID.light,
    "grid.linewidth": 0.8,
    "xtick.color": palette.FAINT.light,
    "ytick.color": palette.FAINT.light,
    "xtick.labelcolor": palette.MUTED.light,
    "ytick.labelcolor": palette.MUTED.light,
    "xtick.major.size": 3.5,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "hatch.linewidth": 0.7,
    "hatch.color": palette.FAINT.light,
    "legend.frameon": False,
}
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")

ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What a figure module returns: how to draw it (called once for each width), and what to say about it."""

    name: str
    title: str
    caption: str
    table: Table
    draw: Callable[[], Figure] = field(repr=False)


def render(sketch: Sketch) -> Drawing:
    """The drawing as SVG and PNG; the same sketch gives the same bytes."""
    with matplotlib.rc_context(RC):
        figure = sketch.draw()
        vector = io.BytesIO()
        figure.set_dpi(RASTER_DPI)  # of what is rasterised inside the SVG
        canvas_svg: Any = FigureCanvasSVG(figure)
        canvas_svg.print_svg(vector, metadata={"Date": None, "Creator": None})
        raster = io.BytesIO()
        figure.set_facecolor(palette.SURFACE.light)
        figure.set_dpi(PNG_DPI)
        canvas_png: Any = FigureCanvasAgg(figure)
        canvas_png.print_png(raster, metadata={"Software": None})
        small = _small(sketch)
    inline, alone = tidy(vector.getvalue().decode("utf-8"), sketch.name, sketch.title, sketch.caption)
    return Drawing(sketch.name, sketch.title, sketch.caption, sketch.table, inline, small, alone.encode("utf-8"), raster.getvalue())


def _small(sketch: Sketch) -> str:
    """The figure for a telephone, as SVG for the page."""
    token = _narrow.set(True)
    try:
        figure = sketch.draw()
        for axes in figure.axes:
            axes.set_xlabel(textwrap.fill(axes.get_xlabel(), 52), fontsize=8.5)
        figure.set_dpi(RASTER_DPI)
        vector = io.BytesIO()
        canvas_svg: Any = FigureCanvasSVG(figure)
        canvas_svg.print_svg(vector, metadata={"Date": None, "Creator": None})
    finally:
        _narrow.reset(token)
    return tidy(vector.getvalue().decode("utf-8"), f"{sketch.name}-small", sketch.title, sketch.caption, kind="small-figure")[0]


#: A left margin larger than this holds the names of rows.
_ROW_LABELS = 0.2


def canvas(
    height_in: float, *, left: float = 0.075, right: float = 0.76, top_in: float = 0.42, bottom_in: float = 0.52, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with `rows` panels over each other; margins left and right are shares, top and bottom inches."""
    width_in = WIDTH_IN
    if _narrow.get():
        width_in, top_in, bottom_in = NARROW_IN, top_in + 0.2, bottom_in + 0.14
        inside = (height_in - top_in - bottom_in) * (1.45 if left > _ROW_LABELS else 0.85)
        height_in = inside + top_in + bottom_in
        left, right = (0.04 if left > _ROW_LABELS else 0.135), (0.965 if right in (0.76, 0.97) else right - 0.03)
    figure = Figure(figsize=(width_in, height_in), facecolor="none")
    grid = figure.add_gridspec(rows, 1, left=left, right=right, top=1 - top_in / height_in, bottom=bottom_in / height_in, hspace=0.5)
    axes: list[Axes] = []
    for row in range(rows):
        axis = figure.add_subplot(grid[row], sharex=axes[0] if axes else None, facecolor="none")
        axes.append(axis)
    return figure, axes


def heading(axes: Axes, text: str, tag: str | None = None, *, pad_pt: float = 9) -> None:
    """The y axis' title, set horizontally above it, and on the right a tag such as "lower is better"."""
    narrow = _narrow.get()
    size = 7.8 if narrow and len(text) > 40 else None
    axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, pad_pt),
        textcoords="offset points",
        ha="left",
        color=palette.MUTED.light,
        fontsize=size,
    )
    if tag:
        axes.annotate(
            tag,
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, pad_pt + (13 if narrow else 0)),
            textcoords="offset points",
            ha="right",
            color=palette.MUTED.light,
            fontstyle="italic",
        )


#: A longer name does not fit right of the axes on one line.
_KEY_CHARACTERS = 25


def keys(
    axes: Axes, entries: Sequence[tuple[palette.Colour, str, str, str]], *, x: float = 1.025, top: float = 1.0, step_pt: float = 33
) -> None:
    """Direct labels in a column right of the axes (under them in a narrow figure): (colour, marker, name, small print) from top to bottom."""
    if _narrow.get():
        _keys_under(axes, entries)
        return
    for index, (colour, marker, name, note) in enumerate(entries):
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        offset = -8 - index * step_pt
        if len(name) > _KEY_CHARACTERS:  # on two lines, in small print
            lines = "\n".join(textwrap.wrap(shortened(name, 60), 32, max_lines=2, placeholder="…"))
            axes.annotate(lines, (x, top), xytext=(14, offset + 3), va="center", color=palette.INK.light, fontsize=7.5, **place)
        else:
            axes.annotate(name, (x, top), xytext=(14, offset), va="center", color=palette.INK.light, **place)
        axes.annotate(note, (x, top), xytext=(14, offset - 12.5), va="center", color=palette.MUTED.light, fontsize=8, **place)
        box = axes.get_window_extent()
        scale = 72.0 / axes.figure.dpi
        size_pt = (box.width * scale, box.height * scale)
        axes.add_line(
            Line2D(
                [x + 4 / size_pt[0]],
                [top + offset / size_pt[1]],
                transform=axes.transAxes,
                clip_on=False,
                marker=marker,
                color=colour.light,
                linestyle="none",
            )
        )


def _keys_under(axes: Axes, entries: Sequence[tuple[palette.Colour, str, str, str]]) -> None:
    """Makes the figure taller and sets the labels, a line each, under everything."""
    figure: Any = axes.figure
    before_in = figure.get_figheight()
    extra_in = len(entries) * _KEY_IN + 0.12
    height_in = before_in + extra_in
    figure.set_figheight(height_in)
    grid: Any = axes.get_gridspec()
    grid.update(top=1 - (1 - grid.top) * before_in / height_in, bottom=(grid.bottom * before_in + extra_in) / height_in)
    for each in figure.axes:
        each.set_position(each.get_subplotspec().get_position(figure))
    for index, (tint, mark, name, note) in enumerate(entries):
        y = (extra_in - (index + 0.5) * _KEY_IN) / height_in
        figure.add_artist(Line2D([0.03], [y], transform=figure.transFigure, marker=mark, color=tint.light, linestyle="none"))
        figure.text(0.06, y, f"{shortened(name, 34)}  ", va="center", color=palette.INK.light)
        figure.text(0.985, y, note, va="center", ha="right", color=palette.MUTED.light, fontsize=8)


def row_labels(axes: Axes, labels: Sequence[tuple[str, str]]) -> None:
    """Names of horizontal rows left of the axes, each with small print under it; above each row in a narrow figure."""
    axes.set_yticks([])
    if _narrow.get():
        low, high = axes.get_ylim()
        pitch_pt = axes.get_window_extent().height * 72.0 / axes.figure.dpi / max(abs(high - low), 1e-9)
        for place, (name, note) in enumerate(labels):
            at: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
            up = 0.31 * pitch_pt
            axes.annotate(shortened(name, 36), (0, place), xytext=(3, up), va="bottom", color=palette.INK.light, fontsize=8.5, **at)
            axes.annotate(note, (1, place), xytext=(0, up), va="bottom", ha="right", color=palette.MUTED.light, fontsize=8, **at)
        return
    for place, (name, note) in enumerate(labels):
        common: dict[str, Any] = {
            "xycoords": axes.get_yaxis_transform(),
            "textcoords": "offset points",
            "ha": "right",
            "annotation_clip": False,
        }
        axes.annotate(shortened(name, 34), (0, place), xytext=(-10, 1), va="bottom", color=palette.INK.light, **common)
        axes.annotate(note, (0, place), xytext=(-10, -2), va="top", color=palette.MUTED.light, fontsize=8, **common)


def colour(series: Series) -> palette.Colour:
    """The colour of a row, the same in every figure."""
    return palette.SERIES[series.index % len(palette.SERIES)]


def marker(series: Series) -> str:
    """The marker of a row, the same in every figure; with the colour it is unique up to 63 rows."""
    return palette.MARKERS[series.index % len(palette.MARKERS)]


def log_axis(axes: Axes, which: str, low: float, high: float, *, sparse: bool = False) -> None:
    """Sets a logarithmic axis from low to high with ticks at 1, 2 and 5 of each decade (only 1 where there are many, or little room)."""
    set_scale, set_limits, axis = (
        (axes.set_xscale, axes.set_xlim, axes.xaxis) if which == "x" else (axes.set_yscale, axes.set_ylim, axes.yaxis)
    )
    set_scale("log")
    set_limits(low, high)
    decades = math.log10(high / low)
    steps = (1,) if decades > 3 or (sparse and decades >= 1.2) else (1, 3) if sparse else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([significant(tick) for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def linear_axis(axes: Axes, which: str, low: float, high: float, *, most: int = 6) -> None:
    """Sets a linear axis from low to high with few round ticks."""
    set_limits, axis = (axes.set_xlim, axes.xaxis) if which == "x" else (axes.set_ylim, axes.yaxis)
    set_limits(low, high)
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: significant(value)))


def fit_axis(axes: Axes, which: str, values: Iterable[float], *, from_zero: bool = True, sparse: bool = False) -> bool:
    """Chooses the axis for positive values: logarithmic where they span a decade or more; returns whether it did."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    low, high = (min(positive), max(positive)) if positive else (0.1, 1.0)
    if high / low >= 10:
        log_axis(axes, which, low / 1.25, high * 1.25, sparse=sparse)
        return True
    linear_axis(axes, which, 0.0 if from_zero else max(low - 0.1 * (high - low), 0.0), high * 1.08, most=3 if sparse else 6)
    return False


# ── matplotlib's SVG made fit for the page ────────────────────────────────────────────────────────────────────────────


def tidy(source: str, name: str, title: str, description: str, *, kind: str = "figure") -> tuple[str, str]:
    """The SVG for the page (no XML head, no sheet of its own) and as a file that stands alone, from matplotlib's output."""
    root = ET.fromstring(source)  # our own output, not a stranger's
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = _referenced(root)
    for element in root.iter():
        _restyle(element)
        _rename(element, name, used)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.pop("width"), root.attrib.pop("height"), root.attrib.pop("version", None)
    root.attrib.update(
        {
            "class": kind,
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "font-family": FONT,
            "stroke-linejoin": "round",
            "stroke-linecap": "butt",
        }
    )
    for tag, text in (("desc", description), ("title", title)):
        element = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(0, element)
    inline = _text(root)
    root.attrib.update({"width": width, "height": height})
    sheet = ET.Element(f"{{{SVG}}}style")
    sheet.text = f"@media (prefers-color-scheme:dark){{{palette.dark_rules()}}}"
    back = ET.Element(
        f"{{{SVG}}}rect",
        {"width": "100%", "height": "100%", "fill": palette.SURFACE.light, "class": f"f-{palette.class_name(palette.SURFACE.light)}"},
    )
    root.insert(2, sheet)
    root.insert(3, back)
    return inline, '<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root) + "\n"


def _referenced(root: ET.Element) -> set[str]:
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == f"{{{XLINK}}}href" and value.startswith("#"):
                used.add(value[1:])
            used.update(_REFERENCE.findall(value))
    return used


def _restyle(element: ET.Element) -> None:
    """Turns the style attribute into presentation attributes, and gives known colours their class."""
    style = element.attrib.pop("style", "")
    for part in style.split(";"):
        key, _, value = part.partition(":")
        if key.strip() and key.strip() != "font-family":
            element.set(key.strip(), value.strip())
    classes = []
    for key, prefix in (("fill", "f"), ("stroke", "s")):
        value = element.get(key, "").lower()
        if value in palette.KNOWN:
            classes.append(f"{prefix}-{palette.class_name(value)}")
    if element.tag == f"{{{SVG}}}text" and "fill" not in element.attrib:
        element.set("fill", "#000000")
    if classes:
        element.set("class", " ".join(classes))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "d" in element.attrib:
        element.set("d", " ".join(_NUMBER.sub(lambda match: f"{float(match[0]):.2f}", element.attrib["d"]).split()))


def _rename(element: ET.Element, name: str, used: set[str]) -> None:
    identifier = element.attrib.pop("id", None)
    if identifier in used:
        element.set("id", f"{name}-{identifier}")
    for key, value in list(element.attrib.items()):
        if key == f"{{{XLINK}}}href":
            element.set(key, f"#{name}-{value[1:]}" if value.startswith("#") else "".join(value.split()))
        elif "url(#" in value:
            element.set(key, _REFERENCE.sub(lambda match: f"url(#{name}-{match[1]})", value))


def _text(root: ET.Element) -> str:
    for element in root.iter():
        if element.tag != f"{{{SVG}}}text" and element.text and not element.text.strip():
            element.text = None
        if element.tail and not element.tail.strip():
            element.tail = None
    return ET.tostring(root, encoding="unicode")
