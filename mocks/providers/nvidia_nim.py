"""NVIDIA NIM: pictures with the model in the path, base64 artifacts and the seed echoed; chat completions about pictures, whole or streamed."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from PIL import Image

from testcard.mocks.exchange import Answer, Call, Parameters, Refused, RenderedPicture
from testcard.mocks.field_meaning import checked_size, salt
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.provider_format import ProviderFormat


class NimImage(ProviderFormat):
    """One artifact. Modes that start from a picture refuse to start without it."""

    def parameters(self, call: Call) -> Parameters:
        """The picture asked for; image and mask as the mode needs them, raw base64 or data URL."""
        fields = call.fields
        self.check_model(call, f"{call.path['publisher']}/{call.path['model']}")
        mode = fields.get("mode", "text-to-image")
        if fields.get("steps", 50) < 1:
            raise Refused(400, "steps has to be at least 1", param="steps")
        for name, modes in (("image", ("image-to-image", "inpaint")), ("mask", ("inpaint",))):
            if mode in modes and name not in fields:
                raise Refused(400, f"{name} is required for the mode {mode}", param=name)
        pictures = {name: inputs.decode(inputs.from_either(fields[name], name), name) for name in ("image", "mask") if name in fields}
        width, height = checked_size(int(fields.get("width", 1024)), int(fields.get("height", 1024)), "width")
        return Parameters(
            width,
            height,
            fields.get("prompt", ""),
            salt(call, ("seed",), always=True),
            seed=fields.get("seed"),
            images=(inputs.opaque(pictures["image"]),) if mode != "text-to-image" else (),
            edit=inputs.white_edits(pictures["mask"]) if mode == "inpaint" else None,
        )

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """The artifacts, each with the seed it was drawn from."""
        return {"artifacts": [{"base64": one.base64, "finishReason": "SUCCESS", "seed": one.seed} for one in rendered]}


_COLOURS = {
    "black": (16, 16, 16),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "red": (210, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 60, 200),
    "yellow": (230, 215, 50),
    "cyan": (50, 205, 215),
    "magenta": (205, 50, 195),
    "orange": (235, 140, 40),
    "brown": (120, 75, 40),
}
_TILE_PX, _TILE_TOKENS = 512, 170
_WORDS = re.compile(r"\s*\S+")


class NimVision(ProviderFormat):
    """Says the size and the main colour of each picture, in the same words each time."""

    async def complete(self, call: Call) -> Answer:
        """The completion. `max_tokens` cuts it, and the finish reason then says `length`."""
        fields = call.fields
        self.check_model(call, fields.get("model"))
        if not 0 <= fields.get("temperature", 1) <= 2:
            raise Refused(400, "temperature has to be between 0 and 2", param="temperature")
        most = fields.get("max_tokens")
        if most is not None and most < 1:
            raise Refused(400, "max_tokens has to be at least 1", param="max_tokens")
        if fields.get("messages") == []:
            raise Refused(400, "messages is empty", param="messages")
        texts, pictures, prompt_tokens = _read(fields.get("messages", []))
        pieces = _WORDS.findall(_describe(texts, pictures))
        finish = "stop"
        if most is not None and len(pieces) > most:
            pieces, finish = pieces[: int(most)], "length"
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(pieces), "total_tokens": prompt_tokens + len(pieces)}
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(self.clock()), "model": fields.get("model", "")}
        if fields.get("stream"):
            events: list[Any] = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in _deltas(pieces, finish)]
            options = call.further.get("stream_options")
            if isinstance(options, dict) and options.get("include_usage") is True:
                events.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            events = call.hooks.apply("events", call, events) if call.hooks else events
            parts = [
                b"data: " + (event if isinstance(event, bytes) else msgspec.json.encode(event)) + b"\n\n" for event in [*events, b"[DONE]"]
            ]
            return Answer(200, events=parts, media_type="text/event-stream", billed=True)
        message = {"role": "assistant", "content": "".join(pieces)}
        body: dict[str, Any] = {
            **head,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        }
        return Answer(200, call.hooks.apply("body", call, body) if call.hooks else body, billed=True)


def _deltas(pieces: list[str], finish: str) -> Iterator[dict[str, Any]]:
    yield {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    for piece in pieces:
        yield {"index": 0, "delta": {"content": piece}, "finish_reason": None}
    yield {"index": 0, "delta": {}, "finish_reason": finish}


def _read(messages: list[Any]) -> tuple[list[str], list[str], int]:
    """The texts of a conversation, a sentence for each picture, and the tokens of both; `Refused` with 400 for a picture that cannot be used."""
    texts: list[str] = []
    pictures: list[str] = []
    tokens = 0
    for place, message in enumerate(messages):
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for number, part in enumerate(parts):
            at = f"messages.{place}.content.{number}"
            if part.get("type") == "image_url" or "image_url" in part:
                said, cost = _look(part.get("image_url", {}).get("url", ""), f"{at}.image_url.url")
                pictures.append(said)
                tokens += cost
            else:
                texts.append(part.get("text", ""))
                tokens += len(texts[-1].split())
    return texts, pictures, tokens


def _look(url: str, param: str) -> tuple[str, int]:
    if url.startswith("https://"):
        return "a picture at an address that this mock does not fetch", 85
    picture = inputs.opaque(inputs.decode(inputs.from_data_url(url, param), param))
    tiles = -(-picture.width // _TILE_PX) * -(-picture.height // _TILE_PX)
    return f"a picture of {picture.width} by {picture.height} pixels, mostly {_main_colour(picture)}", 85 + _TILE_TOKENS * tiles


def _main_colour(picture: Image.Image) -> str:
    red, green, blue = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
    return min(_COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(_COLOURS[name], (red, green, blue), strict=True)))


def _describe(texts: list[str], pictures: list[str]) -> str:
    """An answer that depends on the question and the pictures and on nothing else."""
    asked = texts[-1] if texts else ""
    mood = ("plainly", "clearly", "carefully", "briefly")[hashlib.blake2b(asked.encode(), digest_size=1).digest()[0] % 4]
    seen = "; then ".join(pictures) if pictures else "no picture at all"
    return f"Looking {mood}, I see {seen}. You asked: {' '.join(asked.split())[:200] or 'nothing'}"
