"""Facts about the pictures that checks received (`report --facts`): measured, with what each can and cannot say, and never a rank of beauty."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from itertools import combinations, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.extras import missing, require, requirement
from testcard.harness.intake.pictures import may_decode, open_picture
from testcard.harness.text.words import NONE, clean, significant
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.exhibits import Panel, Table
from testcard.reports.content.pictures import delivered_by

#: So many pictures of an operation are looked at.
MOST = 24
#: The square in the middle that a spectrum is taken of, and the smallest that says anything.
_SPECTRUM_PX, _LEAST_PX = 1024, 32
#: Perceptual hashes of 64 bits that differ in so few are near-duplicates.
NEAR_BITS = 4
#: What C2PA manifests stand in: JUMBF boxes, in a chunk of their own (PNG, WebP) or an APP11 segment (JPEG).
_C2PA = (b"jumb", b"c2pa")
_GENERATED = b"trainedAlgorithmicMedia"

#: Words that a prompt puts between quotation marks are to be in the picture.
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{1,60})[\"”“»]")

Grey = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Of one picture. `fine`: share of the spectrum above half Nyquist; `blocks`: steps at an 8-pixel grid against those elsewhere;
    `identity`: its perceptual hash; `provenance`: what its bytes say of where it comes from, unverified; `legible`: the share of the
    letters that its prompt asked for which an OCR read in it (None: none were asked for, or there is no OCR)."""

    fine: float | None
    blocks: float | None
    identity: Any
    digest: int
    provenance: tuple[str, ...]
    legible: float | None = None


def facts_panel(evidence: Evidence) -> Panel:
    """A line for each operation that delivered pictures. `UsageError` where the extra is not installed."""
    require(("facts",), "report --facts")
    body = []
    for party in evidence.parties:
        for operation, pictures in _pictures(party).items():
            found = [facts for prompt, data in pictures if (facts := facts_of(data, asked_text(prompt))) is not None]
            if found:
                body.append((party.label, clean(operation), *_cells(found), f"{len(found):,}"))
    said = (
        "Measured on what came, medians with the range. Fine detail is the share of the spectrum above half of what the pixels could hold: far "
        "below that of other pictures of its size it hints at upscaling, or at flat artwork. Block steps compare jumps at an 8-pixel grid with "
        "those elsewhere: clearly above 1 it hints at strong JPEG compression, at whatever stage, or at drawings made of 8-pixel squares. Near-duplicates are pairs of different files "
        f"whose perceptual hashes differ in at most {NEAR_BITS} of 64 bits; the same seed or a narrow prompt can rightly give them. What bytes say "
        "of their origin was read, not verified, and its absence says nothing. Text as asked is the share of the letters that a prompt puts "
        f"between quotation marks which an OCR read in the picture{_without_ocr()}; what it does not read, as ornament or handwriting, a person may. "
        "None of this says which picture is better."
    )
    header = ("target", "operation", "fine detail", "block steps", "near-duplicates", "text as asked", "says of its origin", "n")
    return Panel("facts", "Facts about pictures", said, Table(header, tuple(body)))


def _without_ocr() -> str:
    return f" (not measured: pip install '{requirement(('ocr',))}')" if missing(("ocr",)) else ""


