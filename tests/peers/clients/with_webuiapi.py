"""webuiapi, a client of AUTOMATIC1111's web UI, whose path OpenGPU Relay has."""

from __future__ import annotations

from reporting import case, check, errors, urls
from webuiapi import WebUIApi

URLS = urls()


def drawn(where: str = "opengpu-relay") -> None:
    """A picture of the size that was asked for."""
    api = WebUIApi(baseurl=URLS[where] + "/v2/automatic1111/sdapi/v1")
    api.session.headers["X-API-Key"] = "testcard"
    found = api.txt2img(prompt="a red boat", width=64, height=64, steps=20)
    check(found.image.size == (64, 64), f"a picture of {found.image.size}")


case("opengpu-relay", "txt2img", drawn)
errors("opengpu-relay", "txt2img", drawn)
