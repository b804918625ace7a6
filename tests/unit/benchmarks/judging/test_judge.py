"""What an answer was worth, decided after the clock has stopped: outcomes, pictures, tokens, cost."""

import json
from dataclasses import replace
from typing import Any

import pytest

from testcard.benchmarks.judging.judge import Judgement, Judging, judge
from testcard.benchmarks.judging.recorder import asked
from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.plan.asks import SLOT_SEED, Ask, asks
from testcard.benchmarks.plan.cells import Attempt, Cell
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import FLAWS, OUTCOMES
from testcard.harness.wire.course import Download, DownloadEnd
from testcard.harness.wire.model import Answer, TaskRequest
from testcard.harness.wire.pictures import encode_base64
from testcard.specs.loader import load_provider
from testcard.specs.prices import Billable
from testkit.pictures import encoded, gradient, opened


def png(width: int = 256, height: int = 256, red: int = 10) -> bytes:
    return encoded(opened(gradient(width, height)).point(lambda value: (value + red) % 256))


def cell(name: str = "nanogpt", operation: str = "createImage", request: TaskRequest | None = None) -> Cell:
    provider = load_provider(name)
    request = request or TaskRequest("generate", "a boat", size=(256, 256))
    ready: list[Ask] = asks(provider, operation, [request], base_url="http://127.0.0.1:1", api_key="k", fresh_seeds=False)
    return Cell(0, 0, name, provider, operation, None, "http://127.0.0.1:1", "k", False, Pricing(provider, True), ready, [], [None], 1.0)


def attempt(reply: Reply, of: Cell | None = None, **changes: Any) -> Attempt:
    found = Attempt(of or cell(), 0, 1, "s", False, 0.0, done_s=1.0, reply=reply)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def answered(body: Any, status: int = 200, media_type: str = "application/json", **changes: Any) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(0.0, 0.0, 0.5, 1.0, status, (("Content-Type", media_type),), data, **changes)


def pictures(*each: bytes) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": encode_base64(data)} for data in each]}


TRUNCATED = png()[:-30]

CASES = [
    ("ok", answered(pictures(png()))),
    ("rate-limited", answered({"error": 1, "message": "slow down"}, 429)),
    ("refused", answered({"error": 1, "message": "no such size"}, 400)),
    ("refused", answered({"error": 1, "message": "who are you"}, 401)),
    ("policy", answered({"error": 1, "message": "blocked by our content policy"}, 400)),
    ("server-error", answered({"error": 1, "message": "oops"}, 500)),
    ("server-error", answered(b"<html>bad gateway</html>", 502)),
    ("broken", answered(b"not json")),
    ("broken", answered(b"")),
    ("broken", answered({}, 302)),
    ("invalid-picture", answered({"created": 1, "data": []})),
    ("invalid-picture", answered({"error": "moderated"})),
    ("invalid-picture", answered(pictures(b"no picture at all"))),
    ("invalid-picture", answered(pictures(TRUNCATED))),
    ("invalid-picture", answered(pictures(png(128, 128)))),
    ("invalid-picture", answered(pictures(png(), png(red=20)))),
    ("invalid-picture", answered({"created": 1, "data": [{"b64_json": "%%%"}]})),
    ("invalid-picture", answered({"created": 1, "data": [{"url": "data:image/png;base64,AAAA"}]})),
    ("timeout", Reply(0.0, failure="timeout")),
    ("connect", Reply(0.0, failure="connect")),
    ("tls", Reply(0.0, failure="tls")),
    ("broken", Reply(0.0, status=200, failure="broken")),
]


@pytest.mark.parametrize(("expected", "reply"), CASES)
def test_every_way_to_end_has_its_word(expected: str, reply: Reply) -> None:
    """The closed taxonomy: a 200 without a sound picture is not a success, an error body is never one."""
    found = judge(attempt(reply))
    assert found.outcome == expected
    assert found.outcome in OUTCOMES


def test_the_same_picture_twice_is_not_two() -> None:
    """n = 2 with two equal pictures is an invalid picture; with two different ones it is fine."""
    two = cell(request=TaskRequest("generate", "a boat", size=(256, 256), n=2))
    assert judge(attempt(answered(pictures(png(), png())), two)).outcome == "invalid-picture"
    found = judge(attempt(answered(pictures(png(), png(red=99))), two))
    assert (found.outcome, found.images) == ("ok", 2)
    assert found.megapixels == pytest.approx(2 * 0.065536)


