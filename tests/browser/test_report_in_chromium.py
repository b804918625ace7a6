"""report.html in a real browser, from file://, with the network off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.reports.pages.page import SECTIONS

Opened = tuple[Any, list[str], list[str]]


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    """The page at desktop width, the requests it made and what it said on the console."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, offline=True)
    page = context.new_page()
    requests: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.goto(page_file.as_uri())
    yield page, requests, said
    context.close()


def test_it_opens_offline_without_a_request_or_a_console_message(opened: Opened, page_file: Path) -> None:
    """Nothing is fetched besides the file, and no policy violation or script error is reported."""
    page, requests, said = opened
    page.wait_for_load_state("load")
    page.mouse.wheel(0, 20_000)
    assert requests == [page_file.as_uri()]
    assert said == []


def test_hostile_markup_does_nothing(opened: Opened) -> None:
    """Script, handlers and styles in an error body and a model's name are text: the title and the page are as they should be."""
    page, _, said = opened
    assert page.title().startswith("FAIL: 5 image APIs compared")
    assert page.locator("main script, main style, main img:not([src^='data:'])").count() == 0
    assert page.locator("article.finding").get_by_text("document.title='owned'").first.is_visible()
    assert said == []


def test_the_policy_stops_script_that_gets_in_anyway(opened: Opened) -> None:
    """Were something to slip through the escaping, the policy would not run it."""
    page, _, said = opened
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\"><p style=\"color:red\" id=inserted>x</p>')"
    )
    page.evaluate("const s = document.createElement('script'); s.textContent = 'document.title = 2'; document.body.append(s)")
    page.wait_for_timeout(100)
    assert page.title().startswith("FAIL")
    assert page.evaluate("getComputedStyle(document.getElementById('inserted')).color") != "rgb(255, 0, 0)"
    assert len([line for line in said if "Content Security Policy" in line]) >= 3


def test_sections_are_there_in_order(opened: Opened) -> None:
    """The headings of all sections that have something to say, from verdict to provenance."""
    page, _, _ = opened
    assert page.locator("main h2").all_text_contents() == [name for anchor, name in SECTIONS if anchor != "baseline"]


def _column(page: Any, place: int) -> list[str]:
    texts: list[str] = page.eval_on_selector_all(
        "#comparison-table tbody tr", f"rows => rows.map(row => row.cells[{place}].dataset.sort ?? row.cells[{place}].textContent.trim())"
    )
    return texts


def test_comparison_sorts_by_click(opened: Opened) -> None:
    """Up, then down, with unknown values last both times; the header says which."""
    page, _, _ = opened
    head = page.locator("#comparison-table thead th").nth(2)
    head.get_by_role("button").click()
    known = [float(text) for text in _column(page, 2) if text]
    assert len(known) == 5
    assert known == sorted(known)
    assert _column(page, 2)[5:] == [""] * 5
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert [float(text) for text in _column(page, 2) if text] == sorted(known, reverse=True)
    assert _column(page, 2)[5:] == [""] * 5
    assert head.get_attribute("aria-sort") == "descending"


def test_comparison_sorts_by_keyboard(opened: Opened) -> None:
    """Tab to a header, press Enter; focus stays there."""
    page, _, _ = opened
    page.locator("#comparison-table thead th button").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shares = [float(text) for text in _column(page, 1) if text]
    assert shares == sorted(shares)
    assert page.evaluate("document.activeElement.textContent") == "Musts passed"


def test_matrix_cells_lead_to_evidence_that_is_shown(opened: Opened) -> None:
    """Every link goes to an element of the page; following one to the folded register unfolds it."""
    page, _, _ = opened
    links = page.eval_on_selector_all("a.cell", "links => links.map(link => link.getAttribute('href'))")
    assert len(links) == 60
    assert page.evaluate("links => links.filter(link => !document.querySelector(link))", links) == []
    passing = next(link for link in links if link.startswith("#e-"))
    assert not page.locator(passing).is_visible()
    page.locator("#all-rules").check()
    page.locator(f"a.cell[href='{passing}']").first.click()
    page.locator(passing).wait_for(state="visible")
    assert page.locator(passing).is_visible()
    failing = next(link for link in links if link.startswith("#f-"))
    page.locator(f"a.cell[href='{failing}']").first.click()
    assert page.locator(failing).is_visible()


def test_copy_button_selects_the_command(opened: Opened) -> None:
    """One press takes the whole curl command."""
    page, _, _ = opened
    finding = page.locator("article.finding").first
    finding.get_by_text("See it again").click()
    finding.get_by_role("button").first.click()
    assert page.evaluate("getSelection().toString()").startswith("curl -sS -i http://")


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_width_scrolls_the_page_sideways(browser: Any, page_file: Path, width: int) -> None:
    """Wide tables scroll in their own frames, from a phone to a desk; the verdict is on the first screen."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    box = page.locator(".verdict").bounding_box()
    assert box["y"] + 40 < 900
    assert page.locator(".ribbon").is_visible()
    page.mouse.wheel(0, 3000)
    page.wait_for_timeout(50)
    assert page.locator(".ribbon").bounding_box()["y"] == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_390_pixels_nothing_is_cut_off(browser: Any, page_file: Path, scheme: str) -> None:
    """Tables are cards whose cells name themselves, figures have their labels under them: no frame scrolls, no text leaves its own."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    wide = page.eval_on_selector_all(".scroll", "frames => frames.filter(f => f.scrollWidth > f.clientWidth + 1).map(f => f.ariaLabel)")
    assert wide == []
    assert page.locator("svg.figure").first.is_hidden()
    outside = page.eval_on_selector_all(
        "svg.small-figure text, .cards *, #gates *",
        "all => all.filter(e => { const b = e.getBoundingClientRect(); return b.width && (b.left < -1 || b.right > 391); }).map(e => e.textContent)",
    )
    assert outside == []
    assert (
        page.locator("#gates td[data-label=observed]").first.evaluate("cell => getComputedStyle(cell, '::before').content") == '"observed"'
    )
    context.close()


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


