"""Feeds damaged documents, profiles, configurations and run folders to what reads them: `python tests/crash/fuzz_parsers.py [N] [SEED]`.

For a night rather than for every change. Each round replaces one value of a bundled document or profile, or changes bytes of a file,
and reads it. Anything but an answer or an error for its user (`TestcardError`) is printed with what led to it; exits 1 where there was any.
"""

from __future__ import annotations

import copy
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from testcard.harness.config import load_config, load_waivers
from testcard.harness.errors import TestcardError
from testcard.harness.runs.folder import RunReader
from testcard.harness.statistics.samples import read
from testcard.specs.lint import lint
from testcard.specs.loader import BUNDLED, bundled_ids, load_with_document

RUNS = Path(__file__).parents[1] / "fixtures" / "runs_of_1d4f303"
VALUES: tuple[Any, ...] = (
    "x", None, 5, -1, True, 1e400, int("9" * 300), "9" * 300, [], [None], [[]], ["x"], {}, {"a": 1}, {"$ref": 5}, {"$ref": "#"}, {"$ref": "#/x/y"},
)  # fmt: skip
PIECES = (b"\xff", b"\0", b"[" * 3000, b"{a=" * 2000, b"9" * 5000, b'"', b"\n", b"&a *a ", b"<<: ", b"!!bool x", b"1e999", b"\\ud800")
TOML = '[check]\nmax_requests = 5\n[[target]]\nprovider = "nanogpt"\nbase_url = "http://127.0.0.1:9"\n[[waiver]]\nrule = "a.b"\n'
#: A round that takes longer has not come to its end by any measure.
SLOW_S = 60.0


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value below the root."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(data: Any, draw: random.Random) -> tuple[Any, str]:
    """The data with one value replaced, and which by what."""
    path, value = draw.choice([*places(data)]), draw.choice(VALUES)
    whole = copy.deepcopy(data)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return whole, f"{'.'.join(map(str, path))} = {str(value)[:30]}"


def changed(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to three of them changed, cut out or put in."""
    for _ in range(draw.randint(1, 3)):
        begin = draw.randrange(len(data) + 1)
        end = min(len(data), begin + draw.choice((0, 0, 1, 40)))
        data = data[:begin] + draw.choice((b"", bytes([draw.randrange(256)]), draw.choice(PIECES))) + data[end:]
    return data


def a_provider(folder: Path, draw: random.Random) -> tuple[str, Callable[[], object]]:
    """A bundled provider with one of its two files damaged."""
    ours = BUNDLED / draw.choice(bundled_ids())
    for name in ("openapi.yaml", "profile.yaml"):
        shutil.copy(ours / name, folder / name)
    target = folder / draw.choice(("openapi.yaml", "profile.yaml"))
    if draw.random() < 0.3:
        target.write_bytes(changed(target.read_bytes(), draw))
        what = "bytes"
    else:
        data, what = replaced(yaml.safe_load(target.read_bytes()), draw)
        target.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")

    def read_it() -> None:
        lint(folder)
        load_with_document(folder)

    return f"{ours.name} {target.name}: {what}", read_it


def a_configuration(folder: Path, draw: random.Random) -> tuple[str, Callable[[], object]]:
    """A testcard.toml, or waivers, with some bytes changed."""
    file = folder / "x.toml"
    file.write_bytes(changed(TOML.encode(), draw))
    reader = draw.choice((load_config, load_waivers))
    return f"{reader.__name__}: {file.read_bytes()[:200]!r}", lambda: reader(file)


def a_run(folder: Path, draw: random.Random) -> tuple[str, Callable[[], object]]:
    """A run folder with one of its files damaged."""
    kind = draw.choice(("check", "bench"))
    shutil.copytree(RUNS / kind, folder / kind)
    file = draw.choice(sorted(one for one in (folder / kind).rglob("*") if one.is_file()))
    file.write_bytes(changed(file.read_bytes(), draw))

    def read_it() -> None:
        run = RunReader(folder / kind)
        run.verdicts()
        run.summary()
        for one in run.exchanges():
            run.bytes_of(one.request.body)
        if run.run.kind == "bench":
            read(run)

    return f"{kind}/{file.name}", read_it


def main(rounds: int, seed: int) -> int:
    """How many rounds fell over; 1 where any did."""
    draw = random.Random(seed)
    bad = 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            what, read_it = draw.choice((a_provider, a_configuration, a_run))(Path(folder), draw)
            began = time.monotonic()
            try:
                read_it()
            except TestcardError:
                pass
            except Exception as error:  # noqa: BLE001 (that is what is looked for)
                bad += 1
                print(f"{number}: {what}: {type(error).__name__}: {str(error)[:200]}", flush=True)
            if time.monotonic() - began > SLOW_S:
                bad += 1
                print(f"{number}: {what}: took {time.monotonic() - began:.0f} s", flush=True)
    print(f"{rounds} rounds with seed {seed}, {bad} fell over")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
