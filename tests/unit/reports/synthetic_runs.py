"""Writes the run folders of an evaluation that never happened: five providers, every verdict word, real small pictures, seeded samples.

Loaded by file path from the conftest files here and in tests/browser (tests are no package).
"""

from __future__ import annotations

import base64
import functools
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from testcard.harness.redaction import KEY_PLACEHOLDER
from testcard.harness.runs import samples
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import (
    SAMPLE_COLUMNS,
    CheckedTarget,
    ClauseRef,
    Exchange,
    SeenResponse,
    SentRequest,
    SpecGap,
    Spend,
    TargetRecord,
    Verdict,
    Verdicts,
)
from testcard.harness.statistics.summary import StageFacts, summarise

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><style>body{display:none}</style>"
HOSTILE_MODEL = '<b onmouseover="alert(1)">flux|`x`</b>'
SLO = ["p95<8s", "error_rate<1%"]
WARMUP_S = 3.0
ROUND_S = 10.0
ROUNDS = 6
STARTED_RULES = {
    "auth.required": ("must", "A request without a key is refused with 401 or 403."),
    "http.no-server-error": ("must", "No request is answered with a 5xx status."),
    "http.status-documented": ("must", "Every status is one that the document lists."),
    "schema.response": ("must", "A response body fits its documented schema."),
    "request.accepts-valid": ("must", "A request inside the documented domain is accepted."),
    "request.refuses-invalid": ("should", "A request that breaks the schema is refused with a 4xx."),
    "image.count": ("must", "As many pictures come back as were asked for."),
    "image.decodes": ("must", "Every picture decodes completely."),
    "image.size": ("must", "The decoded picture has the size that was asked for."),
    "image.format": ("must", "The decoded picture has the format that was asked for."),
    "delivery.exclusive": ("must", "Each item holds exactly one of url and b64_json."),
    "seed.repeatable": ("should", "The same seed with the same parameters gives the same pixels."),
}


@dataclass(frozen=True)
class Maker:
    """What one synthetic provider is like."""

    id: str
    name: str
    document: str
    operations: tuple[str, ...]
    model: str
    median_s: float
    spread: float
    price_usd: float | None
    fails: float = 0.004
    saturated: bool = False
    words: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # (rule, operation) → (verdict, detail)

    @property
    def words_only(self) -> bool:
        return self.id == "nvidia-nim-vision"


MAKERS = (
    Maker(
        "nanogpt",
        "NanoGPT",
        "003_document.txt",
        ("createImage",),
        "hidream",
        0.62,
        0.22,
        0.010,
        words={
            ("image.size", "createImage"): ("fail", "512x512 was asked for; the picture decodes to 256x256"),
            ("seed.repeatable", "createImage"): ("unproven", "the pair needed for this could not be compared"),
        },
    ),
    Maker(
        "nebul",
        "Nebul",
        "002_document.txt",
        ("createImage", "createImageEdit", "createImageVariation"),
        "black-forest-labs/FLUX.1-Kontext-dev",
        0.95,
        0.35,
        0.0022,
        words={
            ("seed.repeatable", "createImage"): ("deviates", "two answers to seed 42 differ in 61 % of their pixels"),
            ("image.format", "createImage"): ("fail", "png was asked for and declared; the bytes are JPEG"),
            ("request.refuses-invalid", "createImage"): ("deviates", "n = -1 was accepted with 200 (and 3 more cases)"),
            ("image.count", "createImageVariation"): ("not-run", "the budget was spent before this rule's turn"),
        },
    ),
    Maker(
        "nvidia-nim-image",
        "NVIDIA NIM image",
        "000_document.txt",
        ("generateImage",),
        "black-forest-labs/flux.1-schnell",
        0.38,
        0.18,
        0.0035,
        words={
            ("image.count", "generateImage"): ("unsupported", "the contract has no count"),
            ("delivery.exclusive", "generateImage"): ("unsupported", "pictures come as base64 only"),
            ("seed.repeatable", "generateImage"): ("info", "the seed is echoed as a string"),
        },
    ),
    Maker(
        "nvidia-nim-vision",
        "NVIDIA NIM vision",
        "001_document.txt",
        ("createVisionChatCompletion",),
        "meta/llama-3.2-90b-vision-instruct",
        1.40,
        0.30,
        None,
        words={
            ("schema.response", "createVisionChatCompletion"): ("waived", "usage is missing; waived until the vendor answers the ticket"),
        },
    ),
    Maker(
        "opengpu-relay",
        "OpenGPU Network Relay",
        "004_document.txt",
        ("generateQwen", "generateFlux", "generateGptImage", "getTask"),
        HOSTILE_MODEL,
        2.60,
        0.55,
        None,
        fails=0.035,
        saturated=True,
        words={
            ("http.no-server-error", "generateFlux"): ("fail", f"500 with the body {HOSTILE}"),
            ("http.no-server-error", "generateGptImage"): ("fail", "502 on a prompt of 4,000 characters"),
            ("schema.response", "generateQwen"): ("fail", "/urls is missing"),
            ("auth.required", "getTask"): ("unsupported", "polling needs no key"),
        },
    ),
)


