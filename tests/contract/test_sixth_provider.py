"""A provider that Testcard has never seen is described by two files alone: lint accepts them, the wire speaks it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from testcard.harness.errors import ContractViolation
from testcard.harness.wire.decode import decode
from testcard.harness.wire.encode import encode, poll_request
from testcard.harness.wire.model import InputImage, TaskRequest, WireResponse
from testcard.specs.lint import lint
from testcard.specs.loader import Provider, load_provider

OPENAPI = """
openapi: 3.1.0
info: {title: Atelier, version: '2'}
servers: [{url: 'https://atelier.example'}]
paths:
  /paint/{house}/{slug}:
    post:
      operationId: paint
      parameters:
        - {name: house, in: path, required: true, schema: {type: string}}
        - {name: slug, in: path, required: true, schema: {type: string}}
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [text]
              properties:
                text: {type: string}
                w: {type: integer, multipleOf: 8}
                h: {type: integer, multipleOf: 8}
                count: {type: integer, minimum: 1, maximum: 9}
                noise: {type: integer}
                sources: {type: array, items: {type: string}}
                later: {type: boolean}
      responses:
        '200':
          description: Pictures.
          content:
            application/json:
              schema:
                type: object
                properties:
                  result:
                    type: object
                    properties:
                      canvases:
                        type: array
                        items: {type: object, properties: {bytes: {type: string}, noise: {type: integer}}}
                      price: {type: number}
        '202':
          description: Accepted.
          content: {application/json: {schema: {type: object, properties: {job: {type: string}, phase: {type: string}}}}}
  /jobs/{job}:
    get:
      operationId: job
      parameters: [{name: job, in: path, required: true, schema: {type: string}}]
      responses:
        '200':
          description: The job.
          content: {application/json: {schema: {type: object, properties: {phase: {type: string}, answer: {type: object}}}}}
"""

PROFILE = """
schema: testcard.profile/1
id: atelier
name: Atelier
document: https://atelier.example/docs
base_urls: [https://atelier.example]
auth:
  header: {name: X-Atelier, prefix: 'Key '}
  key_env: ATELIER_KEY
  clause: &docs {document: 'https://atelier.example/docs', heading: Painting}
tasks:
  generate: {operation: paint, model: old/masters}
  edit: {operation: paint, model: old/masters}
models:
  - {id: old/masters, operations: [paint], clause: *docs}
operations:
  paint:
    tasks: [generate, edit]
    model: old/masters
    clause: *docs
    path:
      house: {means: model, part: 0}
      slug: {means: model, part: 1}
    fields:
      text: {means: prompt}
      w: {means: width, must_accept: [8, 64], cheapest: 8}
      h: {means: height, must_accept: [8, 64], cheapest: 8}
      count: {means: n, must_accept: [1, 9], cheapest: 1}
      noise: {means: seed, must_accept: [7]}
      sources: {means: image, format: data-url, many: true}
      later: {means: async, must_accept: [true]}
    needs:
      edit: [image]
    response: {pictures: /result/canvases/*, base64: bytes, item_seed: noise, cost: /result/price, formats: [webp]}
  job:
    kind: task
    billed: false
    auth_required: false
    clause: *docs
    path:
      job: {means: task_id}
async:
  flag: later
  task_reference: [/job]
  operation: job
  parameter: job
  state: /phase
  states: {queued: waiting, running: painting, completed: dry, failed: torn}
  result: /answer
  clause: *docs
errors: {message: [/oops/text], code: [/oops/number]}
rules:
  image.size: {level: must, clause: *docs}
prices:
  - {models: ['*'], status: illustrative, price: {kind: per-image, usd_each: 0.01}, source: made up, date: 2026-11-20}
"""


@pytest.fixture
def atelier(tmp_path: Path) -> Provider:
    folder = tmp_path / "atelier"
    folder.mkdir()
    (folder / "openapi.yaml").write_text(OPENAPI, encoding="utf-8")
    (folder / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    assert lint(folder) == []
    return load_provider(str(folder))


def test_its_requests_are_spelt_as_its_files_say(atelier: Provider) -> None:
    """Header, path parts and field names come from the profile; the prompt of a task is text there."""
    asked = TaskRequest("generate", prompt="a boat", size=(64, 128), n=2, seed=7)
    request = encode(atelier, asked, base_url="https://atelier.example", api_key="k")
    assert (request.method, request.url) == ("POST", "https://atelier.example/paint/old/masters")
    assert ("x-atelier", "Key k") in [(name.lower(), value) for name, value in request.headers]
    assert json.loads(request.body) == {"text": "a boat", "w": 64, "h": 128, "count": 2, "noise": 7}


def test_its_contract_is_kept(atelier: Provider) -> None:
    """What its schema or its needs forbid is refused before anything is sent."""
    for asked in (
        TaskRequest("generate", prompt="x", size=(60, 64)),
        TaskRequest("edit", prompt="x"),
        TaskRequest("generate", prompt="x", n=10),
    ):
        with pytest.raises(ContractViolation):
            encode(atelier, asked, base_url="https://atelier.example", api_key="k")


def test_its_edits_carry_pictures(atelier: Provider) -> None:
    """Several pictures go into one list of data URLs."""
    images = (InputImage(b"one"), InputImage(b"two", media_type="image/jpeg"))
    body = json.loads(encode(atelier, TaskRequest("edit", prompt="x", images=images), base_url="https://a.example", api_key=None).body)
    assert body["sources"] == [
        "data:image/png;base64," + base64.b64encode(b"one").decode(),
        "data:image/jpeg;base64," + base64.b64encode(b"two").decode(),
    ]


def test_its_answers_are_found_where_its_files_say(atelier: Provider) -> None:
    """Pictures, seed and cost are read through the profile's pointers, errors too."""
    body = {"result": {"canvases": [{"bytes": "AAAA", "noise": 7}, {"bytes": "BBBB"}], "price": 0.25}}
    answer = decode(atelier, "paint", WireResponse(200, (("content-type", "application/json"),), json.dumps(body).encode()))
    assert [(picture.base64, picture.seed) for picture in answer.pictures] == [("AAAA", 7), ("BBBB", None)]
    assert answer.cost_usd == 0.25
    wrong = WireResponse(418, (("content-type", "application/json"),), b'{"oops": {"text": "no tea", "number": 3}}')
    refused = decode(atelier, "paint", wrong)
    assert (refused.error_message, refused.error_code) == ("no tea", 3)


def test_its_async_protocol_is_followed(atelier: Provider) -> None:
    """Its own words for accepting, polling and states are understood."""
    asked = TaskRequest("generate", prompt="x", asynchronous=True)
    assert json.loads(encode(atelier, asked, base_url="https://a.example", api_key="k").body)["later"] is True
    accepted = decode(atelier, "paint", WireResponse(202, (("content-type", "application/json"),), b'{"job": "j1", "phase": "waiting"}'))
    assert accepted.task is not None
    assert (accepted.task.reference, accepted.task.state) == ("j1", "waiting")
    poll = poll_request(atelier, "j1", base_url="https://a.example", api_key="k")
    assert (poll.method, poll.url) == ("GET", "https://a.example/jobs/j1")
    done = decode(atelier, "job", WireResponse(200, (("content-type", "application/json"),), b'{"phase": "dry", "answer": {"result": {}}}'))
    assert done.task is not None
    assert (done.task.state, done.task.result) == ("dry", {"result": {}})
