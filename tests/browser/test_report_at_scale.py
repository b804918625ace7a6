"""A hundred rules at twenty targets: still a page to read, to filter, to hear and to print."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import CheckedTarget, ClauseRef, Spend, TargetRecord, Verdict, Verdicts
from testcard.reports.pages.render import write_report

AREAS = ("answer", "async", "auth", "delivery", "http", "image", "request", "seed", "stream", "vision")
RULES = [f"{area}.promise-{number}" for area in AREAS for number in range(10)]
TARGETS = 20


def _check(folder: Path, place: int) -> RunReader:
    """A check with a hundred verdicts, of which a few differ from pass, others at each target."""
    target = TargetRecord(provider=f"service-{place}", name=f"Image service {place}", base_url="http://127.0.0.1:1", mock=False)
    writer = RunWriter.create(folder / f"check-{place}", "check", targets=[target], seed=0)
    verdicts = []
    for number, rule in enumerate(RULES):
        word = (
            "fail"
            if (number, place % 5) in {(3, 0), (51, 1)}
            else "deviates"
            if (number == 60 and place % 3 == 0) or (number == 70 and place % 5 == 2)
            else "pass"
        )
        level = "should" if number in (60, 70) else "must"
        verdicts.append(
            Verdict(
                rule=rule,
                operation="createImage",
                level=level,  # type: ignore[arg-type]
                verdict=word,  # type: ignore[arg-type]
                detail="seen otherwise" if word != "pass" else "held in 3 exchanges",
                clause=ClauseRef(document="003_document.txt", heading="Request body"),
                exchanges=[],
                title="A sentence that says what is promised, about as long as these sentences are in the rule set.",
            )
        )
    outcome = "fail" if any(verdict.verdict == "fail" for verdict in verdicts) else "pass"
    record = Verdicts(
        provider=target.provider,
        target=CheckedTarget(base_url=target.base_url, mock=False),
        outcome=outcome,  # type: ignore[arg-type]
        spend=Spend(requests=300),
        verdicts=verdicts,
    )
    writer.write("verdicts", "verdicts.json", record)
    writer.finish(outcome, 1 if outcome == "fail" else 0)  # type: ignore[arg-type]
    return RunReader(writer.folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of 20 targets that were judged by 100 rules each."""
    folder = tmp_path_factory.mktemp("large")
    return write_report([_check(folder, place) for place in range(TARGETS)], folder / "report")


@pytest.fixture(scope="module")
def three_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same page with three columns in the place of twenty: every kind of element, a seventh of their number."""
    folder = tmp_path_factory.mktemp("three")
    return write_report([_check(folder, place) for place in range(3)], folder / "report")


def _open(browser: Any, path: Path, **settings: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, **settings)
    page = context.new_page()
    page.goto(path.as_uri())
    return page


@pytest.fixture
def page(browser: Any, large: Path) -> Iterator[Any]:
    """The large report at 1280 pixels."""
    opened = _open(browser, large)
    yield opened
    opened.context.close()


def test_the_matrix_shows_what_needs_a_look(page: Any) -> None:
    """Of 100 rules four are open, the rest is folded into ten families that say how many passed; nothing is higher than two screens."""
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 4
    assert page.locator("#matrix tr.area").first.locator("td").nth(1).inner_text().replace("\n", "").endswith("10/10")
    assert page.locator("#conformance").bounding_box()["height"] < 2600
    assert page.locator("#verdict").bounding_box()["height"] < 1600
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_a_family_unfolds_by_keyboard(page: Any) -> None:
    """Space on its box shows its rules, again hides them; one box shows all."""
    box = page.get_by_label("show 10 rules").first
    box.focus()
    page.keyboard.press("Space")
    shown = page.locator("#matrix tbody tr:visible").count()
    assert shown > len(AREAS) + 4 + 7
    page.keyboard.press("Space")
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 4
    page.get_by_label("Show all 100 rules").check()
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 100


def test_folding_needs_no_javascript(browser: Any, large: Path) -> None:
    """The boxes work by style alone; filters, which cannot, are not shown."""
    page = _open(browser, large, java_script_enabled=False)
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 4
    page.get_by_label("Show all 100 rules").check()
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 100
    assert page.locator(".filter:visible").count() == 0
    page.context.close()


def test_head_and_names_stay_in_sight(page: Any) -> None:
    """Scrolled to its far corner, the matrix still shows whose column and which rule's row a cell is in."""
    page.get_by_label("Show all 100 rules").check()
    page.eval_on_selector(".scroll.tall", "frame => { frame.scrollIntoView(); frame.scrollTop = 2000; frame.scrollLeft = 600; }")
    frame = page.locator(".scroll.tall").bounding_box()
    head = page.locator("#matrix thead th").last.bounding_box()
    assert abs(head["y"] - frame["y"]) < 2
    name = page.locator("#matrix tbody tr:not(.area) th").last.bounding_box()
    assert abs(name["x"] - frame["x"]) < 2


