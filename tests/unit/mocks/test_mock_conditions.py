"""What can be asked of a running mock: pace, limits, refusals, money, moderation, expiry, timelines; and what it tells of itself."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.mocks.app import create_app
from testcard.mocks.conditions import (
    Conditions,
    Latency,
    Timeline,
    conditions_from,
    draw_apart,
    parse_refusal,
    read_scenario,
    scenario_from,
)
from testcard.specs.errors import UsageError

BODY = {"prompt": "a red boat", "size": "256x256"}
BEARER = {"Authorization": "Bearer testcard"}


class Clock:
    """Seconds that only pass when a test says so."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def with_mock(story: Callable[[httpx.AsyncClient], Awaitable[Any]], provider: str = "nanogpt", **options: Any) -> Any:
    """What a story over one mock in this process comes to."""

    async def run() -> Any:
        transport = httpx.ASGITransport(create_app([provider], **options))
        async with httpx.AsyncClient(transport=transport, base_url="http://mock", headers=BEARER) as client:
            return await story(client)

    return asyncio.run(run())


async def generated(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    """An answer of the images API."""
    return await client.post("/v1/images/generations", json={**BODY, **more})


def statuses(count: int, **options: Any) -> list[int]:
    """The statuses of so many equal requests."""

    async def story(client: httpx.AsyncClient) -> list[int]:
        return [(await generated(client)).status_code for _ in range(count)]

    return list(with_mock(story, **options))


def test_pace_by_pixels_steps_and_cold_starts() -> None:
    """Work is counted in pictures × pixels × steps; the first request, and one after a pause, waits for a cold start."""
    clock = Clock()
    work = Latency("per-megapixel-step:0.02+per-megapixel:0.5", timer=clock)
    assert work.sample(2, pixels=500_000, steps=20) == pytest.approx(0.02 * 20 + 0.5)
    cold = Latency("0.1+cold:5,60", timer=clock)
    assert cold.sample(1) == pytest.approx(5.1)
    clock.now += 59
    assert cold.sample(1) == pytest.approx(0.1)
    clock.now += 60
    assert cold.sample(1) == pytest.approx(5.1)


def times(
    monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str, dict[str, Any]], provider: str = "nanogpt", **options: Any
) -> list[float]:
    """What a mock waits before each of three answers, before these changes and after each of them."""
    waited: list[float] = []
    here, really = threading.get_ident(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        if threading.get_ident() != here:  # a server that another test's fixture keeps
            await really(seconds)
        else:
            waited.append(seconds)

    async def story(client: httpx.AsyncClient) -> None:
        for change in (None, *changes):
            if change is not None:
                method, what, body = change
                assert (await client.request(method, f"/_testcard/{what}", json=body)).status_code == 200
            for _ in range(3):
                await generated(client)

    options = {"conditions": Conditions(latency="lognormal:0.3,0.5"), **options}
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", sleep)
        with_mock(story, provider, **options)
    assert len(set(waited)) > 1
    return waited


def test_mocks_side_by_side_draw_other_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of one latency share no time, nor do two providers of one seed; a seed that is given gives the same times again."""
    assert not {*times(monkeypatch)} & {*times(monkeypatch)}
    given = {"conditions": Conditions(latency="lognormal:0.3,0.5", seed=7)}
    seven = times(monkeypatch, **given)
    assert times(monkeypatch, **given) == seven
    assert not {*times(monkeypatch, provider="nebul", **given)} & {*seven}
    assert not {*times(monkeypatch, conditions=Conditions(latency="lognormal:0.3,0.5", seed=8))} & {*seven}
    draw_apart(1)
    try:
        assert not {*times(monkeypatch, **given)} & {*seven}, "a second process that serves the same mock"
    finally:
        draw_apart(0)


def test_the_seed_of_a_mock_is_told_and_begins_again_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own where none is given; the next phase of a scenario and another limit go on drawing, a reset or the same seed once more begins again."""

    async def told(client: httpx.AsyncClient) -> Any:
        return (await client.get("/_testcard/conditions")).json()["conditions"]["seed"]

    first, second = with_mock(told), with_mock(told)
    assert isinstance(first, int)
    assert first != second
    assert with_mock(told, conditions=Conditions(seed=0)) == 0
    given: dict[str, Any] = {"conditions": Conditions(latency="lognormal:0.3,0.5", seed=7)}
    for change in (
        ("DELETE", "scenario", {}),
        ("PATCH", "conditions", {"seed": 7}),
        ("PUT", "conditions", {"latency": "lognormal:0.3,0.5"}),
    ):
        waited = times(monkeypatch, change, **given)
        assert waited[:3] == waited[3:], change
    for change in (("PATCH", "conditions", {"max_concurrent": 2}), ("PATCH", "conditions", {"seed": 8})):
        waited = times(monkeypatch, change, **given)
        assert not {*waited[:3]} & {*waited[3:]}, change
    phases = {"phase": [{"requests": 1, "latency": "lognormal:0.1,0.5"}, {"requests": 1}, {"latency": "lognormal:0.1,0.5"}]}
    waited = times(monkeypatch, ("PUT", "scenario", phases), **given)
    assert len({*waited}) == 6


def test_a_rate_limit_says_when_in_seconds_or_as_a_date() -> None:
    """The date is the first full second at which a request passes."""

    async def story(client: httpx.AsyncClient) -> str:
        await generated(client)
        return (await generated(client)).headers["retry-after"]

    assert with_mock(story, rate_limit="1/m") == "60"
    clock = Clock(1_000_000.25)
    date = with_mock(story, conditions=Conditions(rate_limit="1/m", retry_after="date"), clock=clock, timer=clock)
    assert parsedate_to_datetime(date).timestamp() == 1_000_061


def test_refusals_come_at_their_rate() -> None:
    """Half of the requests are refused, in an even rhythm; a refusal for content is the provider's own."""
    assert statuses(4, conditions=Conditions(refuse=("503@0.5",))) == [200, 503, 200, 503]
    assert Counter(statuses(8, conditions=Conditions(refuse=("503@0.25", "429@0.25")))) == {200: 4, 503: 2, 429: 2}
    assert Counter(statuses(40, conditions=Conditions(refuse=("503@0.2", "429@0.3", "500@0.1")))) == {200: 16, 503: 8, 429: 12, 500: 4}
    assert statuses(4, conditions=Conditions(refuse=("503@0.5", "429"))) == [429, 503, 429, 503]
    assert statuses(1, conditions=Conditions(refuse=("credit",))) == [402]
    assert statuses(1, conditions=Conditions(refuse=("moderated",))) == [400]
    for wrong in ("nothing", "302", "503@0", "error@2"):
        with pytest.raises(UsageError):
            parse_refusal(wrong)


def test_a_quota_and_a_balance_are_used_up() -> None:
    """So many billed requests pass; a balance lasts as long as the price allows, and the answer says what is left of it."""
    assert statuses(3, conditions=Conditions(quota=2, quota_status=403)) == [200, 200, 403]

    async def story(client: httpx.AsyncClient) -> list[Any]:
        first = (await generated(client)).json()
        await client.patch("/_testcard/conditions", json={"balance_usd": first["cost"] * 1.5})
        second, third = await generated(client), await generated(client)
        told = (await client.get("/_testcard/conditions")).json()["providers"]["nanogpt"]
        return [first["cost"], second.json()["remainingBalance"], third.status_code, told]

    cost, left, refused, told = with_mock(story)
    assert (left, refused) == (pytest.approx(cost * 0.5), 402)
    assert told == {"quota_left": None, "balance_usd_left": left}


def test_a_word_in_a_prompt_is_refused() -> None:
    """As a whole word in any case, in chats as in pictures; an accepted task fails for it."""

    async def story(client: httpx.AsyncClient) -> list[int]:
        return [(await generated(client, prompt=prompt)).status_code for prompt in ("a Boat", "boating", "two boats")]

    assert with_mock(story, conditions=Conditions(moderate=("boat",))) == [400, 200, 200]

    async def chat(client: httpx.AsyncClient) -> int:
        messages = [{"role": "user", "content": [{"type": "text", "text": "a boat?"}]}]
        body = {"model": "meta/llama-3.2-90b-vision-instruct", "messages": messages}
        return (await client.post("/v1/chat/completions", json=body)).status_code

    assert with_mock(chat, "nvidia-nim-vision", conditions=Conditions(moderate=("boat",))) == 400

    async def task(client: httpx.AsyncClient) -> dict[str, Any]:
        accepted = await client.post("/v2/image/qwen/generate", json={"prompt": "a boat", "async": True})
        return dict((await client.get(f"/v2/tasks/{accepted.json()['task_id']}?wait=2")).json())

    failed = with_mock(task, "opengpu-relay", conditions=Conditions(moderate=("boat",)))
    assert (failed["status"], failed["error_code"]) == ("failed", "CONTENT_POLICY_DECLINED")


def test_an_address_really_expires() -> None:
    """It answers until its time is over, then 403."""
    clock = Clock()

    async def story(client: httpx.AsyncClient) -> list[int]:
        url = (await generated(client, response_format="url")).json()["data"][0]["url"]
        before = await client.get(url)
        clock.now += 3
        return [before.status_code, (await client.get(url)).status_code]

    assert with_mock(story, conditions=Conditions(url_lifetime_s=2.5), clock=clock) == [200, 403]


def test_conditions_change_while_the_mock_runs() -> None:
    """PATCH changes what it names, PUT everything; what cannot be kept is refused with the next step, and nothing changes."""

    async def story(client: httpx.AsyncClient) -> None:
        async def send(method: str, body: Any) -> httpx.Response:
            return await client.request(method, "/_testcard/conditions", json=body)

        assert (await generated(client)).status_code == 200
        told = await send("PATCH", {"refuse": ["500"], "latency": "0"})
        assert (told.json()["conditions"]["refuse"], told.json()["conditions"]["latency"]) == (["500"], "0")
        assert (await generated(client)).status_code == 500
        wrong = await send("PATCH", {"latency": "soon"})
        assert (wrong.status_code, "lognormal" in wrong.json()["error"]["hint"]) == (400, True)
        assert (await send("PATCH", {"speed": 1})).status_code == 400
        assert (await send("PATCH", [])).status_code == 400
        assert (await client.get("/_testcard/conditions")).json()["conditions"]["refuse"] == ["500"]
        assert (await send("PUT", {"faults": ["image.count"]})).json()["conditions"]["refuse"] == []
        assert len((await generated(client, n=2)).json()["data"]) != 2
        await send("PUT", {})
        assert len((await generated(client, n=2)).json()["data"]) == 2

    with_mock(story)


def test_what_a_request_names_begins_again() -> None:
    """A quota or a balance of the same size is full once more when it is named; what is not named goes on as far as it has got."""

    async def story(client: httpx.AsyncClient) -> list[int]:
        async def told(**conditions: Any) -> int:
            await client.patch("/_testcard/conditions", json=conditions)
            return (await generated(client)).status_code

        return [await told(quota=1), await told(latency="0"), await told(quota=1), await told(quota=1, latency=None), await told()]

    assert with_mock(story) == [200, 402, 200, 200, 402]

    async def charged(client: httpx.AsyncClient) -> list[int]:
        price = (await generated(client)).json()["cost"]
        found = []
        for _ in range(2):
            await client.patch("/_testcard/conditions", json={"balance_usd": price})
            found += [(await generated(client)).status_code, (await generated(client)).status_code]
        return found

    assert with_mock(charged) == [200, 402, 200, 402]


@pytest.mark.parametrize("way", ["scenario", "put", "reset"])
def test_a_variant_keeps_its_pace(way: str) -> None:
    """Where nothing else is asked for: in a scenario's phases, after conditions were put anew, and after all was put back."""
    story = scenario_from({"phase": [{"name": "one", "requests": 1}, {"name": "slow", "latency": "0.01"}]}, "test")

    async def run(client: httpx.AsyncClient) -> list[str]:
        if way != "scenario":
            await client.request(
                *(("PUT", "/_testcard/conditions") if way == "put" else ("DELETE", "/_testcard/scenario")),
                json={} if way == "put" else None,
            )
        found = []
        for _ in range(2):
            await generated(client)
            found.append((await client.get("/_testcard/conditions")).json()["conditions"]["latency"])
        return found

    pace = "uniform:0,0.03"
    found = with_mock(run, variant="generous", scenario=story if way == "scenario" else None)
    assert found == ([pace, "0.01"] if way == "scenario" else [pace, pace])


def test_the_log_says_what_was_asked_and_answered() -> None:
    """Newest last, with the body's fields, long texts cut, and no key; it can be asked for a part, and emptied with the counts."""

    async def story(client: httpx.AsyncClient) -> None:
        await generated(client, prompt="x" * 5000)
        await client.post("/v1/images/generations", json=BODY, headers={"Authorization": "Bearer sk-other"})
        await client.get("/nowhere?a=b")
        entries = (await client.get("/_testcard/requests")).json()["requests"]
        assert [(one["operation"], one["status"], one["billed"]) for one in entries] == [
            ("createImage", 200, True),
            ("createImage", 401, False),
            (None, 404, False),
        ]
        assert len(entries[0]["fields"]["prompt"]) < 400
        assert entries[0]["images"] == 1
        assert entries[2]["path"] == "/nowhere?a=b"
        assert "sk-other" not in str(entries)
        assert "Bearer" not in str(entries)
        some = (await client.get("/_testcard/requests?status=401")).json()["requests"]
        assert [one["number"] for one in some] == [2]
        assert (await client.delete("/_testcard/requests")).status_code == 204
        assert (await client.get("/_testcard/requests")).json()["requests"] == []
        assert (await client.get("/_testcard/counters")).json()["requests"] == 0

    with_mock(story)


SCENARIO = """
[[phase]]
name = "healthy"
requests = 2
[[phase]]
name = "limited"
requests = 2
refuse = ["limit"]
[[phase]]
name = "failing"
seconds = 10
refuse = ["503"]
[[phase]]
name = "recovered"
"""


def test_a_scenario_goes_from_phase_to_phase(tmp_path: Path) -> None:
    """By count and by time; the log says in which phase each request came."""
    path, clock = tmp_path / "scenario.toml", Clock()
    path.write_text(SCENARIO)

    async def story(client: httpx.AsyncClient) -> list[tuple[int, str]]:
        for _ in range(6):
            await generated(client)
        clock.now += 11
        await generated(client)
        assert (await client.get("/_testcard/scenario")).json()["phase"] == "recovered"
        entries = (await client.get("/_testcard/requests")).json()["requests"]
        return [(one["status"], one["phase"]) for one in entries]

    assert with_mock(story, scenario=read_scenario(path), timer=clock) == [
        *[(200, "healthy")] * 2,
        *[(429, "limited")] * 2,
        *[(503, "failing")] * 2,
        (200, "recovered"),
    ]


def test_the_log_says_the_phase_in_which_a_request_came() -> None:
    """Not the one in which its answer was ready, where others came meanwhile."""
    story_of = scenario_from({"phase": [{"name": "slow", "requests": 1, "latency": "0.3"}, {"name": "quick", "latency": "0.01"}]}, "test")

    async def story(client: httpx.AsyncClient) -> list[tuple[str, str]]:
        await asyncio.gather(generated(client, prompt="first"), generated(client, prompt="second"))
        entries = (await client.get("/_testcard/requests")).json()["requests"]
        return sorted((one["fields"]["prompt"], one["phase"]) for one in entries)

    assert with_mock(story, scenario=story_of) == [("first", "slow"), ("second", "quick")]


def test_a_scenario_that_repeats_begins_again() -> None:
    """After the last phase comes the first."""
    timeline = Timeline(scenario_from({"repeat": True, "phase": [{"requests": 1}, {"requests": 2}]}, "here"), Clock())
    names = []
    for _ in range(6):
        timeline.next()
        names.append(timeline.phase.name)
    assert names == ["phase 1", "phase 2", "phase 2"] * 2


def test_a_scenario_keeps_its_time() -> None:
    """A phase that ends by count before its time hands on no time that has not passed; idle rounds are passed over."""
    clock = Clock()
    timeline = Timeline(scenario_from({"phase": [{"requests": 1, "seconds": 60}, {"seconds": 10}, {}]}, "here"), clock)
    names = []
    for passed in (0, 1, 11):
        clock.now += passed
        timeline.next()
        names.append(timeline.phase.name)
    assert names == ["phase 1", "phase 2", "phase 3"]
    rounds = Timeline(scenario_from({"repeat": True, "phase": [{"seconds": 10}, {"seconds": 10}]}, "here"), clock)
    rounds.next()
    clock.now += 115
    rounds.next()
    assert rounds.phase.name == "phase 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [[phase]]"),
        ("phase = 3", "no [[phase]]"),
        ("[[phase]]\nspeed = 1", "phase 1: Object contains unknown field `speed`"),
        ("[[phase]]\n[[phase]]\n", "never ends"),
        ("[[phase]]\nseconds = 0", "seconds cannot be 0"),
        ("[[phase]]\nlatency = 'x'", "scenario.toml, phase 1: 'x' is no latency"),
        ("phase = [", "is no TOML"),
    ],
)
def test_a_scenario_that_cannot_be_used_says_where(tmp_path: Path, text: str, said: str) -> None:
    """The file, the phase and the next step."""
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_scenario(path)
    assert said in str(caught.value)
    assert caught.value.hint


