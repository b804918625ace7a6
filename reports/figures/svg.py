"""Matplotlib's SVG made fit for a page with a strict Content-Security-Policy, for both colour schemes and for screen readers.

Style attributes become presentation attributes (a policy without unsafe-inline blocks the former), known colours get a class
that a dark stylesheet overrides, identifiers get the figure's name as a prefix, and the root a title and a description.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from testcard.reports.figures import palette

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")

ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


def tidy(source: str, name: str, title: str, description: str) -> tuple[str, str]:
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
            "class": "figure",
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
