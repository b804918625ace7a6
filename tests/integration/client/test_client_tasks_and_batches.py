"""The client against mocks in this process: tasks that are handed in, followed and taken up again, batches, previews, inputs of every kind."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image, ImageChops

from testcard.harness.cli import run
from testcard.harness.client import (
    AddressNotAllowed,
    AsyncClient,
    BatchItem,
    BatchOutcome,
    Client,
    ConnectionFailed,
    ContractBroken,
    Mask,
    PaymentRequired,
    Picture,
    Preview,
    Result,
    ServerFailed,
    TaskFailed,
    TaskUpdate,
    run_batch,
    run_batch_async,
)
from testcard.harness.client.masks import converted
from testcard.harness.client.terms import as_input_image
from testcard.harness.errors import Inconclusive, UsageError
from testcard.mocks.running import RunningMock, running_mock
from testkit.pictures import plain

WAYS = Path(__file__).parents[2] / "fixtures" / "ways"
QWEN = {"operation": "generateQwen", "size": "64x64"}


@pytest.fixture(scope="module")
def relay() -> Iterator[RunningMock]:
    with running_mock("opengpu-relay") as mock:
        yield mock


@pytest.fixture(scope="module")
def nebul() -> Iterator[RunningMock]:
    with running_mock("nebul") as mock:
        yield mock


def opened(provider: str, mock: RunningMock, **options: Any) -> Client:
    return Client(provider, base_url=mock.base_url, api_key=mock.api_key, poll_interval_s=0.02, **options)


def test_a_task_is_handed_in_followed_and_taken_up_again(relay: RunningMock) -> None:
    """Its id is enough for another client; updates go forward and end as completed; a repeated key is the same task."""
    updates: list[TaskUpdate] = []
    with opened("opengpu-relay", relay) as one, opened("opengpu-relay", relay) as other:
        handle = one.submit("a red boat", idempotency_key="mine", **QWEN)
        assert handle.id
        assert handle.poll().phase in ("queued", "running")
        assert one.submit("a red boat", idempotency_key="mine", **QWEN).id == handle.id
        result = other.resume(handle.id, operation="generateQwen").wait(updates.append)
        assert result.pictures[0].width == 64
        assert updates[-1].phase == "completed"
        assert handle.wait().pictures[0].data == result.pictures[0].data
        with pytest.raises(UsageError, match="no way to cancel"):
            handle.cancel()
        # Whoever leaves out which operation took it is told how to have the pictures, which are paid for.
        with pytest.raises(ContractBroken) as caught:
            other.resume(handle.id).wait()
        assert "operation=" in str(caught.value.hint)
    with opened("opengpu-relay", relay, poll_timeout_s=0.1) as one, pytest.raises(TaskFailed):
        one.resume("0xdead", operation="generateQwen").wait()


def test_the_async_client_does_the_same(relay: RunningMock) -> None:
    """Submit, resume by id, wait with updates."""

    async def story() -> tuple[Result, list[TaskUpdate]]:
        updates: list[TaskUpdate] = []
        async with AsyncClient("opengpu-relay", base_url=relay.base_url, api_key="testcard", poll_interval_s=0.02) as one:
            handle = await one.submit("a red boat", **QWEN)
            assert handle.id
            again = one.resume(handle.id, operation="generateQwen")
            assert (await again.poll()).phase in ("queued", "running")
            return await again.wait(updates.append), updates

    result, updates = anyio.run(story)
    assert (len(result.pictures), updates[-1].phase) == (1, "completed")


def test_a_task_is_called_off_where_the_api_has_a_way(tmp_path: Path) -> None:
    """The handle cancels it, and waiting for it then says that it was not completed."""
    queue = shutil.copytree(WAYS / "queue", tmp_path / "lathe")
    profile, document = queue / "profile.yaml", queue / "openapi.yaml"
    document.write_text(document.read_text().replace("[IN_QUEUE, IN_PROGRESS, COMPLETED]", "[IN_QUEUE, IN_PROGRESS, COMPLETED, CANCELLED]"))
    profile.write_text(profile.read_text().replace("  states: {", "  states: {cancelled: CANCELLED, "))
    with running_mock(queue, latency="5") as mock, opened(str(queue), mock) as one:
        handle = one.submit("a red boat")
        handle.cancel()
        assert handle.poll().phase == "cancelled"
        with pytest.raises(TaskFailed):
            handle.wait()


def test_previews_come_before_the_picture() -> None:
    """Each as it arrives, with its bytes; the result at the end is the whole."""
    with running_mock(WAYS / "gptimage") as mock, opened(str(WAYS / "gptimage"), mock) as one:
        stream = one.generate("a red boat", stream=True)
        seen: list[Preview] = list(stream)
        assert [preview.finished for preview in seen[-1:]] == [True]
        assert any(not preview.finished for preview in seen)
        assert all(preview.format == "png" for preview in seen)
        assert stream.result is not None
        assert stream.result.pictures[0].data == seen[-1].data

        async def story() -> list[bool]:
            async with AsyncClient(str(WAYS / "gptimage"), base_url=mock.base_url, api_key=mock.api_key) as other:
                return [preview.finished async for preview in await other.generate("a red boat", stream=True)]

        assert anyio.run(story)[-1]


def test_pictures_go_in_as_anything(nebul: RunningMock, tmp_path: Path) -> None:
    """A path, its text, bytes and a picture of Pillow's ask for the same."""
    data, path = plain(64, 64), tmp_path / "in.png"
    path.write_bytes(data)
    with opened("nebul", nebul) as one:
        for source in (path, str(path), data, Image.open(io.BytesIO(data))):
            assert one.edit(source, "at night", size=(64, 64)).pictures[0].width == 64
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as other, opened("nebul", nebul) as one:
        for client in (one, other):
            assert client.edit(url, "at night", size=(256, 256)).pictures[0].width == 256
            with pytest.raises(UsageError, match="no data URL"):
                client.edit("data:image/png;base64,?", "at night")
        # At an address, for a provider that takes none: it is fetched first, without the key, and nothing is sent where that fails.
        address = other.generate("x", size=(256, 256), delivery="url").pictures[0].url
        assert address is not None
        assert one.edit(address, "at night", size=(256, 256)).pictures[0].width == 256
        asked = len(nebul.requests())
        with pytest.raises(ConnectionFailed, match="could not be fetched"):
            one.edit(address + "1", "at night")
        with pytest.raises(AddressNotAllowed):
            one.edit("http://198.51.100.7/a.png", "at night")
        assert len(nebul.requests()) == asked

        async def story() -> int:
            async with AsyncClient("nebul", base_url=nebul.base_url, api_key=nebul.api_key) as client:
                return (await client.edit(address, "at night", size=(256, 256))).pictures[0].width

        assert anyio.run(story) == 256


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I;16"])
def test_pictures_of_pillows_go_in_whatever_their_mode(mode: str) -> None:
    """Those that PNG cannot hold too, such as the CMYK of a JPEG from a press."""
    sent = as_input_image(Image.new(mode, (8, 8)))
    assert Image.open(io.BytesIO(sent.data)).size == (8, 8)


