"""report.html: valid, self-contained, escaped, with links that lead somewhere."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from testcard.reports.pages.page import SECTIONS

_VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Tree(HTMLParser):
    """Elements with their attributes, checked for balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.contents: list[str] = []  #: where the navigation leads, in order
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "a" and "nav" in self.open:
            self.contents.append(dict(attrs).get("href") or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tree(text: str) -> Tree:
    return Tree(text)


def test_elements_balance_and_ids_are_unique(tree: Tree) -> None:
    """Every element is closed in order and no id occurs twice."""
    assert tree.open == []
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_sections_stand_in_order(tree: Tree) -> None:
    """The sections that have something to say, each with its heading, and the contents name the same ones."""
    found = [attributes["id"] for attributes in tree.all("section")]
    assert found == [anchor for anchor, _ in SECTIONS if anchor != "baseline"]
    assert tree.contents == [f"#{anchor}" for anchor in found]


def test_every_link_leads_to_something_in_the_file(tree: Tree) -> None:
    """Links stay inside, references in figures too."""
    ids = {attributes["id"] for _, attributes in tree.elements if "id" in attributes}
    links = [attributes["href"] for attributes in tree.all("a")] + [attributes["xlink:href"] for attributes in tree.all("use")]
    assert links
    assert [link for link in links if not link.startswith("#") or link[1:] not in ids] == []
    uses = [match for _, attributes in tree.elements for value in attributes.values() for match in re.findall(r"url\(#([^)]+)\)", value)]
    assert uses
    assert set(uses) <= ids


def test_nothing_is_loaded_from_anywhere(tree: Tree) -> None:
    """No source or link but data: URIs."""
    loaded = [
        attributes.get("src") or attributes.get("xlink:href", "")
        for tag in ("img", "image", "script", "iframe")
        for attributes in tree.all(tag)
    ]
    loaded += [attributes["href"] for attributes in tree.all("link")]
    assert [source for source in loaded if source and not source.startswith("data:")] == []


def test_policy_allows_exactly_the_file_s_own_sheet_and_script(text: str, tree: Tree) -> None:
    """One style and one script element, whose hashes the policy names; no style attribute, no handler."""
    policy = next(attributes["content"] for attributes in tree.all("meta") if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        assert len(tree.all(kind)) == 1
        inner = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert inner is not None
        digest = base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert [
        attributes for _, attributes in tree.elements if "style" in attributes or any(name.startswith("on") for name in attributes)
    ] == []


def test_strangers_markup_stays_text(tree: Tree, synthetic: ModuleType) -> None:
    """An error body and a model's name that hold markup are shown, letter by letter, and make no element."""
    shown = "".join(tree.words)
    assert synthetic.HOSTILE in shown
    assert synthetic.HOSTILE_MODEL in shown
    assert not [attributes for attributes in tree.all("b") if attributes]


def test_every_matrix_cell_links_to_evidence_of_that_rule(tree: Tree, text: str) -> None:
    """A pass links to the register, a broken promise to its finding."""
    ids = {attributes["id"] for _, attributes in tree.elements if "id" in attributes}
    cells = [attributes for attributes in tree.all("a") if attributes.get("class", "").startswith("cell")]
    assert len(cells) == 12 * 5
    for cell in cells:
        broken = "w-fail" in cell["class"] or "w-deviates" in cell["class"]
        assert cell["href"].startswith("#f-" if broken else "#e-")
        assert cell["href"][1:] in ids


def test_tables_have_captions_and_scoped_heads(tree: Tree) -> None:
    """What a screen reader needs: a caption each, and a scope on every th."""
    assert len(tree.all("table")) == len(tree.all("caption"))
    assert all(attributes.get("scope") for attributes in tree.all("th"))
    assert all(attributes.get("alt") for attributes in tree.all("img"))
    figures = [attributes for attributes in tree.all("svg") if attributes.get("class") == "figure"]
    assert len(figures) == 9
    assert all(attributes["role"] == "img" for attributes in figures)


def test_headings_descend_by_one(tree: Tree) -> None:
    """No level of heading is left out."""
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_verdict_names_who_fails(tree: Tree) -> None:
    """One sentence says who broke what."""
    shown = " ".join(" ".join(tree.words).split())
    assert "NanoGPT and Nebul break 1 must each; OpenGPU Network Relay breaks 3 musts and misses error_rate<1%" in shown


def test_unknown_price_is_no_price(tree: Tree) -> None:
    """A target without a price says so; nothing costs 0."""
    shown = " ".join(" ".join(tree.words).split())
    assert "no price" in shown
    assert "illustrative price" in shown
    assert not re.search(r"\$0(?:\.0*)?(?![.\d]) (?:a megapixel|an image|for)|pictures cost[^.]*\$0(?![.\d])", shown)


def test_finding_shows_clause_curl_replay_and_picture(text: str) -> None:
    """What was promised and where, what was seen, and how to see it again."""
    start = text.index('id="f-nanogpt-')
    card = text[start : text.index("</article>", start)]
    assert "003_document.txt, “Request body”" in card
    assert "512x512 was asked for; the picture decodes to 256x256" in card
    assert "$TESTCARD_API_KEY" in card
    assert "testcard replay check-nanogpt " in card
    assert "testcard check nanogpt --rejudge check-nanogpt</pre>" in card
    assert "data:image/webp;base64," in card
    assert "<b>256 × 256 png</b>" in card