def _pictures(party: Party) -> dict[str, list[tuple[str, bytes]]]:
    """By operation: pictures, each with the prompt that asked for it."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for exchange in party.exchanges.values():
        if exchange.images and exchange.source in ("probe", "schema-case"):
            kept = found.setdefault(exchange.operation, [])
            prompt = exchange.asked.get("prompt")
            delivered = ((str(prompt or ""), data) for data in delivered_by(party, exchange) if data is not None)
            kept += islice(delivered, MOST - len(kept))
    return found


def facts_of(data: bytes, text: str = "") -> PictureFacts | None:
    """What can be measured of one picture that was to show this text; None where it does not decode, or is larger than what is ever decoded."""
    import imagehash

    try:
        with open_picture(data) as picture:
            if not may_decode(picture, data):
                return None
            tags = tuple(sorted(_provenance(picture, data)))
            grey = picture.convert("L")
            legible = _legible(picture.convert("RGB"), text) if text and not missing(("ocr",)) else None
        pixels = np.asarray(grey, dtype=np.float64)
        return PictureFacts(fine_share(pixels), block_steps(pixels), imagehash.phash(grey), hash(data), tags, legible)
    except Exception:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes; all of it means "does not decode")
        return None


def asked_text(prompt: str) -> str:
    """What a prompt puts between quotation marks, which is to be written in the picture; "" for none."""
    return " ".join(found.strip() for found in _QUOTED.findall(prompt))


def share_read(text: str, read: str) -> float:
    """The share of the letters and digits of `text` that stand in what was read, in their order, wherever it begins (0 to 1)."""
    wanted, there = (re.sub(r"[\W_]+", "", one.casefold()) for one in (text, read))
    if not wanted:
        return 0.0
    windows = (there[at : at + len(wanted)] for at in range(max(1, len(there) - len(wanted) + 1)))
    # Without junk and short cuts: every letter counts alike.
    return max(
        sum(one.size for one in SequenceMatcher(None, wanted, window, autojunk=False).get_matching_blocks()) for window in windows
    ) / len(wanted)


def _legible(picture: Any, text: str) -> float:
    found, _ = _ocr()(np.asarray(picture))
    return share_read(text, " ".join(str(line[1]) for line in found or ())[:2_000])


@cache
def _ocr() -> Any:
    """The OCR with the models that it brings; made once, which takes seconds."""
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()


def fine_share(pixels: Grey) -> float | None:
    """The share of the power spectrum above half Nyquist, the mean left out, of the square in the middle under a Hann window."""
    edge = min(*pixels.shape, _SPECTRUM_PX)
    if edge < _LEAST_PX:
        return None
    top, left = ((size - edge) // 2 for size in pixels.shape)
    square = pixels[top : top + edge, left : left + edge]
    window = np.hanning(edge)
    power = np.abs(np.fft.rfft2((square - square.mean()) * window[:, None] * window[None, :])) ** 2
    frequency = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)[None, :])
    # Columns but the first (and the last of an even edge) stand for two: the spectrum of real values is symmetric.
    weight = np.full(power.shape[1], 2.0)
    weight[0] = 1.0
    if edge % 2 == 0:
        weight[-1] = 1.0
    power *= weight[None, :]
    whole = float(power.sum())
    return float(power[frequency > 0.25].sum()) / whole if whole > 0.0 else None


def block_steps(pixels: Grey) -> float | None:
    """The mean jump between neighbours across an 8-pixel grid, over the mean jump elsewhere; None for what has none."""
    at, elsewhere = [], []
    for steps in (np.abs(np.diff(pixels, axis=1)).mean(axis=0), np.abs(np.diff(pixels, axis=0)).mean(axis=1)):
        grid = (np.arange(len(steps)) + 1) % 8 == 0
        at += steps[grid].tolist()
        elsewhere += steps[~grid].tolist()
    usual = float(np.mean(elsewhere)) if elsewhere else 0.0
    return float(np.mean(at)) / usual if at and usual > 0.0 else None


def _provenance(picture: Any, data: bytes) -> set[str]:
    found = set()
    if all(mark in data for mark in _C2PA):
        found.add("C2PA manifest")
    if _GENERATED in data:
        found.add("IPTC: made by a trained model")
    exif = picture.getexif()
    software = exif.get(0x0131) if exif else None
    if software:
        found.add(f"EXIF software {clean(str(software))[:40]}")
    elif exif:
        found.add("EXIF")
    return found


def _cells(found: Sequence[PictureFacts]) -> tuple[str, str, str, str, str]:
    pairs = list(combinations(found, 2))
    near = sum(one.digest != other.digest and one.identity - other.identity <= NEAR_BITS for one, other in pairs)
    origins = sorted({tag for facts in found for tag in facts.provenance})
    said = ", ".join(f"{tag} ({sum(tag in facts.provenance for facts in found)})" for tag in origins)
    return (
        _spread(found, lambda facts: facts.fine),
        _spread(found, lambda facts: facts.blocks),
        f"{near:,} of {len(pairs):,} pairs" if pairs else NONE,
        _spread(found, lambda facts: facts.legible),
        said or "nothing",
    )


def _spread(found: Sequence[PictureFacts], read: Callable[[PictureFacts], float | None]) -> str:
    values = sorted(value for facts in found if (value := read(facts)) is not None)
    if not values:
        return NONE
    middle = significant(float(np.median(values)))
    ends = significant(values[0]), significant(values[-1])
    return middle if set(ends) == {middle} else f"{middle} [{ends[0]}–{ends[1]}]"