def test_what_is_no_picture_to_send_is_told(tmp_path: Path) -> None:
    """Nobody can say what a picture of floats looks like; a file object, a closed or a truncated picture, a mask that marks with black."""
    closed = Image.open(io.BytesIO(plain(8, 8)))
    closed.close()
    bitmap = io.BytesIO()
    Image.new("RGB", (90, 90)).save(bitmap, "BMP")
    truncated = Image.open(io.BytesIO(bitmap.getvalue()[:-999]))
    wrong: list[Any] = [Image.new("F", (8, 8)), Image.new("LAB", (8, 8)), closed, truncated, io.BytesIO(plain(8, 8)), None, 3, "x" * 9000]
    for one in wrong:
        with pytest.raises(UsageError) as caught:
            as_input_image(one)
        assert len(str(caught.value)) < 400
    with running_mock("opengpu-relay") as mock, opened("opengpu-relay", mock) as client:
        black: Any = Mask(Image.new("L", (64, 64)), edits="black")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="black"):
            client.edit(Image.new("RGB", (64, 64)), "a hat", mask=black, operation="editGptImage")
        assert mock.requests() == []


def test_schemes_have_no_case_and_bytes_are_bytes(nebul: RunningMock) -> None:
    """As in every URL; a bytearray and a view of memory are what bytes are."""
    data = plain(8, 8)
    for one in ("DATA:image/png;base64," + base64.b64encode(data).decode(), bytearray(data), memoryview(data)):
        assert as_input_image(one).data == data
    with opened("nebul", nebul) as client, pytest.raises(ConnectionFailed, match="could not be fetched"):
        client.edit("HTTP://127.0.0.1:1/a.png", "at night")