@functools.cache
def picture(seed: int, size: tuple[int, int] = (256, 256), kind: str = "PNG") -> bytes:
    """A small test card, different for each seed, as PNG, JPEG or WebP bytes."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(v) for v in random.integers(30, 90, 3)))
    draw = ImageDraw.Draw(image)
    width, height = size
    for index in range(8):
        colour = tuple(int(v) for v in random.integers(40, 255, 3))
        draw.rectangle((index * width // 8, height // 5, (index + 1) * width // 8, 3 * height // 4), fill=colour)
    draw.ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), outline="white", width=3)
    noise = Image.fromarray(random.integers(0, 255, (height // 8, width, 3), dtype=np.uint8))
    image.paste(noise, (0, height - height // 8))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_evaluation(
    folder: Path, *, requests: int = 450, seed: int = 7, makers: tuple[Maker, ...] = MAKERS, mock: bool = True
) -> list[RunReader]:
    """The check folders and the bench folder under `folder`, sealed, as readers; about `requests` samples a provider."""
    folders = [_write_check(folder / f"check-{maker.id}", maker, seed + index, mock) for index, maker in enumerate(makers)]
    folders.append(_write_bench(folder / "bench", makers, requests, seed, mock))
    return [RunReader(path) for path in folders]


def _target(maker: Maker, mock: bool) -> TargetRecord:
    return TargetRecord(
        provider=maker.id,
        name=maker.name,
        base_url=f"http://127.0.0.1:8080/{maker.id}" if mock else f"https://{maker.id}.example",
        mock=mock,
        models=[maker.model],
        spec_digest="5b" * 32,
        profile_digest="c4" * 32,
        prices="illustrative" if mock else "none",
    )


def _write_check(folder: Path, maker: Maker, seed: int, mock: bool) -> Path:
    target = _target(maker, mock)
    writer = RunWriter.create(folder, "check", targets=[target], seed=seed, config={"seed": seed, "max_images": 40})
    ids: dict[tuple[str, str], list[str]] = {}
    number = 0
    for operation in maker.operations:
        for rule in STARTED_RULES:
            number += 1
            exchange = _exchange(writer, maker, operation, rule, f"x{number:04d}", number)
            ids[rule, operation] = [exchange.id]
            writer.append(exchange)
    verdicts = [_verdict(maker, rule, operation, ids[rule, operation]) for operation in maker.operations for rule in STARTED_RULES]
    words = {verdict.verdict for verdict in verdicts}
    outcome = "fail" if "fail" in words else "inconclusive" if words & {"unproven", "not-run"} else "pass"
    writer.write(
        "verdicts",
        "verdicts.json",
        Verdicts(
            provider=maker.id,
            target=CheckedTarget(base_url=target.base_url, mock=mock),
            outcome=outcome,  # type: ignore[arg-type]
            spend=Spend(requests=number, billed_requests=number - 2, images=number - 3, cost_usd=None),
            verdicts=verdicts,
            spec_gaps=[SpecGap(operation=maker.operations[0], detail="401 is sent and not documented")],
        ),
    )
    writer.finish(outcome, {"pass": 0, "fail": 1, "inconclusive": 5}[outcome])  # type: ignore[arg-type]
    return folder


def _verdict(maker: Maker, rule: str, operation: str, exchanges: list[str]) -> Verdict:
    level, title = STARTED_RULES[rule]
    word, detail = maker.words.get((rule, operation), ("pass", "held in 3 exchanges"))
    if maker.words_only and rule.startswith(("image.", "delivery.", "seed.")) and (rule, operation) not in maker.words:
        word, detail = "unsupported", "this operation delivers no pictures"
    return Verdict(
        rule=rule,
        operation=operation,
        level=level,  # type: ignore[arg-type]
        verdict=word,  # type: ignore[arg-type]
        detail=detail,
        clause=ClauseRef(document=maker.document, heading="Request body"),
        exchanges=[] if word == "not-run" else exchanges,
        place="/properties/size" if word == "fail" and rule == "image.size" else None,
        title=title,
    )


def _exchange(writer: RunWriter, maker: Maker, operation: str, rule: str, name: str, number: int) -> Exchange:
    word, _ = maker.words.get((rule, operation), ("pass", ""))
    asked: dict[str, Any] = {
        "task": "describe" if maker.words_only else "generate",
        "prompt": "a red boat's mast",
        "size": [512, 512],
        "n": 1,
    }
    body = json.dumps({"prompt": "a red boat's mast", "model": maker.model, "size": "512x512", "n": 1}).encode()
    status, answer, images = 200, b"", 0
    if rule == "auth.required":
        status, answer = 401, b'{"error": 401, "message": "no key"}'
    elif rule == "http.no-server-error" and word == "fail":
        status, answer = 500, f"<html><body>{HOSTILE}</body></html>".encode()
    elif rule == "request.refuses-invalid" and word == "pass":
        status, answer = 400, b'{"error": 400, "message": "n is out of range"}'
    elif maker.words_only:
        answer = b'{"choices": [{"message": {"role": "assistant", "content": "a red boat"}}]}'
    else:
        size = (256, 256) if rule == "image.size" and word == "fail" else (512, 512)
        kind = "JPEG" if rule == "image.format" and word == "fail" else "PNG"
        data = base64.b64encode(picture(number * 31 + len(maker.id), size, kind)).decode()
        shape: dict[str, Any] = {"created": 1_790_000_000, "data": [{"b64_json": data}]}
        if maker.id == "nvidia-nim-image":
            shape = {"artifacts": [{"base64": data, "finishReason": "SUCCESS", "seed": 42}]}
        if maker.id == "opengpu-relay":
            shape = {"images": [data]}
        answer, images = json.dumps(shape).encode(), 1
    headers = [("host", "127.0.0.1:8080"), ("content-type", "application/json"), ("authorization", f"Bearer {KEY_PLACEHOLDER}")]
    if rule == "auth.required":
        headers.pop()
    return Exchange(
        id=name,
        operation=operation,
        probe=f"{operation}/{rule}",
        source="schema-case" if rule.startswith("request.") else "probe",
        model=maker.model,
        billed=status == 200,
        asked=asked,
        request=SentRequest(method="POST", url=f"{_target(maker, True).base_url}/v1/{operation}", headers=headers, body=writer.body(body)),
        response=SeenResponse(status=status, headers=[("content-type", "application/json")], body=writer.body(answer)),
        sent_s=number * 0.25,
        first_byte_s=number * 0.25 + 0.1,
        done_s=number * 0.25 + 0.2,
        images=images,
    )


def _write_bench(folder: Path, makers: tuple[Maker, ...], requests: int, seed: int, mock: bool) -> Path:
    writer = RunWriter.create(folder, "bench", targets=[_target(maker, mock) for maker in makers], seed=seed, config={"workload": "quick"})
    random = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {name: [] for name in SAMPLE_COLUMNS}
    for index, maker in enumerate(makers):
        part = _samples(random, maker, index, len(makers), requests)
        for name in SAMPLE_COLUMNS:
            columns[name] += part[name]
    table = pa.table({name: pa.array(columns[name], type=samples.schema().field(name).type) for name in SAMPLE_COLUMNS})
    pq.write_table(table, writer.add_file("samples", "samples.parquet"))
    workload = {"name": "quick", "task": "generate", "size": "512x512", "arrival": "poisson", "duration_s": ROUND_S, "rounds": ROUNDS}
    facts = {"steady": StageFacts(duration_s=ROUNDS * ROUND_S - WARMUP_S, send_lag_p99_s=0.002, cpu_percent=31.0)}
    summary = summarise(table.to_pandas(), objectives=SLO, facts=facts, workload=workload)
    writer.write("summary", "summary.json", summary)
    words = {row.outcome for row in summary.rows}
    outcome = "fail" if "fail" in words else "inconclusive" if "inconclusive" in words else "pass"
    writer.finish(outcome, {"pass": 0, "fail": 1, "inconclusive": 5}[outcome])  # type: ignore[arg-type]
    return folder


def _samples(random: np.random.Generator, maker: Maker, index: int, makers: int, requests: int) -> dict[str, list[Any]]:
    """One provider's samples: interleaved rounds, warm-up at the start of the first, latencies log-normal with a slow tail."""
    part: dict[str, list[Any]] = {name: [] for name in SAMPLE_COLUMNS}
    for turn in range(ROUNDS):
        start = (turn * makers + index) * (ROUND_S + 2)
        count = requests // ROUNDS
        scheduled = np.sort(random.uniform(start, start + ROUND_S, count))
        service = maker.median_s * np.exp(random.normal(0, maker.spread, count)) * np.where(random.random(count) < 0.02, 2.5, 1)
        lag = np.where(maker.saturated, (scheduled - start) * 0.2, 0.001) * random.uniform(0.5, 1, count)
        draws = random.random(count)
        for at, took, late, draw in zip(scheduled, service, lag, draws, strict=True):
            outcome, status = "ok", 200
            if draw < maker.fails:
                outcome, status = [("rate-limited", 429), ("server-error", 500), ("timeout", 0)][int(draw * 1e6) % 3]
            done = at + late + (30.0 if outcome == "timeout" else took)
            good = outcome == "ok"
            images = int(good and not maker.words_only)
            values = {
                "provider": maker.id,
                "model": maker.model,
                "operation": maker.operations[0],
                "round": turn,
                "stage": "steady",
                "scheduled_s": at,
                "sent_s": at + late,
                "first_byte_s": done - 0.02 if outcome != "timeout" else None,
                "last_byte_s": done if outcome != "timeout" else None,
                "done_s": done,
                "status": status or None,
                "outcome": outcome,
                "bytes": 180_000 if good else 120,
                "images": images,
                "megapixels": 0.262144 * images,
                "tokens": 80 if good and maker.words_only else 0,
                "cost_usd": maker.price_usd if good else (0.0 if maker.price_usd is not None else None),
                "warmup": bool(at - start < WARMUP_S and turn == 0),
                "queue_s": None,
                "download_s": None,
                "first_token_s": None,
                "target": index,
                "worker": 0,
                "lag_s": min(late, 0.002),
                "connect_s": 0.0004,
            }
            for name in SAMPLE_COLUMNS:
                part[name].append(values.get(name))
    return part
