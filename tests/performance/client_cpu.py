"""CPU of the client for one call beside bare httpx and the openai package: `python tests/performance/client_cpu.py`.

All three get the same bodies from one bare server in a process of its own, in turns; each ends with the picture's bytes in hand (bare httpx: the
JSON read and the base64 decoded, nothing checked). Prints microseconds of CPU a call of this process, the median of the rounds, and ours over
theirs (the marks: at most 1.1 of httpx from 1024 px up, 1.2 below; less than openai). Not collected by pytest: quote ratios.
"""

from __future__ import annotations

import argparse
import base64
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
from mock_cpu import BARE, PATH, process

from testcard.harness.client import Client
from testcard.mocks.running import running_mock

ASKED = {"prompt": "a red boat on a calm lake", "model": "black-forest-labs/FLUX.1-Kontext-dev"}


def cpu_us(call: Callable[[], object], calls: int) -> float:
    """Microseconds of CPU of this process for one call."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls * 1e6


def main() -> None:
    """Prints one line for each size of picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, running_mock("nebul") as mock:
        for size in ("256x256", "1024x1024", "2048x2048"):
            asked = {**ASKED, "size": size}
            body = httpx.post(mock.base_url + PATH, json=asked, headers={"Authorization": "Bearer testcard"}).content
            (Path(place) / "body.json").write_bytes(body)
            (Path(place) / "server.py").write_text(BARE)
            with process([sys.executable, f"{place}/server.py", f"{place}/body.json", PATH]) as (_, url):
                bare = httpx.Client(headers={"Authorization": "Bearer testcard"})
                ours = Client("nebul", base_url=url, api_key="testcard")
                theirs = openai.OpenAI(base_url=f"{url}/v1", api_key="testcard", max_retries=0)

                def with_httpx(asked: dict[str, str] = asked, url: str = url, bare: httpx.Client = bare) -> bytes:
                    found = bare.post(url + PATH, json=asked).json()
                    return base64.b64decode(found["data"][0]["b64_json"])

                def with_ours(size: str = size, ours: Client = ours) -> bytes:
                    width, _, height = size.partition("x")
                    return ours.generate(ASKED["prompt"], model=ASKED["model"], size=(int(width), int(height))).pictures[0].data

                def with_openai(size: str = size, theirs: openai.OpenAI = theirs) -> bytes:
                    found = theirs.images.generate(prompt=ASKED["prompt"], model=ASKED["model"], size=size)  # type: ignore[call-overload]
                    return base64.b64decode(found.data[0].b64_json)

                ways = {"httpx": with_httpx, "ours": with_ours, "openai": with_openai}
                costs: dict[str, list[float]] = {name: [] for name in ways}
                for way in ways.values():
                    cpu_us(way, 20)
                for _ in range(options.rounds):
                    for name, way in ways.items():
                        costs[name].append(cpu_us(way, options.calls))
            middle = {name: statistics.median(some) for name, some in costs.items()}
            ratio = {
                name: statistics.median(a / b for a, b in zip(costs["ours"], costs[name], strict=True)) for name in ("httpx", "openai")
            }
            said = ", ".join(f"{name} {value:.0f} µs" for name, value in middle.items())
            print(f"{size}, {len(body)} bytes: {said}; ours is {ratio['httpx']:.2f} of httpx, {ratio['openai']:.2f} of openai", flush=True)


if __name__ == "__main__":
    main()