def test_a_truncated_picture_is_found_without_decoding_pixels() -> None:
    """Outside the decoded share, structure and checksums still find a file that was cut off."""
    shallow = replace(cell(), decode_share=0.0)
    assert judge(attempt(answered(pictures(TRUNCATED)), shallow)).outcome == "invalid-picture"
    assert judge(attempt(answered(pictures(png())), shallow)).outcome == "ok"


def fetched(reply: Reply | None, *indices: int, end: DownloadEnd = DownloadEnd.FETCHED) -> Download[Reply]:
    return Download("http://127.0.0.1:1/a.png", end, "http://127.0.0.1:1/a.png", reply, 0, indices or (0,))


def test_downloaded_pictures_are_judged_as_delivered_ones() -> None:
    """An address that answered 404, that was cut off, that leads in a circle or that never answered is not a picture."""
    body = {"created": 1, "data": [{"url": "http://127.0.0.1:1/a.png"}]}
    for expected, download in [
        ("ok", fetched(Reply(1.0, last_byte_s=1.2, status=200, body=png()))),
        ("invalid-picture", fetched(Reply(1.0, last_byte_s=1.2, status=404, body=b"gone"))),
        ("invalid-picture", fetched(Reply(1.0, last_byte_s=1.2, status=200, body=png()[:200]))),
        ("invalid-picture", fetched(Reply(1.0, last_byte_s=1.2, status=302), end=DownloadEnd.CIRCLE)),
        ("invalid-picture", fetched(None, end=DownloadEnd.NOT_ALLOWED)),
        ("timeout", fetched(Reply(1.0, last_byte_s=9.0, failure="timeout"), end=DownloadEnd.NO_ANSWER)),
    ]:
        assert judge(attempt(answered(body), downloads=[download])).outcome == expected


def test_a_picture_that_comes_both_ways_leaves_the_others_their_downloads() -> None:
    """Its base64 is the picture; what was downloaded belongs to the pictures that named the address, whatever their order."""
    three = cell(request=TaskRequest("generate", "a boat", size=(256, 256), n=3))
    items = [
        {"url": "http://127.0.0.1:1/a.png"},
        {"b64_json": encode_base64(png(red=20)), "url": "http://127.0.0.1:1/b.png"},
        {"url": "http://127.0.0.1:1/c.png"},
    ]
    downloads = [fetched(Reply(1.0, last_byte_s=1.2, status=200, body=png(red=red)), index) for index, red in ((2, 40), (0, 30))]
    found = judge(attempt(answered({"created": 1, "data": items}), three, downloads=downloads))
    assert (found.outcome, found.flaw, found.images) == ("ok", None, 3)


def test_a_task_s_end_has_its_outcome_and_its_cost() -> None:
    """A failure is the server's, one for its content is the policy's; what no end is known of keeps its cost unknown."""
    relay = cell("opengpu-relay", "generateQwen", TaskRequest("generate", "a boat", asynchronous=True))
    accepted = answered({"task_id": "t", "status": "queued"}, 202)
    told = Answer(200, json={"status": "failed", "error": "x"})
    for failure, answer, outcome, cost in [
        ("task-failed", told, "server-error", 0.0),
        ("task-moderated", told, "policy", 0.0),
        ("timeout", None, "timeout", None),
        ("broken", None, "broken", None),
    ]:
        found = judge(attempt(accepted, relay, failure=failure, answer=answer))
        assert (found.outcome, found.cost_usd) == (outcome, cost)


def test_costs_are_the_answers_own_else_the_price_else_unknown() -> None:
    """NanoGPT states its cost; a refusal costs nothing; a timeout is not known; a connection refused costs nothing."""
    assert judge(attempt(answered({**pictures(png()), "cost": 0.123}))).cost_usd == 0.123
    price = cell().price
    assert price is not None
    assert judge(attempt(answered(pictures(png())))).cost_usd == price.usd(Billable(images=1, width_px=256, height_px=256))
    assert judge(attempt(answered({"error": 1, "message": "no"}, 400))).cost_usd == 0.0
    assert judge(attempt(Reply(0.0, failure="timeout"))).cost_usd is None
    assert judge(attempt(Reply(0.0, failure="connect"))).cost_usd == 0.0


