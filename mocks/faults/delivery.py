"""Lies about how a picture is delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from testcard.mocks.exchange import Call, RenderedPicture, in_base64
from testcard.mocks.faults.register import BASE64_ONLY, BY_URL, EITHER_WAY, LASTING, PICTURES, URL_ONLY, fault


@fault("delivered", "delivery.exclusive", EITHER_WAY, also=("schema.response",))
def _both(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends base64 and an address for the same picture."""
    return [
        replace(
            one,
            base64=one.base64 or in_base64(one.data),
            url=one.url or (call.publish(one) if call.publish else None),
        )
        for one in rendered
    ]


@fault("delivered", "delivery.exclusive/neither", EITHER_WAY, also=("schema.response", "image.decodes"))
def _neither(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends items that hold neither base64 nor an address."""
    return [replace(one, base64=None, url=None) for one in rendered]


@fault("delivered", "delivery.as-asked", PICTURES, also=("image.decodes",))
def _the_other_way(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends an address where base64 was asked for or is all that is documented, and base64 where addresses are."""
    changed = []
    for one in rendered:
        if one.base64 is None and (call.provider, call.operation) in URL_ONLY:
            changed.append(replace(one, url=msgspec.json.decode(in_base64(one.data))))
        elif one.base64 is not None and (call.provider, call.operation) in BASE64_ONLY:
            changed.append(replace(one, base64=msgspec.Raw(msgspec.json.encode(_published(call, one)))))
        elif one.base64 is not None:
            changed.append(replace(one, base64=None, url=_published(call, one)))
        else:
            changed.append(one)
    return changed


def _published(call: Call, one: RenderedPicture, **how: Any) -> str:
    assert call.publish is not None
    return call.publish(one, **how)


def _with_addresses(rendered: list[RenderedPicture], address: Callable[[RenderedPicture], str]) -> list[RenderedPicture]:
    """The pictures with another address each, where they have one."""
    return [one if one.url is None else replace(one, url=address(one)) for one in rendered]


@fault("delivered", "delivery.url-absolute", BY_URL)
def _relative_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses without scheme and host."""
    return _with_addresses(rendered, lambda one: (one.url or "").removeprefix(call.origin))


@fault("delivered", "delivery.url-absolute/data", BY_URL)
def _data_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends data: URLs, which are pictures in disguise, where addresses were asked for."""
    return _with_addresses(rendered, lambda one: f"data:image/{one.format};base64,{msgspec.json.decode(in_base64(one.data))}")


@fault("delivered", "delivery.url-fetchable", BY_URL)
def _dead_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses under which nothing is found."""
    return _with_addresses(rendered, lambda one: _published(call, one, mode="dead"))


@fault("delivered", "delivery.url-keyless", BY_URL)
def _locked_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses that ask for the key."""
    return _with_addresses(rendered, lambda one: _published(call, one, mode="locked"))


@fault("delivered", "delivery.url-is-image", BY_URL)
def _page_at_the_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses that answer with a page of HTML."""
    return _with_addresses(rendered, lambda one: _published(call, one, mode="page"))


@fault("delivered", "delivery.url-is-image/mistyped", BY_URL)
def _mistyped_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses that give the picture and call it a text."""
    return _with_addresses(rendered, lambda one: _published(call, one, mode="mistyped"))


@fault("delivered", "delivery.url-lifetime", LASTING)
def _short_lived_address(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses that end after a minute."""
    return _with_addresses(rendered, lambda one: _published(call, one, lifetime_s=60))


@fault("delivered", "delivery.url-lifetime/once", LASTING)
def _address_for_one_time(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends addresses that say they last, answer once and never again."""
    return _with_addresses(rendered, lambda one: _published(call, one, mode="once"))
