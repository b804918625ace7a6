"""Addresses of pictures are signed and expire."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from testcard.mocks.exchange import Answer
from testcard.mocks.store import PREFIX, PictureStore


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def fetch(files: PictureStore, address: str, **changes: str) -> Answer:
    parts = urlsplit(address)
    return files.fetch(parts.path.removeprefix(PREFIX), {**dict(parse_qsl(parts.query)), **changes})


def test_an_address_answers_until_it_expires() -> None:
    """A picture is there for its lifetime and refused with 403 afterwards."""
    clock = Clock()
    files = PictureStore(clock)
    address = files.publish(b"bytes", "jpeg", 3600)
    clock.now += 3599
    assert (fetch(files, address).status, fetch(files, address).data, fetch(files, address).media_type) == (200, b"bytes", "image/jpeg")
    clock.now += 2
    assert fetch(files, address).status == 403


def test_only_the_signed_address_answers() -> None:
    """Neither a longer life nor another name can be had by changing the address."""
    files = PictureStore(Clock())
    address = files.publish(b"bytes", "png", 10)
    other = files.publish(b"other", "png", 10)
    assert fetch(files, address, expires="9999999999").status == 403
    assert fetch(files, address, signature="").status == 403
    assert fetch(files, address, signature="é").status == 403
    assert files.fetch(urlsplit(other).path.removeprefix(PREFIX), dict(parse_qsl(urlsplit(address).query))).status == 403


def test_the_oldest_pictures_make_room() -> None:
    """Memory is bounded: the oldest pictures go first, and their addresses say 404."""
    files = PictureStore(Clock(), keep_bytes=25)
    addresses = [files.publish(bytes(10), "png", 10) for _ in range(3)]
    assert [fetch(files, address).status for address in addresses] == [404, 200, 200]