@pytest.mark.parametrize("stated", [0, -1, 0.001, 10**400, True, "0", None])
def test_what_counts_against_a_limit_is_never_less_than_the_price(stated: Any) -> None:
    """An answer cannot lower what is booked for it, by its cost, by a smaller picture, or by none."""
    price = cell().price
    assert price is not None
    least = price.usd(Billable(images=1, width_px=256, height_px=256))
    for body in (pictures(png()), pictures(png(64, 64)), pictures()):
        assert judge(attempt(answered({**body, "cost": stated}))).booked_usd == least
    assert judge(attempt(answered({**pictures(png()), "cost": 9.5}))).booked_usd == 9.5
    assert judge(attempt(answered({"error": 1, "message": "no"}, 400))).booked_usd == 0.0
    assert judge(attempt(Reply(0.0, failure="timeout"))).booked_usd is None


def test_an_invalid_picture_is_paid_for() -> None:
    """Its cost counts although it delivers no image: that is what wasted money is."""
    found = judge(attempt(answered({**pictures(TRUNCATED), "cost": 0.01})))
    assert (found.outcome, found.images, found.cost_usd) == ("invalid-picture", 0, 0.01)


def chunk(text: str | None, finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    record: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}],
    }
    if usage:
        record["usage"] = usage
    return b"data: " + json.dumps(record).encode() + b"\n\n"


def vision() -> Cell:
    return cell("nvidia-nim-vision", "createVisionChatCompletion", TaskRequest("describe", "What is it?", stream=True))


def test_a_stream_has_its_first_token_where_text_first_stood() -> None:
    """The role chunk is no token: the time is that of the block which completed the first piece of text."""
    parts = [
        chunk(None),
        chunk("A bo")[:20],
        chunk("A bo")[20:],
        chunk("at.", "stop", {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
        b"data: [DONE]\n\n",
    ]
    blocks, body = [], b""
    for index, part in enumerate(parts):
        body += part
        blocks.append((1.0 + index, len(body)))
    found = judge(attempt(answered(body, media_type="text/event-stream", blocks=blocks), vision()))
    assert (found.outcome, found.first_token_s, found.tokens) == ("ok", 3.0, 2)


def test_a_stream_without_its_end_is_broken() -> None:
    """No [DONE]: the text may be cut off."""
    body = chunk("A boat")
    assert judge(attempt(answered(body, media_type="text/event-stream", blocks=[(1.0, len(body))]), vision())).outcome == "broken"


def test_a_stream_with_its_finish_reason_is_delivered_without_its_end() -> None:
    """[DONE] is a should: the text was whole when the finish reason came, and the sample says what was missing."""
    body = chunk("A boat") + chunk(" at sea", "stop")
    found = judge(attempt(answered(body, media_type="text/event-stream", blocks=[(1.0, len(body))]), vision()))
    assert (found.outcome, found.unterminated) == ("ok", True)
    ended = body + b"data: [DONE]\n\n"
    assert not judge(attempt(answered(ended, media_type="text/event-stream", blocks=[(1.0, len(ended))]), vision())).unterminated


@pytest.mark.parametrize(("gap_s", "measured"), [(0.0, False), (0.0001, False), (0.01, True)])
def test_a_stream_in_one_piece_has_no_time_between_tokens(gap_s: float, measured: bool) -> None:
    """What comes all at once was held back on its way: how fast it was made cannot be seen."""
    blocks, body = [], b""
    for index, part in enumerate([chunk("A"), chunk(" boat"), chunk(" at sea", "stop"), b"data: [DONE]\n\n"]):
        body += part
        blocks.append((1.0 + index * gap_s, len(body)))
    found = judge(attempt(answered(body, media_type="text/event-stream", blocks=blocks), vision()))
    assert found.first_token_s == 1.0
    assert (found.inter_token_s is not None) == measured


def test_a_dead_address_delivers_no_picture() -> None:
    """An address that gives nothing is a flaw of its own, and its picture did not come."""
    body = {"created": 1, "data": [{"url": "http://127.0.0.1:9/dead.png"}]}
    nobody = Reply(1.0, last_byte_s=2.0, failure="connect")
    found = judge(attempt(answered(body), downloads=[fetched(nobody, 0, end=DownloadEnd.FETCHED)]))
    assert (found.outcome, found.flaw, found.pictures, found.images) == ("invalid-picture", "dead-address", 0, 0)
    missing = judge(attempt(answered(body), downloads=[fetched(answered(b"no", 404), 0)]))
    assert (missing.flaw, missing.pictures) == ("dead-address", 0)


def test_a_filtered_answer_is_a_policy_refusal() -> None:
    """finish_reason content_filter, and a picture that the provider says it withheld."""
    body = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}],
    }
    assert judge(attempt(answered(body), vision())).outcome == "policy"
    nim = cell("nvidia-nim-image", "generateImage", TaskRequest("generate", "a boat"))
    assert judge(attempt(answered({"artifacts": [{"base64": "", "finishReason": "CONTENT_FILTERED", "seed": 1}]}), nim)).outcome == "policy"


