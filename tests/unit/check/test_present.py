"""What a person reads: the table, the findings with a command that runs, nothing that a stranger's bytes could do to a terminal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from testcard.harness.check import present
from testcard.harness.check.verdicts import Judged
from testcard.harness.runs.records import Body, ClauseRef, Exchange, SentRequest, SpecGap, Spend, Verdict

TRICKY = """it's "quoted" $HOME `id` \\ ! 𝔘 مرحبا"""


def exchange(body: Body, *, method: str = "POST", url: str = "http://t/v1/x?a=b&c=$d") -> Exchange:
    headers = [("content-type", "application/json"), ("authorization", "Bearer $TESTCARD_API_KEY"), ("x-odd", TRICKY)]
    request = SentRequest(method=method, url=url, headers=headers, body=body)
    return Exchange(id="e1", operation="o", probe="p", source="probe", request=request, sent_s=0, done_s=1)


def arguments(command: str, key: str = "sk-$(touch /never) `x`") -> list[str]:
    """What curl would be called with."""
    script = "curl() { printf '%s\\0' \"$@\"; }\n" + command
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={**os.environ, "TESTCARD_API_KEY": key}, timeout=20)
    return done.stdout.decode().split("\0")[:-1]


def test_a_curl_says_what_was_sent_and_expands_only_the_key() -> None:
    """Quotes, dollars and backticks arrive as they were sent; $TESTCARD_API_KEY alone is taken from the environment."""
    text = json.dumps({"prompt": TRICKY})
    found = arguments(present.curl(exchange(Body(size=len(text.encode()), text=text))))
    assert found == [
        "-sS",
        "-i",
        "http://t/v1/x?a=b&c=$d",
        "-H",
        "content-type: application/json",
        "-H",
        "authorization: Bearer sk-$(touch /never) `x`",
        "-H",
        f"x-odd: {TRICKY}",
        "--data-binary",
        text,
    ]


@pytest.mark.parametrize(
    "body",
    [
        Body(size=9000, sha256="ab" * 32),
        Body(size=3, base64="AP8B"),
        Body(size=6, text="@/etc/"),
        Body(size=3, text="a\r\n"),
        Body(size=1, text="\x1b"),
    ],
)
def test_a_body_that_is_long_or_no_text_comes_from_a_file(body: Body) -> None:
    """Large, binary and @-leading bodies, and those of several lines, are read from the file that holds them."""
    assert arguments(present.curl(exchange(body), lambda found: "/run/bodies/x y"))[-2:] == ["--data-binary", "@/run/bodies/x y"]


def test_an_empty_post_stays_a_post() -> None:
    """Without a body the method has to be said; a GET needs nothing."""
    empty, full = Body(size=0, text=""), Body(size=2, text="{}")

    def shown(body: Body, method: str) -> list[str]:
        return arguments(present.curl(exchange(body, method=method)))

    assert shown(empty, "POST")[2:4] == ["-X", "POST"]
    assert shown(empty, "POST")[-1] == "content-length: 0"
    assert "-X" not in shown(empty, "GET")
    assert "-X" not in shown(full, "POST")
    assert shown(full, "GET")[2:4] == ["-X", "GET"]
    assert shown(empty, "DELETE")[2:4] == ["-X", "DELETE"]
    assert "--head" in shown(empty, "HEAD")


def test_nothing_is_added_or_tidied_on_the_way() -> None:
    """A body without a content type stays without one, an empty header is sent, brackets and dots in a URL stay as they are."""
    odd = exchange(Body(size=2, text="{}"), url="http://t/v1/../{x}[1]")
    bare = msgspec.structs.replace(odd, request=msgspec.structs.replace(odd.request, headers=[("x-empty", "")]))
    assert arguments(present.curl(bare)) == [
        "-sS", "-i", "--globoff", "--path-as-is", "http://t/v1/../{x}[1]", "-H", "x-empty;", "-H", "content-type:", "--data-binary", "{}",
    ]  # fmt: skip


def verdict(word: str, detail: str = "seen", rule: str = "image.size") -> Verdict:
    return Verdict(
        rule=rule,
        operation="createImage",
        level="must",
        verdict=word,  # type: ignore[arg-type]
        detail=detail,
        clause=ClauseRef(document="doc.txt", heading="Size"),
        exchanges=["e1"],
        title="A picture has the size.",
    )


def test_findings_say_promise_and_sight() -> None:
    """A finding names rule, clause, what was seen, the exchange and a command; passes are not repeated."""
    judged = Judged((verdict("fail", "512x512 was asked for"), verdict("pass")), (), ())
    lines = list(present.findings(judged, {"e1": exchange(Body(size=2, text="{}"))}))
    assert "✗ image.size · createImage · must" in lines
    assert "            doc.txt · Size" in lines
    assert "  seen      512x512 was asked for" in lines
    assert any(line.startswith("  again     curl") for line in lines)
    assert sum("image.size" in line for line in lines) == 1


def test_a_strangers_bytes_stay_text() -> None:
    """Escape sequences and newlines from a server's message reach no terminal, and half surrogates do not stop the printing."""
    judged = Judged(
        (verdict("fail", "\x1b[31mred\x1b[0m\nsecond line\x07\ud800"),), (SpecGap(operation="o", detail="\x1b]0;title\x07"),), ()
    )
    text = "\n".join([*present.table(judged), *present.findings(judged, {}), *present.gaps(judged)])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "second line" in text
    assert text.encode()


def test_the_summary_counts_and_prices() -> None:
    """One line: outcome, verdicts by word, spend; no price is said as such and illustrative prices are named."""
    judged = Judged((verdict("pass"), verdict("fail"), verdict("pass")), (), ())
    assert (
        present.summary(judged, Spend(requests=5, billed_requests=3, images=4, cost_usd=None), "none")
        == "FAIL: 2 pass, 1 fail; 5 requests, 3 billed, 4 images, no price"
    )
    assert "$0.0400 (illustrative prices)" in present.summary(judged, Spend(cost_usd=0.04), "illustrative")


def test_every_word_has_a_glyph() -> None:
    """No verdict is printed without its mark."""
    words = ("pass", "fail", "deviates", "info", "unsupported", "unproven", "not-run", "waived")
    assert len({present.GLYPHS[word] for word in words}) == len(words)


def test_run_folder_names_are_quoted(tmp_path: Path) -> None:
    """A folder with spaces and quotes does not break the command."""
    name = str(tmp_path / "it's here" / "body")
    assert arguments(present.curl(exchange(Body(size=9000, sha256="ab" * 32)), lambda body: name))[-1] == "@" + name
