"""Thumbnails: the pictures that an exchange's record points to, and no other; runs of before are searched."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testcard.harness.intake.limits import IntakeLimits, changed, limits, use_limits
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import (
    CheckedTarget,
    Exchange,
    PlacedPicture,
    SeenResponse,
    SentRequest,
    Spend,
    TargetRecord,
    Verdicts,
)
from testcard.reports.content import pictures
from testcard.reports.content.evidence import Party, gather
from testcard.reports.content.pictures import Thumb, strips, thumbnails


class Recorded:
    """A check with one answer."""

    def __init__(self, folder: Path) -> None:
        target = TargetRecord(provider="nebul", name="Nebul", base_url="http://127.0.0.1:1", mock=False)
        self.writer = RunWriter.create(folder / "run", "check", targets=[target], seed=0)
        checked = CheckedTarget(base_url=target.base_url, mock=False)
        self.writer.write(
            "verdicts", "verdicts.json", Verdicts(provider="nebul", target=checked, outcome="pass", spend=Spend(), verdicts=[])
        )

    def answer(self, content: bytes, pictures: list[PlacedPicture] | None, **more: Any) -> None:
        """Appends an exchange with this answer."""
        media = more.pop("media", "application/json")
        exchange = Exchange(
            id=more.pop("id", "e1"),
            operation="createImage",
            probe="p",
            source=more.pop("source", "probe"),
            request=SentRequest(method="POST", url="http://127.0.0.1:1/v1", headers=[], body=self.writer.body(b"{}")),
            response=SeenResponse(status=200, headers=[("content-type", media)], body=self.writer.body(content)),
            sent_s=1.0,
            done_s=1.5,
            images=1,
            pictures=pictures,
            **more,
        )
        self.writer.append(exchange)

    @property
    def party(self) -> Party:
        """The target as reports see it."""
        self.writer.finish("pass", 0)
        (only,) = gather([RunReader(self.writer.folder)]).parties
        return only

    def thumbs(self) -> list[Thumb]:
        """What is shown of the first exchange."""
        party = self.party
        return thumbnails(party, party.exchanges["e1"])


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@pytest.fixture
def two(synthetic: ModuleType) -> tuple[bytes, bytes]:
    """Two pictures of different sizes."""
    return synthetic.picture(1, (32, 32)), synthetic.picture(2, (48, 32))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_picture_is_read_from_where_the_record_says(recorded: Recorded, two: tuple[bytes, bytes]) -> None:
    """Of two pictures in a body the one that is pointed to is shown; the other is a preview, say, and nobody asked for it."""
    body = json.dumps({"preview": text(two[0]), "data": [{"a/b": text(two[1])}]}).encode()
    recorded.answer(body, [PlacedPicture(place="/data/0/a~1b", spelling="base64")])
    (thumb,) = recorded.thumbs()
    assert (thumb.width_px, thumb.height_px, thumb.size_bytes) == (48, 32, len(two[1]))


@pytest.mark.parametrize(
    "spelt",
    [
        lambda data: "data:image/png;base64," + text(data),
        lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
        lambda data: "\n".join(text(data)[at : at + 60] for at in range(0, len(text(data)), 60)),
    ],
    ids=["data URL", "URL-safe, no padding", "lines"],
)
def test_base64_is_read_as_servers_send_it(recorded: Recorded, two: tuple[bytes, bytes], spelt: Any) -> None:
    """Data URLs, the URL alphabet, missing padding, line breaks: the picture is shown; that it is spelt so is a rule's to judge."""
    recorded.answer(
        json.dumps({"data": [{"b64_json": spelt(two[0])}]}).encode(), [PlacedPicture(place="/data/0/b64_json", spelling="base64")]
    )
    (thumb,) = recorded.thumbs()
    assert (thumb.width_px, thumb.problem) == (32, None)


def test_what_is_no_picture_is_shown_as_such(recorded: Recorded) -> None:
    """Where a picture is recorded and none is there, the place of its thumbnail says why."""
    body = json.dumps({"data": [{"b64_json": "§§§§"}, {"b64_json": text(b"no picture at all")}]}).encode()
    recorded.answer(body, [PlacedPicture(place=f"/data/{at}/b64_json", spelling="base64") for at in (0, 1, 7)])
    first, second = recorded.thumbs()
    assert (first.uri, first.problem) == (None, "not base64")
    assert second.uri is None
    assert second.problem


