"""Coverage-guided fuzzing of our own parsers, for a night: `python tests/crash/fuzz_with_atheris.py [MINUTES] [FOLDER]` (`make fuzz MINUTES=480`).

Needs atheris (`pip install atheris`; there are wheels for Linux) and says so where it is missing, with exit 2. The first byte of an input chooses
the parser, the rest is its file: testcard.toml, waivers, a workload, an objective, a document, a profile, run.json, exchanges.jsonl. Anything but an answer or an error for its user (`TestcardError`) ends it, with the input kept in FOLDER (`fuzz-found`) as `crash-…`;
`python tests/crash/fuzz_with_atheris.py FILE` runs one again. `fuzz_parsers.py` beside this changes whole bundled documents at random.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit(
        "atheris is not installed for this Python: pip install atheris (wheels are for Linux; elsewhere tests/crash/fuzz_parsers.py does without)"
    )

with atheris.instrument_imports(include=["testcard"]):
    from testcard.benchmarks.plan.workload import load_workload
    from testcard.harness.config import load_config, load_waivers
    from testcard.harness.errors import TestcardError
    from testcard.harness.runs.folder import RunReader
    from testcard.harness.statistics.slo import parse
    from testcard.specs.lint import lint
    from testcard.specs.loader import load_with_document

RUNS = Path(__file__).parents[1] / "fixtures" / "runs_of_1d4f303"
PLACE = Path(tempfile.mkdtemp())
#: An input that takes longer has not come to its end by any measure; and no file of a person's is so long.
SLOW_S, MOST_BYTES = 60, 4096

DOCUMENT = b"""openapi: 3.1.0
info: {title: t, version: "1"}
servers: [{url: "http://127.0.0.1:9/v1"}]
components: {securitySchemes: {k: {type: http, scheme: bearer}}, schemas: {R: {type: object, required: [prompt], properties: {prompt: {type: string}, n: {type: integer}}}}}
paths:
  /images/generations:
    post:
      operationId: create
      security: [{k: []}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/R"}}}}
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: object, properties: {data: {type: array, items: {type: object, properties: {b64_json: {type: string}}}}}}}}}
"""
PROFILE = b"""schema: testcard.profile/1
id: t
name: T
auth: {key_env: T_KEY}
models: [{id: m}]
operations: {create: {tasks: [generate]}}
"""
TOML = b'[check]\nmax_requests = 5\n[[target]]\nprovider = "nanogpt"\nbase_url = "http://127.0.0.1:9"\n'
WAIVERS = b'[[waiver]]\nrule = "image.size"\nprovider = "nanogpt"\nowner = "o"\nexpires = 2030-01-01\nreason = "r"\n'
WORKLOAD = b'task = "generate"\nsizes = ["64x64"]\nrounds = 2\nslo = ["p95<8s"]\n[[stage]]\nrate_rps = 2\nduration_s = 3\n'


def a_provider(name: str) -> Callable[[bytes], object]:
    """Reads a provider of which that one file is the input."""

    def read(data: bytes) -> None:
        (PLACE / "openapi.yaml").write_bytes(DOCUMENT)
        (PLACE / "profile.yaml").write_bytes(PROFILE)
        (PLACE / name).write_bytes(data)
        lint(PLACE)
        load_with_document(PLACE)

    return read


def a_file(reader: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Reads the input as a person's file."""

    def read(data: bytes) -> None:
        (PLACE / "x.toml").write_bytes(data)
        reader(PLACE / "x.toml")

    return read


def a_run(name: str) -> Callable[[bytes], object]:
    """Reads a check's folder of which that one file is the input."""

    def read(data: bytes) -> None:
        folder = PLACE / "check"
        if not folder.is_dir():
            shutil.copytree(RUNS / "check", folder)
        kept = (folder / name).read_bytes()
        try:
            (folder / name).write_bytes(data)
            run = RunReader(folder)
            run.verdicts()
            for one in run.exchanges():
                run.bytes_of(one.request.body)
        finally:
            (folder / name).write_bytes(kept)

    return read


PARSERS: tuple[tuple[Callable[[bytes], object], bytes], ...] = (
    (a_file(load_config), TOML + WAIVERS),
    (a_file(load_waivers), WAIVERS),
    (a_file(lambda path: load_workload(str(path))), WORKLOAD),
    (lambda data: parse(data.decode("utf-8", "replace")), b"service_p95<=900ms"),
    (a_provider("openapi.yaml"), DOCUMENT),
    (a_provider("profile.yaml"), PROFILE),
    (a_run("run.json"), (RUNS / "check" / "run.json").read_bytes()[:MOST_BYTES]),
    (a_run("exchanges.jsonl"), (RUNS / "check" / "exchanges.jsonl").read_bytes().partition(b"\n")[0] + b"\n"),
)


def once(data: bytes) -> None:
    """One input: an answer, or an error for its user."""
    if data:
        with suppress(TestcardError):
            PARSERS[data[0] % len(PARSERS)][0](data[1:])


def main(arguments: list[str]) -> None:
    """Fuzzes for so many minutes, or runs one input again; ends the process, with libFuzzer's exit code (0: nothing was found)."""
    if arguments and Path(arguments[0]).is_file():
        once(Path(arguments[0]).read_bytes())
        return
    minutes, found = float(arguments[0]) if arguments else 10.0, Path(arguments[1] if len(arguments) > 1 else "fuzz-found")
    found.mkdir(exist_ok=True)
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for number, (_, seed) in enumerate(PARSERS):
        once(bytes([number]) + seed)  # what is imported late is imported now
        (corpus / f"{number}").write_bytes(bytes([number]) + seed)
    limits = [f"-max_total_time={int(minutes * 60)}", f"-max_len={MOST_BYTES + 1}", f"-timeout={SLOW_S}", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={found}/", *limits], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
