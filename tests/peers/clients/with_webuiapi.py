"""webuiapi, a client of AUTOMATIC1111's web UI, whose path OpenGPU Relay has."""

from __future__ import annotations

from reporting import case, check, urls
from webuiapi import WebUIApi

API = WebUIApi(baseurl=urls()["opengpu-relay"] + "/v2/automatic1111/sdapi/v1")
API.session.headers["X-API-Key"] = "testcard"


def drawn() -> None:
    """A picture of the size that was asked for."""
    found = API.txt2img(prompt="a red boat", width=64, height=64, steps=20)
    check(found.image.size == (64, 64), f"a picture of {found.image.size}")


case("opengpu-relay", "txt2img", drawn)