def test_a_fetched_picture_is_shown_for_the_exchange_that_named_it(recorded: Recorded, two: tuple[bytes, bytes]) -> None:
    """An address is no picture; the exchange that fetched it holds the bytes, whatever their media type says."""
    recorded.answer(b'{"data": [{"url": "http://127.0.0.1:1/x"}]}', [PlacedPicture(place="/data/0/url", spelling="url")])
    placed = [PlacedPicture(place="", spelling="bytes")]
    recorded.answer(two[1], placed, id="e1.f1", source="fetch", parent="e1", media="application/octet-stream")
    (thumb,) = recorded.thumbs()
    assert (thumb.exchange, thumb.width_px) == ("e1.f1", 48)


def test_an_answer_that_records_no_picture_is_not_searched(recorded: Recorded, two: tuple[bytes, bytes]) -> None:
    """What echoes a picture of the request is no delivery."""
    recorded.answer(json.dumps({"echo": text(two[0])}).encode(), [])
    assert recorded.thumbs() == []


def test_runs_of_before_are_searched(recorded: Recorded, two: tuple[bytes, bytes]) -> None:
    """Exchanges that do not say where their pictures are show what reads like base64 of one."""
    body = json.dumps({"data": [{"b64_json": text(two[0]), "note": "x" * 200}]}).encode()
    recorded.answer(body, None)
    (thumb,) = recorded.thumbs()
    assert thumb.width_px == 32


def test_texts_that_are_no_base64_are_not_called_the_same_picture(recorded: Recorded) -> None:
    """Two answers without a picture share no bytes."""
    for name in ("e1", "e2"):
        recorded.answer(b'{"data": [{"b64_json": "???"}]}', [PlacedPicture(place="/data/0/b64_json", spelling="base64")], id=name)
    recorded.writer.finish("pass", 0)
    (strip,) = strips(gather([RunReader(recorded.writer.folder)]))
    assert (len(strip.thumbs), strip.same) == (2, [])


def test_of_large_bodies_no_more_are_looked_at_than_a_check_judges(
    recorded: Recorded, two: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of pictures of 60 MB would take minutes: what is left out is said, and the same body again costs nothing."""
    bodies = [json.dumps({"data": [{"b64_json": text(data)}], "filling": "x" * 5000}).encode() for data in two]
    place = [PlacedPicture(place="/data/0/b64_json", spelling="base64")]
    for name, body in (("e1", bodies[0]), ("e2", bodies[1]), ("e3", bodies[0])):
        recorded.answer(body, place, id=name)
    monkeypatch.setattr(pictures, "_LARGE_BYTES", 5000)
    monkeypatch.setattr(pictures, "limits", lambda: replace(limits(), judged_bytes=len(bodies[0])))
    party = recorded.party
    shown = [thumbnails(party, party.exchanges[name])[0] for name in ("e1", "e2", "e3")]
    assert [(one.exchange, one.width_px, one.problem) for one in shown] == [
        ("e1", 32, None), ("e2", None, "not shown: large, and after as much as is looked at"), ("e3", 32, None),
    ]  # fmt: skip


def test_of_large_pictures_only_some_are_decoded_and_equal_ones_once(
    recorded: Recorded, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine pictures of 39 megapixels took a page ten seconds: so many times the largest is decoded, small ones always, and the rest is said.

    What is too large to be decoded at all takes none of that.
    """
    place = [PlacedPicture(place="/data/0/b64_json", spelling="base64")]
    sizes = {"e0": (100, 90), "e1": (100, 60), "e2": (100, 61), "e3": (100, 60), "e4": (100, 62), "e5": (30, 30)}
    for name, size in sizes.items():
        data = synthetic.picture(size[1], size)
        recorded.answer(json.dumps({"data": [{"b64_json": text(data)}]}).encode(), place, id=name)
    monkeypatch.setattr(pictures, "_LARGE_AREA_PX", 5000)
    monkeypatch.setattr(pictures, "_MOST_LARGE", 2)
    opened: list[bytes] = []
    decode = pictures.open_picture
    monkeypatch.setattr(pictures, "open_picture", lambda data: opened.append(data) or decode(data))
    party = recorded.party
    use_limits(changed(limits(), {"pixels": 6200}))
    try:
        shown = [thumbnails(party, party.exchanges[name])[0] for name in sizes]
    finally:
        use_limits(IntakeLimits())
    assert [one.problem for one in shown] == [
        "too large to show", None, None, None, "not shown: large, and after as many as are decoded", None,
    ]  # fmt: skip
    assert [(one.width_px, one.height_px) for one in shown] == list(sizes.values())
    assert len(opened) == 5