def test_conditions_are_read_as_people_write_them() -> None:
    """A latency as a number of seconds, and one refusal, fault or word by itself."""
    found = conditions_from({"latency": 0.25, "refuse": "503@0.5", "faults": "image.size", "moderate": "boat"}, "here")
    assert found == Conditions(latency="0.25", refuse=("503@0.5",), faults=("image.size",), moderate=("boat",))
    for wrong in (-1, True, float("nan")):
        with pytest.raises(UsageError):
            conditions_from({"latency": wrong}, "here")


def test_conditions_that_cannot_be_kept_are_refused() -> None:
    """Numbers below what makes sense, and unknown names."""
    for wrong in ({"max_concurrent": 0}, {"quota": -1}, {"quota_status": 404}, {"faults": ["no.such"]}, {"refuse": ["gone@"]}):
        with pytest.raises(UsageError):
            conditions_from(wrong, "here")


def test_models_are_listed_where_the_api_is_openai_s() -> None:
    """With a key, all of them or one; NIM's pictures and Relay have no such address."""

    async def story(client: httpx.AsyncClient) -> list[Any]:
        listed = await client.get("/v1/models")
        names = [one["id"] for one in listed.json()["data"]] if listed.status_code == 200 else []
        one = await client.get(f"/v1/models/{names[0]}") if names else None
        unknown = await client.get("/v1/models/none")
        keyless = await client.get("/v1/models", headers={"Authorization": ""})
        return [listed.status_code, one and one.json()["id"] == names[0], unknown.status_code, keyless.status_code]

    assert with_mock(story, "nebul") == [200, True, 404, 401]
    assert with_mock(story, "nvidia-nim-vision") == [200, True, 404, 401]
    assert with_mock(story, "nvidia-nim-image") == [404, None, 404, 404]


def test_pages_of_other_origins_may_ask_where_it_is_allowed() -> None:
    """A preflight is answered, and the answer may be read; without the option neither."""

    async def story(client: httpx.AsyncClient) -> tuple[int, str | None]:
        asks = {"Origin": "http://page", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        first = await client.options("/v1/images/generations", headers=asks)
        then = await client.post("/v1/images/generations", json=BODY, headers={"Origin": "http://page"})
        return first.status_code, then.headers.get("access-control-allow-origin")

    assert with_mock(story, cors=True) == (200, "*")
    assert with_mock(story) == (405, None)


@pytest.mark.parametrize("text", [None, "a = " + "[" * 5000])
def test_a_scenario_that_cannot_be_read_is_refused(text: str | None, tmp_path: Path) -> None:
    """One that never ends, and one that is nested too deeply."""
    path = tmp_path / "scenario.toml" if text is not None else Path("/dev/zero")
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError):
        read_scenario(path)