_TEXTS = """() => [...document.querySelectorAll('main *, header *, nav *, .ribbon, svg text')].filter(element =>
  [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) && element.getClientRects().length).map(element => {
  const own = getComputedStyle(element);
  let ground = element;
  while (ground && getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
  return [element.textContent.trim().slice(0, 40), element instanceof SVGElement ? own.fill : own.color,
    ground ? getComputedStyle(ground).backgroundColor : 'rgb(255, 255, 255)'];
})"""


@pytest.mark.parametrize(("width", "cells"), [(390, {2}), (1400, set())])
def test_an_operation_without_a_measurement_is_no_list_of_dashes(browser: Any, page_file: Path, width: int, cells: set[int]) -> None:
    """On a telephone it shows its musts alone; as a row of the table it has a dash in each column."""
    context = browser.new_context(viewport={"width": width, "height": 844}, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('.unfold').forEach(box => box.checked = true)")
    shown = page.evaluate(
        "[...document.querySelectorAll('#comparison-table tr.unmeasured')]"
        ".map(row => [...row.children].filter(cell => getComputedStyle(cell).display !== 'none').length)"
    )
    context.close()
    assert shown
    assert set(shown) == cells if cells else min(shown) > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(browser: Any, page_file: Path, scheme: str) -> None:
    """At least 4.5 : 1 (WCAG 2 AA) in both schemes, in tables and in figures; only the squares of a legend are colour alone."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => { element.open = true })")
    assert (_luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.05) == (scheme == "dark")
    poor = []
    for text, colour, ground in page.evaluate(_TEXTS):
        bright, dim = sorted((_luminance(colour), _luminance(ground)), reverse=True)
        if (bright + 0.05) / (dim + 0.05) < 4.5 and text != "■":
            poor.append((text, colour, ground))
    assert poor == []
    context.close()


def test_dark_figures_are_drawn_in_light_ink(browser: Any, page_file: Path) -> None:
    """Markers, which are drawn through <use>, follow the scheme as lines and texts do."""
    fills: dict[str, set[str]] = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(offline=True, color_scheme=scheme)
        page = context.new_page()
        page.goto(page_file.as_uri())
        fills[scheme] = set(page.eval_on_selector_all("svg.figure use", "uses => uses.map(use => getComputedStyle(use).stroke)"))
        context.close()
    assert fills["light"]
    assert "rgb(27, 33, 40)" in fills["light"]
    assert "rgb(27, 33, 40)" not in fills["dark"]


def test_it_is_readable_without_javascript(browser: Any, page_file: Path) -> None:
    """Every section's text, tables and figures are there; only sorting and copying are not."""
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("main h2").count() == len(SECTIONS) - 1  # there is no baseline
    assert page.locator("svg.figure").count() == 9
    assert page.locator("main button").count() == 0
    assert page.locator(".verdict").inner_text().startswith("FAIL")
    context.close()


def test_it_prints_to_a_sane_number_of_pages(opened: Opened) -> None:
    """A PDF of 6 to 25 pages, light whatever the screen is, no table wider than the paper."""
    page, _, _ = opened
    page.emulate_media(color_scheme="dark", media="print")
    assert _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins
    wide = page.eval_on_selector_all(".scroll", "frames => frames.filter(f => f.scrollWidth > f.clientWidth + 1).map(f => f.ariaLabel)")
    assert wide == []
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 6 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 25


def test_figure_files_stand_alone(browser: Any, page_file: Path) -> None:
    """Each SVG opens by itself, fills its frame, and follows the colour scheme."""
    context = browser.new_context(offline=True, color_scheme="dark")
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    files = sorted((page_file.parent / "figures").glob("*.svg"))
    assert len(files) == 9
    for path in files:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.getBBox().width") >= 690
        assert _luminance(page.evaluate("getComputedStyle(document.querySelector('rect')).fill")) < 0.05
    assert said == []
    context.close()


def test_other_volumes_follow_the_number_that_is_typed(opened: Opened) -> None:
    """The column of the reader's own volume is each row's cost of one image times the number, to three digits; nonsense gives a dash."""
    page, _, said = opened
    field = page.locator("#volume input")
    assert field.is_visible()
    mine = page.locator("#volumes td.yours[data-each]")
    assert mine.count() >= 2
    for images, shown in ((2_000, lambda each: 2_000 * each), (0, lambda each: 0.0)):
        field.fill(str(images))
        assert page.locator("#volumes th.yours").text_content() == f"{images:,} a month"
        for place in range(mine.count()):
            text = mine.nth(place).evaluate("cell => cell.firstChild.textContent").replace(",", "")
            assert float(text) == pytest.approx(shown(float(mine.nth(place).get_attribute("data-each"))), rel=0.006)
    field.fill("")
    assert float(mine.first.evaluate("cell => cell.firstChild.textContent")) == 0.0
    field.fill("-5")
    assert mine.first.text_content() == "–"
    assert said == []


def test_other_volumes_can_be_read_without_script(browser: Any, page_file: Path) -> None:
    """Without JavaScript the four volumes stand there, and no empty field or column does."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("#volumes tbody tr").first.is_visible()
    assert not page.locator("#volume").is_visible()
    assert page.locator("#volumes .yours:visible").count() == 0
    context.close()