@pytest.mark.parametrize(
    ("flaw", "body"),
    [
        ("empty", {"created": 1, "data": []}),
        ("count", pictures(png(), png(red=20))),
        ("empty", {"created": 1, "data": [{"b64_json": ""}]}),
        ("undecodable", pictures(TRUNCATED)),
        ("size", pictures(png(128, 128))),
        (None, pictures(png())),
    ],
)
def test_what_is_wrong_with_a_picture_has_a_word(flaw: str | None, body: Any) -> None:
    """Each invalid picture says which of the known flaws it has; a sound one has none, and every picture that came is counted."""
    found = judge(attempt(answered(body)))
    assert found.flaw == flaw
    assert (found.outcome == "invalid-picture") == (flaw is not None)
    assert flaw is None or flaw in FLAWS
    assert found.pictures == len(body["data"])


def test_the_same_picture_twice_in_an_answer_is_a_duplicate() -> None:
    """The flaw is named."""
    two = cell(request=TaskRequest("generate", "a boat", size=(256, 256), n=2))
    assert judge(attempt(answered(pictures(png(), png())), two)).flaw == "duplicate"


def test_pictures_are_known_again_by_bytes_and_by_pixels() -> None:
    """A file packed in another way has other bytes and the same pixels; both marks are kept where the pixels were decoded."""
    packed = encoded(opened(png()), compress_level=1)
    marks = [(judge(attempt(answered(pictures(data)))).picture_hashes or "").split() for data in (png(), packed, png(red=20))]
    assert [len(each) for each in marks] == [2, 2, 2]
    assert marks[0][0] != marks[1][0]
    assert marks[0][1] == marks[1][1]
    assert not set(marks[0]) & set(marks[2])
    shallow = replace(cell(), decode_share=0.0)
    assert judge(attempt(answered(pictures(png())), shallow)).picture_hashes == marks[0][0]


def test_only_equal_requests_may_be_answered_alike() -> None:
    """Prompts and fresh seeds tell requests apart; a fixed seed does not, nor does none."""
    provider = load_provider("nanogpt")

    def numbers(fresh: bool, seeds: tuple[int | None, ...], *requests: TaskRequest) -> list[int]:
        ready = asks(provider, "createImage", requests, base_url="http://127.0.0.1:1", api_key="k", fresh_seeds=fresh)
        of = replace(cell(), asks=ready)
        return [asked(replace(attempt(answered(b""), of), ask=place, seed=seed)) for place in range(len(ready)) for seed in seeds]

    boat, tree = TaskRequest("generate", "a boat", seed=SLOT_SEED), TaskRequest("generate", "a tree", seed=SLOT_SEED)
    assert len(set(numbers(True, (5, 6), boat, tree))) == 4
    fixed = numbers(False, (None,), boat, tree, boat)
    assert fixed[0] == fixed[2] != fixed[1]
    none = numbers(False, (None,), TaskRequest("generate", "a boat"), TaskRequest("generate", "a tree"), TaskRequest("generate", "a boat"))
    assert none[0] == none[2] != none[1]


def test_an_attempt_that_the_judge_raises_on_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was sent and may have been billed: it counts as broken, by a mistake of ours, which is told; the others are judged."""
    recorded: list[Judgement] = []
    failed: list[BaseException] = []
    attempts = [attempt(answered(pictures(png()))) for _ in range(3)]

    def raising(one: Any, **more: Any) -> Judgement:
        if one is attempts[1]:
            raise OverflowError("oh no")
        return judge(one, **more)

    monkeypatch.setattr("testcard.benchmarks.judging.judge.judge", raising)
    judging = Judging(lambda _, judgement: recorded.append(judgement), failed.append)
    for one in attempts:
        judging.put(one)
    judging.close()
    assert [one.outcome for one in recorded] == ["ok", "broken", "ok"]
    assert recorded[1].detail == "not judged, by a mistake of Testcard's own: OverflowError: oh no"
    assert [str(error) for error in failed] == ["oh no"]
