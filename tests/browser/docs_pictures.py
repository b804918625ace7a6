"""Run by hand: makes the pictures under docs/ anew, from runs of today's code.

    .venv/bin/python tests/browser/docs_pictures.py [mixed] [evaluate] [--keep FOLDER]

`mixed` loads and checks four mocks that were spoilt on purpose (a slow, an expensive, a faulty and a saturating one) and cuts docs/mixed-*.png
out of their report; `evaluate` makes docs/report.png from the report of `testcard evaluate`. Both by default; about three minutes on a
machine with nothing else to do. Chromium is found as in the tests of this folder. `--keep` leaves the runs there, to look at.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND = [sys.executable, "-m", "testcard.harness.cli"]
MARGIN = 12
#: Provider → how its mock is spoilt.
MOCKS = {
    "nanogpt": ("--latency", "lognormal:1.1,0.35"),
    "nebul": ("--latency", "lognormal:0.16,0.2"),
    "opengpu-relay": (
        "--latency", "lognormal:0.25,0.3", "--fault", "image.size@0.083", "--fault", "http.no-server-error/on-valid@0.05",
    ),
    "nvidia-nim-image": ("--latency", "lognormal:0.08,0.2", "--rate-limit", "14/s"),
}  # fmt: skip
CONFIG = """
[check]
max_requests = 150

[prices.nebul.models]
"*" = { kind = "per-image", usd_each = 0.08 }

"""
WORKLOAD = """
task = "auto"
arrival = "poisson"
warmup_s = 0.5
rounds = 8
decode = 0.2
slo = ["p95<1.5s", "error_rate<2%"]
[timeouts]
connect_s = 5
first_byte_s = 30
whole_s = 30
"""
#: Picture → what is cut out of the report.
CUTS = {
    "comparison": "#comparison",
    "matrix": "#conformance",
    "latency": "#figure-latency-ecdf",
    "load": "#figure-latency-against-rate",
    "errors": "#figure-outcomes",
    "limits": "#panel-limits",
    "cost": "#figure-cost-against-latency",
    "volumes": "#panel-volumes",
}


@contextmanager
def mock(provider: str, options: tuple[str, ...]) -> Iterator[str]:
    """The address of a mock that was started with these options."""
    command = [*COMMAND, "mock", provider, *options, "--port", "0", "--json", "--until-stdin-closes"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["base_urls"][provider]
    finally:
        process.stdin.close()
        process.wait(timeout=20)


def evaluated(folder: Path, *options: str) -> Path:
    """The report of an evaluation; its exit code says what it found, which is not asked here."""
    environment = {**os.environ, "TESTCARD_PROGRESS": "none", "TESTCARD_API_KEY": "testcard"}
    subprocess.run([*COMMAND, "evaluate", "--out", str(folder), *options], env=environment, check=False)
    return folder / "report" / "report.html"


def mixed(folder: Path) -> Path:
    """The report of the four spoilt mocks at three rates."""
    folder.mkdir(parents=True)
    stages = "".join(f"[[stage]]\nrate_rps = {rate}\nduration_s = 12\n" for rate in (4, 12, 24))
    (folder / "mixed.toml").write_text(WORKLOAD + stages, encoding="utf-8")
    with ExitStack() as stack:
        targets = [
            f'[[target]]\nprovider = "{name}"\nbase_url = "{stack.enter_context(mock(name, options))}"\n' for name, options in MOCKS.items()
        ]
        (folder / "testcard.toml").write_text(CONFIG + "\n".join(targets), encoding="utf-8")
        return evaluated(folder / "run", "--config", str(folder / "testcard.toml"), "--workload", str(folder / "mixed.toml"))


def saved(picture: bytes, name: str) -> None:
    """Writes a picture with few colours, which is what screenshots of a page need."""
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
    path = DOCS / f"{name}.png"
    image.save(path, optimize=True)
    print(f"{path.name}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


def cut(page: Any, selector: str) -> bytes:
    """The element with a margin around it."""
    box = page.locator(selector).first.bounding_box()
    top = page.evaluate("scrollY")
    clip = {
        "x": max(box["x"] - MARGIN, 0), "y": max(box["y"] + top - MARGIN, 0), "width": box["width"] + 2 * MARGIN,
        "height": box["height"] + 2 * MARGIN,
    }  # fmt: skip
    return bytes(page.screenshot(full_page=True, clip=clip))


def shoot(browser: Any, report: Path, wanted: str) -> None:
    """The pictures of one report."""
    page = browser.new_page(viewport={"width": 1280, "height": 772 if wanted == "mixed" else 1000})
    page.goto(report.as_uri())
    page.wait_for_timeout(300)
    saved(page.screenshot(), "mixed-verdict" if wanted == "mixed" else "report")
    if wanted != "mixed":
        return
    page.evaluate("document.querySelector('.ribbon').style.position = 'static'")
    finding = page.locator("article.finding:has(img)").first
    finding.evaluate("node => { for (let at = node; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true; }")
    saved(cut(page, "article.finding:has(img)"), "mixed-finding")
    page.evaluate("document.querySelectorAll('figure.plot details').forEach(each => { each.hidden = true; })")
    for name, selector in CUTS.items():
        saved(cut(page, selector), f"mixed-{name}")


def main() -> None:
    """Makes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wanted", nargs="*", choices=["mixed", "evaluate", []], default=[])
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = asked.keep or Path(place)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox", "--disable-gpu"]
        )
        for wanted in asked.wanted or ("mixed", "evaluate"):
            report = mixed(folder / "mixed") if wanted == "mixed" else evaluated(folder / "evaluate")
            shoot(browser, report, wanted)
        browser.close()


if __name__ == "__main__":
    main()
