"""multipart bodies, read back by a parser that is not ours."""

from __future__ import annotations

import email.parser
import email.policy
import io
from typing import Any

import python_multipart
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.wire.encode import encode_multipart, fetch_request, poll_request
from testcard.harness.wire.model import InputImage
from testcard.specs.loader import load_provider


def parsed(content_type: str, body: bytes) -> list[tuple[str, str | None, bytes]]:
    """(name, file name, content) of each part, by python-multipart."""
    found: list[tuple[str, str | None, bytes]] = []

    def on_field(field: Any) -> None:
        found.append((field.field_name.decode(), None, field.value or b""))

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        found.append((file.field_name.decode(), file.file_name.decode(), file.file_object.read()))

    headers = {"Content-Type": content_type.encode(), "Content-Length": str(len(body)).encode()}
    python_multipart.parse_form(headers, io.BytesIO(body), on_field, on_file)
    return found


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    files=st.lists(st.binary(max_size=200), max_size=4),
    n=st.integers(-5, 5),
)
def test_parts_round_trip(prompt: str, files: list[bytes], n: int) -> None:
    """Texts, numbers and repeated files come back in order, byte for byte, whatever they hold."""
    images = [InputImage(data, "image/png", f"{index}.png") for index, data in enumerate(files)]
    content_type, body = encode_multipart({"prompt": prompt, "image": images, "n": n, "left_out": None})
    expected = [
        ("prompt", None, prompt.encode()),
        *(("image", f"{i}.png", data) for i, data in enumerate(files)),
        ("n", None, str(n).encode()),
    ]
    assert sorted(parsed(content_type, body)) == sorted(expected)
    assert [part for part in parsed(content_type, body) if part[0] == "image"] == expected[1:-1]


def test_the_standard_library_reads_it_too() -> None:
    """The email parser sees the media type and the quoted names."""
    content_type, body = encode_multipart({"image": InputImage(b"\r\n--x\r\n", "image/webp", 'a "b".webp'), "yes": True})
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    image, yes = message.iter_parts()
    assert image.get_content_type() == "image/webp"
    assert image.get_filename() == "a %22b%22.webp"
    assert image.get_payload(decode=True) == b"\r\n--x\r\n"
    assert yes.get_payload(decode=True) == b"true"


def test_equal_content_has_an_equal_boundary_and_other_content_another() -> None:
    """The boundary follows from the content, so a request can be compared byte by byte."""
    assert encode_multipart({"a": "1", "b": "2"}) == encode_multipart({"a": "1", "b": "2"})
    assert encode_multipart({"a": "1"})[0] != encode_multipart({"a": "2"})[0]
    # Parts that would run together in a plain concatenation are told apart.
    assert encode_multipart({"a": "12", "b": ""})[0] != encode_multipart({"a": "1", "b": "2"})[0]


def test_the_key_stays_home() -> None:
    """A poll address elsewhere, and every download, goes without the key."""
    provider = load_provider("opengpu-relay")
    foreign = poll_request(provider, None, base_url="https://a.example", api_key="k", poll_url="https://evil.example/t")
    assert "x-api-key" not in dict(foreign.headers)
    local = poll_request(provider, None, base_url="https://a.example/relay", api_key="k", poll_url="/v2/tasks/1")
    assert (local.url, dict(local.headers)["x-api-key"]) == ("https://a.example/relay/v2/tasks/1", "k")
    assert [name for name, _ in fetch_request("https://a.example/1.png", "generateQwen").headers] == ["accept"]