def test_a_mask_is_turned_to_what_the_provider_takes(relay: RunningMock, nebul: RunningMock) -> None:
    """Transparent that is to change becomes white where that is edited, and the result says so; what it left alone survives."""
    source = Image.linear_gradient("L").resize((1024, 1024)).convert("RGB")
    clear = Image.new("RGBA", (1024, 1024), (0, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (256, 256, 768, 768))
    white = Image.new("L", (1024, 1024), 0)
    white.paste(255, (256, 256, 768, 768))
    with opened("opengpu-relay", relay) as one:
        results = [
            one.edit(source, "a hat", mask=mask, size="1024x1024", operation="editGptImage")
            for mask in (Mask(clear, edits="transparent"), Mask(white, edits="white"))
        ]
    assert ["the mask was converted" in "".join(result.notes) for result in results] == [True, False]
    for result in results:
        assert ImageChops.difference(result.pictures[0].image().convert("RGB"), source).getbbox() == (256, 256, 768, 768)
    with opened("nebul", nebul) as other, pytest.raises(UsageError, match="does not say what a mask"):
        other.edit(source, "a hat", mask=Mask(white))


@pytest.mark.parametrize("wanted", ["white", "transparent"])
def test_a_converted_mask_means_the_same(wanted: Any) -> None:
    """There and back again it marks the same share of each pixel."""
    grey = Image.linear_gradient("L").resize((16, 16))
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    once = converted(buffer.getvalue(), "transparent")
    assert list(Image.open(io.BytesIO(converted(once, "white"))).getdata()) == list(grey.getdata())
    with pytest.raises(UsageError, match="cannot be read"):
        converted(b"no picture", wanted)


def test_a_batch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Each item has an outcome; one that fails stops no other; a second run asks only for what is not there; equal prompts are two pictures."""
    items = [BatchItem(prompt, terms={"size": (256, 256)}) for prompt in ("one", "two", "forbidden", "two")]
    with running_mock("nanogpt", moderate=["forbidden"]) as mock, opened("nanogpt", mock) as one:
        heard: list[BatchOutcome] = []
        outcomes = run_batch(one, items, tmp_path / "out", concurrency=2, on_outcome=heard.append)
        assert [outcome.done for outcome in outcomes] == [True, True, False, True]
        assert len(heard) == 4
        assert len({file for outcome in outcomes for file in outcome.files}) == 3
        mock.reset()
        mock.configure(moderate=[])
        outcomes[0].files[0].unlink()
        again = run_batch(one, items, tmp_path / "out")
        assert [(outcome.done, outcome.earlier) for outcome in again] == [(True, False), (True, True), (True, False), (True, True)]
        assert len(mock.requests()) == 2


def test_a_batch_spares_the_pictures_of_another(tmp_path: Path) -> None:
    """Other prompts in the same folder get other files, and what was done before is still the same picture."""
    first, second = ([BatchItem(prompt, terms={"size": (256, 256)})] for prompt in ("one", "two"))
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as one:
        file = run_batch(one, first, tmp_path)[0].files[0]
        before = file.read_bytes()
        assert run_batch(one, second, tmp_path)[0].files[0] != file
        again = run_batch(one, first, tmp_path)[0]
        assert (again.earlier, again.files, file.read_bytes()) == (True, (file,), before)


def test_what_a_killed_batch_had_sent_is_asked_for_again_only_where_that_is_said(tmp_path: Path) -> None:
    """kill -9 with one request under way: the same command sends what was not begun, names the one that may be billed, and --resend asks for it."""
    (tmp_path / "prompts.txt").write_text("one\ntwo\nthree\n")
    with running_mock("nanogpt", latency="1") as mock:
        words = ["generate", f"nanogpt={mock.base_url}", "--prompts", "prompts.txt", "--size", "256x256", "-o", "out"]

        def command(*more: str) -> subprocess.Popen[str]:
            environment = {**os.environ, "TESTCARD_API_KEY": mock.api_key or ""}
            started = [sys.executable, "-m", "testcard.harness.cli", *words, *more]
            return subprocess.Popen(started, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def until(seen: Callable[[], bool]) -> None:
            end = time.monotonic() + 60
            while not seen() and time.monotonic() < end:
                time.sleep(0.02)

        killed, log = command(), tmp_path / "out" / "batch.jsonl"
        until(lambda: log.is_file() and log.read_text().count('"begun"') == 2)
        time.sleep(0.3)
        killed.kill()
        killed.communicate()
        until(lambda: len(mock.requests()) == 2)
        mock.configure(latency="0")
        mock.reset()
        again = command()
        said = again.communicate()[0]
        assert again.returncode == 5
        assert "two: an earlier batch sent it and was cut short" in said
        assert "--resend" in said
        assert len(mock.requests()) == 1
        last = command("--resend")
        assert "3 of 3 prompts done, 2 of them before" in last.communicate()[0]
        assert (last.returncode, len(mock.requests())) == (0, 2)


def test_a_cancelled_batch_leaves_what_it_sent_to_its_caller(tmp_path: Path) -> None:
    """Its line says that it was begun; `resend` has it asked for again, and what failed with an error is asked for in any case."""

    async def story(mock: RunningMock) -> None:
        async with AsyncClient("nanogpt", base_url=mock.base_url, api_key=mock.api_key) as one:
            with anyio.move_on_after(0.5):
                await run_batch_async(one, ["one"], tmp_path)
            mock.configure(latency="0", faults=["http.no-server-error/on-valid"])
            first, second = await run_batch_async(one, ["one", "two"], tmp_path)
            assert isinstance(first.error, Inconclusive)
            assert isinstance(second.error, ServerFailed)
            mock.configure(faults=[])
            assert [found.done for found in await run_batch_async(one, ["one", "two"], tmp_path)] == [False, True]
            assert [found.done for found in await run_batch_async(one, ["one", "two"], tmp_path, resend=True)] == [True, True]

    with running_mock("nanogpt", latency="5") as mock:
        anyio.run(story, mock)


def test_a_line_that_was_cut_swallows_no_other(tmp_path: Path) -> None:
    """A full disk, or a kill, may leave half a line in batch.jsonl: what comes after it is a line of its own, and is not asked for again."""
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as one:
        (tmp_path / "batch.jsonl").write_text('{"key": "half a l')
        run_batch(one, ["one"], tmp_path)
        assert run_batch(one, ["one"], tmp_path)[0].earlier
        assert len(mock.requests()) == 1


def test_two_batches_do_not_pay_twice_in_one_folder(tmp_path: Path) -> None:
    """While one is at work there, another is refused before anything is sent; afterwards the folder is free."""
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as one:
        refused: list[UsageError] = []

        def meanwhile(outcome: BatchOutcome) -> None:
            with pytest.raises(UsageError, match="another batch is at work") as caught:
                run_batch(one, ["one", "two"], tmp_path)
            refused.append(caught.value)

        run_batch(one, ["one", "two"], tmp_path, concurrency=1, on_outcome=meanwhile)
        assert len(refused) == 2
        assert all(outcome.earlier for outcome in run_batch(one, ["one", "two"], tmp_path))
        assert len(mock.requests()) == 2


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_picture_that_is_paid_for_gets_a_plain_name_where_its_own_cannot_be(name: str, tmp_path: Path) -> None:
    """A name that no file can have loses neither the picture nor the batch."""
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as one:
        items = [BatchItem("one", name=name), BatchItem("two", name="b")]
        first, second = run_batch(one, items, tmp_path, concurrency=1)
        assert (first.files[0].name, second.files[0].name) == ("item-0000.png", "b-0001.png")
        assert all(outcome.earlier for outcome in run_batch(one, items, tmp_path))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_folder_that_takes_no_more_ends_the_batch(asynchronous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture that was paid for is in its outcome, with the error; nothing more is asked for."""

    def full(self: Picture, path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Picture, "save", full)
    with running_mock("nanogpt") as mock, opened("nanogpt", mock) as one:

        async def story() -> list[BatchOutcome]:
            async with AsyncClient("nanogpt", base_url=mock.base_url, api_key=mock.api_key) as other:
                return await run_batch_async(other, ["one", "two", "three"], tmp_path, concurrency=1)

        outcomes = anyio.run(story) if asynchronous else run_batch(one, ["one", "two", "three"], tmp_path, concurrency=1)
        assert len(mock.requests()) == 1
    assert "No space left" in str(outcomes[0].error)
    assert outcomes[0].result is not None
    assert outcomes[0].result.pictures
    assert [outcome.done for outcome in outcomes] == [False, False, False]


def test_an_item_with_a_mask_of_pillows_is_found_again(relay: RunningMock, tmp_path: Path) -> None:
    """What it is asked for with is compared, not the object that holds it."""

    def items() -> list[BatchItem]:
        hole = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
        terms = {"mask": Mask(hole, edits="transparent"), "operation": "editGptImage"}
        return [BatchItem("a hat", "edit", (Image.new("RGB", (64, 64)),), terms)]

    with opened("opengpu-relay", relay) as one:
        assert run_batch(one, items(), tmp_path)[0].done
        assert run_batch(one, items(), tmp_path)[0].earlier


def test_prompts_from_a_file_ask_the_operation_that_is_named(relay: RunningMock, tmp_path: Path) -> None:
    """`--operation` holds for each of them, as for one prompt."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red boat\n")
    command = ["generate", f"opengpu-relay={relay.base_url}", "--prompts", str(prompts), "-o", str(tmp_path / "out")]
    assert run([*command, "--operation", "generateQwen", "--size", "64x64"]) == 0
    assert relay.requests()[-1]["operation"] == "generateQwen"


def test_prompts_are_drawn_again_where_it_is_forced(relay: RunningMock, tmp_path: Path) -> None:
    """Without --force nothing is asked for a second time; with it both prompts are, and their files are replaced, not numbered."""
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out"
    prompts.write_text("a boat\na hill\n")
    asked = ["generate", f"opengpu-relay={relay.base_url}", "--prompts", str(prompts), "-o", str(out / "{index}.png"), "--quiet"]
    assert run(asked) == 0
    before = {path.name: path.read_bytes() for path in out.glob("*.png")}
    served = len(relay.requests())
    assert run(asked) == 0
    assert len(relay.requests()) == served
    assert run([*asked, "--force"]) == 0
    assert len(relay.requests()) > served
    after = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_a_batch_ends_with_its_money(tmp_path: Path) -> None:
    """Nothing is begun after an empty account; what was not begun has neither record nor error. Async code has the same."""
    with running_mock("nanogpt", quota=2) as mock:

        async def story() -> list[BatchOutcome]:
            async with AsyncClient("nanogpt", base_url=mock.base_url, api_key=mock.api_key) as one:
                return await run_batch_async(one, [str(number) for number in range(6)], tmp_path / "out", concurrency=1)

        outcomes = anyio.run(story)
        assert [outcome.done for outcome in outcomes] == [True, True, False, False, False, False]
        assert isinstance(outcomes[2].error, PaymentRequired)
        assert outcomes[3].error is None
        assert len(mock.requests()) == 3