def test_matrix_filters_by_word_and_verdict(page: Any) -> None:
    """Words of a rule's name or sentence, a verdict, or both; how many are left is said aloud."""
    box = page.locator("#matrix-filter")
    box.get_by_label("Words").fill("seed promise-7")
    assert page.locator("#matrix tbody tr:not(.area):visible th").all_inner_texts()[0].startswith("seed.promise-7")
    assert box.locator("output").inner_text() == "1 of 100 rules"
    box.get_by_label("Words").fill("")
    box.get_by_label("Verdict").select_option("fail")
    assert box.locator("output").inner_text() == "2 of 100 rules"
    assert page.locator("#matrix tbody tr:visible").count() == 4
    box.get_by_label("Verdict").select_option("any")
    assert page.locator("#matrix tbody tr:visible").count() == len(AREAS) + 4


def test_findings_filter_and_a_link_brings_one_back(page: Any) -> None:
    """By target, verdict and words; a matrix cell whose finding is filtered away shows it again."""
    box = page.locator("#findings-filter")
    total = page.locator("article.finding").count()
    assert total == 4 + 4 + 7 + 4
    box.get_by_label("Target").select_option("Image service 6")
    assert page.locator("article.finding:visible").count() == 2
    assert box.locator("output").inner_text() == f"2 of {total} findings"
    cell = page.locator("a.cell.w-fail").first
    link = cell.get_attribute("href")
    assert not page.locator(link).is_visible()
    cell.click()
    page.locator(link).wait_for(state="visible")


def test_long_lists_of_findings_are_folded_by_rule(page: Any) -> None:
    """The first ten findings are open; each further rule is a line with its count until it is opened."""
    groups = page.locator("#findings details.group")
    assert groups.count() == 4
    assert [groups.nth(place).get_attribute("open") is not None for place in range(4)] == [True, True, True, False]
    assert "4 findings at Image service 12" in groups.last.locator("summary").inner_text()


def test_it_prints_without_a_wall(page: Any) -> None:
    """Families and open rules go on paper, the folded ones do not: at most 20 pages, and no table wider than A4."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})
    wide = page.eval_on_selector_all(".scroll", "frames => frames.filter(f => f.scrollWidth > f.clientWidth + 1).map(f => f.ariaLabel)")
    assert wide == []
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) <= 20


CONTRAST = "color-contrast"


@pytest.mark.parametrize(
    ("which", "scheme", "options"),
    [
        ("large", "light", {"rules": {CONTRAST: {"enabled": False}}}),  # it looks at each of 30,000 elements: a minute
        ("three_targets", "light", {"runOnly": [CONTRAST]}),
        ("three_targets", "dark", {"runOnly": [CONTRAST]}),
        ("page_file", "light", {}),
        ("page_file", "dark", {"runOnly": [CONTRAST]}),
    ],
    ids=["large", "contrast-light", "contrast-dark", "page-light", "page-dark"],
)
def test_axe_finds_nothing_serious(browser: Any, request: pytest.FixtureRequest, which: str, scheme: str, options: dict[str, Any]) -> None:
    """axe-core, with everything unfolded: no violation of serious or critical impact; contrast, which alone depends on it, in either scheme."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(request.getfixturevalue(which).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate("document.querySelectorAll('.unfold').forEach(each => { each.checked = true })")
    response = Axe().run(page, options={**options, "resultTypes": ["violations"]}).response
    serious = [
        (violation["id"], violation["help"], len(violation["nodes"]), violation["nodes"][0]["html"][:200])
        for violation in response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    print([(violation["id"], violation["impact"]) for violation in response["violations"]], file=sys.stderr)
    assert [rule["id"] for rule in response["passes"]] == [CONTRAST] if "runOnly" in options else len(response["passes"]) > 20  # it did run
    assert serious == []
    context.close()
