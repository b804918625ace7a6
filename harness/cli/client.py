"""`testcard generate`, `edit`, `variation` and `describe`: the reference client as commands."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from testcard.harness.cli import say
from testcard.harness.client.http import DEFAULT_TIMEOUT_S
from testcard.harness.client.results import Picture, Result
from testcard.harness.client.sync import Client
from testcard.harness.client.terms import PictureSource, task_request
from testcard.harness.config import load_config
from testcard.harness.errors import UsageError
from testcard.harness.progress import PLAIN_INTERVAL_S
from testcard.harness.targets import open_target
from testcard.harness.wire.contract import choose
from testcard.specs.loader import load_provider
from testcard.specs.profile import Task

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ENDINGS = {"jpeg": "jpg"}


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | str | None:
    """A size as WIDTHxHEIGHT in pixels, or a word that the provider documents."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)[xX×](\d+)", value)
    if match:
        return int(match[1]), int(match[2])
    if not re.fullmatch(r"[A-Za-z][\w-]*", value):
        raise click.BadParameter(f"{value} is no size; write it as 512x512", ctx, param)
    return value


def _target_options(command: _Command) -> _Command:
    for option in reversed(
        (
            click.option("--base-url", metavar="URL", help="Where the target is; without it the embedded mock is started."),
            click.option("--operation", metavar="ID", help="The operation to use, where the provider has several for the task."),
            click.option("--model", "-m", metavar="M", help="The model to ask for."),
            click.option(
                "--live", is_flag=True, help="Allow a target that is not on this machine, and answers that lead off it. It can cost money."
            ),
            click.option(
                "--api-key-file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Read the key from a file (TESTCARD_API_KEY and the provider's own variable come first).",
            ),
            click.option("--no-auth", is_flag=True, help="Send no key."),
            click.option(
                "--timeout", "timeout_s", type=click.FloatRange(min=0.001), default=DEFAULT_TIMEOUT_S, show_default=True, metavar="S"
            ),
            click.option(
                "--config", type=click.Path(path_type=Path), metavar="FILE", help="testcard.toml to read (default: ./testcard.toml)."
            ),
            click.option("--quiet", "-q", is_flag=True, help="No talk on stderr, only errors."),
            click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
        )
    ):
        command = option(command)
    return command


def _picture_options(command: _Command) -> _Command:
    for option in reversed(
        (
            click.option("--size", "-s", callback=_size, metavar="WxH", help="Size in pixels, or a word the provider knows (auto)."),
            click.option("--n", "-n", type=click.IntRange(min=1), metavar="N", help="How many pictures."),
            click.option("--seed", type=int, metavar="N"),
            click.option("--format", "format", metavar="F", help="png, jpeg or webp."),
            click.option("--delivery", type=click.Choice(["url", "base64"]), help="How pictures travel; addresses are downloaded."),
            click.option("--negative-prompt", metavar="TEXT"),
            click.option("--steps", type=int, metavar="N"),
            click.option("--guidance", type=float, metavar="X"),
            click.option("--quality", metavar="WORD"),
            click.option("--async", "asynchronous", is_flag=True, default=None, help="Submit as a task and poll until it ends."),
            click.option(
                "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to write; -1, -2, … are added for several."
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("provider")
@click.argument("prompt")
@_picture_options
@_target_options
def generate(provider: str, prompt: str, **options: Any) -> None:
    """Generate pictures from PROMPT with PROVIDER (a bundled id, or a folder with its two files)."""
    _pictures("generate", provider, prompt, (), None, options)


@click.command()
@click.argument("provider")
@click.argument("image")
@click.argument("prompt")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@click.option("--mask", metavar="FILE", help="Where to edit; what its colours mean is the provider's to say.")
@click.option("--strength", type=float, metavar="X")
@_picture_options
@_target_options
def edit(provider: str, image: str, prompt: str, more: tuple[str, ...], mask: str | None, **options: Any) -> None:
    """Edit IMAGE (a file) as PROMPT says."""
    _pictures("edit", provider, prompt, (image, *more), mask, options)


@click.command()
@click.argument("provider")
@click.argument("image")
@_picture_options
@_target_options
def variation(provider: str, image: str, **options: Any) -> None:
    """Make pictures like IMAGE (a file)."""
    _pictures("variation", provider, None, (image,), None, options)


@click.command()
@click.argument("provider")
@click.argument("image")
@click.argument("prompt", default="Describe this picture.")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Print the text as it arrives.")
@click.option("--max-tokens", type=int, metavar="N")
@click.option("--temperature", type=float, metavar="X")
@_target_options
def describe(provider: str, image: str, prompt: str, more: tuple[str, ...], stream: bool, as_json: bool, **options: Any) -> None:
    """Describe IMAGE (a file, or an address where the provider takes one) in words, answering PROMPT."""
    terms = {name: options[name] for name in ("model", "max_tokens", "temperature")}
    images = (image, *more)
    with _client("describe", provider, prompt, images, None, terms, options) as client:
        if stream and not as_json:
            with client.describe(images, prompt, stream=True, operation=options["operation"], **terms) as pieces:
                for piece in pieces:
                    sys.stdout.write(_printable(piece))
                    sys.stdout.flush()
                result = pieces.finish()
            click.echo()
        else:
            result = client.describe(images, prompt, operation=options["operation"], **terms)
            click.echo(json.dumps(result.record(), indent=2) if as_json else _printable(result.text or ""))
    if not options["quiet"]:
        for note in [*result.notes, _summary(result)]:
            say(note)


@contextmanager
def _client(
    task: Task,
    name: str,
    prompt: str | None,
    images: Sequence[PictureSource],
    mask: PictureSource | None,
    terms: dict[str, Any],
    options: dict[str, Any],
) -> Iterator[Client]:
    """A client for the target that the options name; what the contract refuses is refused before anything is started."""
    config = load_config(options["config"])
    provider = load_provider(name, config.providers.path)
    choose(provider, task_request(task, prompt, images, mask, **terms), options["operation"])
    base_url = options["base_url"]
    if base_url is None and not options["quiet"]:
        say(f"no --base-url: starting the embedded mock of {provider.profile.name}; its pictures are test cards")
    with (
        open_target(
            name, base_url, config=config, live=options["live"], key_file=options["api_key_file"], no_auth=options["no_auth"]
        ) as target,
        Client(
            target.provider,
            base_url=target.base_url,
            api_key=target.api_key,
            no_auth=target.api_key is None,
            pricing=target.pricing,
            timeout_s=options["timeout_s"],
            live=options["live"],
        ) as client,
    ):
        yield client


def _pictures(task: Task, provider: str, prompt: str | None, images: tuple[str, ...], mask: str | None, options: dict[str, Any]) -> None:
    output: Path | None = options["output"]
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        problem = "is a folder" if output.is_dir() else "its folder does not exist"
        raise UsageError(f"-o {output}: {problem}", hint="name a file in a folder that exists, such as boat.png")
    names = (
        "model",
        "size",
        "n",
        "seed",
        "format",
        "delivery",
        "negative_prompt",
        "steps",
        "guidance",
        "quality",
        "asynchronous",
        "strength",
    )
    terms = {name: options[name] for name in names if options.get(name) is not None}
    with _client(task, provider, prompt, images, mask, terms, options) as client, _waiting(client, options["quiet"]):
        if task == "generate":
            result = client.generate(prompt or "", operation=options["operation"], **terms)
        elif task == "edit":
            result = client.edit(images, prompt or "", mask=mask, operation=options["operation"], **terms)
        else:
            result = client.variation(images[0], operation=options["operation"], **terms)
    files = _save(result.pictures, output, f"{provider.rstrip('/').rpartition('/')[2]}-{task}")
    if not options["quiet"]:
        for note in [*result.notes, *_size_notes(result, terms.get("size"))]:
            say(note)
    if options["as_json"]:
        click.echo(json.dumps({**result.record(), "files": [str(file) for file in files]}, indent=2))
        return
    for file, picture in zip(files, result.pictures, strict=True):
        seed = f", seed {picture.seed}" if picture.seed is not None else ""
        click.echo(f"{file}: {picture.format} {picture.width}x{picture.height}, {_bytes(len(picture.bytes))}{seed}")
    click.echo(_summary(result))


def _save(pictures: Sequence[Picture], output: Path | None, stem: str) -> list[Path]:
    """Writes each picture; `boat.png` becomes boat-1.png, boat-2.png for several. Without a name nothing is overwritten."""
    files = []
    for number, picture in enumerate(pictures, 1):
        ending = "." + _ENDINGS.get(picture.format, picture.format)
        if output is None:
            path, attempt = Path(stem + ending), 1
            while path.exists():
                attempt += 1
                path = Path(f"{stem}-{attempt}{ending}")
        else:
            path = output if output.suffix else output.with_name(output.name + ending)
            if len(pictures) > 1:
                path = path.with_name(f"{path.stem}-{number}{path.suffix}")
            if path.suffix.lower() not in (ending, f".{picture.format}"):
                say(f"{path} holds {picture.format}, whatever its name says")
        try:
            files.append(picture.save(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="name another file with -o") from None
    return files


def _size_notes(result: Result, size: Any) -> list[str]:
    if not isinstance(size, tuple):
        return []
    others = {(picture.width, picture.height) for picture in result.pictures} - {size}
    return [f"{size[0]}x{size[1]} was asked for and {width}x{height} came" for width, height in sorted(others)]


def _summary(result: Result) -> str:
    parts = [f"{result.operation}" + (f" ({result.model})" if result.model else ""), f"{result.timings.total_s:.2f} s"]
    if result.timings.first_token_s is not None:
        parts.append(f"first token after {result.timings.first_token_s:.2f} s")
    if result.usage is not None and result.usage.total_tokens is not None:
        parts.append(f"{result.usage.total_tokens} tokens")
    if result.cost_usd is None:
        parts.append("no price known")
    else:
        whose = {"answer": "as the answer states", "illustrative": "illustrative price", "list": "list price", "config": "your price"}
        digits = 4 if result.cost_usd >= 0.01 or result.cost_usd == 0 else 6
        parts.append(f"${result.cost_usd:.{digits}f} ({whose.get(result.price_origin, result.price_origin)})")
    return ", ".join(parts)


def _printable(text: str) -> str:
    """The text without control sequences: a terminal would obey what a stranger's model says."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def _bytes(size: int) -> str:
    return f"{size} B" if size < 1000 else f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


@contextmanager
def _waiting(client: Client, quiet: bool) -> Iterator[None]:
    """While the target works: a spinner on a terminal, one line every ten seconds elsewhere."""
    name = client.settings.provider.profile.name
    if quiet:
        yield
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(f"waiting for {name}"):
            yield
    else:
        done = threading.Event()
        thread = threading.Thread(target=_tell_time, args=(name, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _tell_time(name: str, done: threading.Event) -> None:
    waited_s = 0.0
    while not done.wait(PLAIN_INTERVAL_S):
        waited_s += PLAIN_INTERVAL_S
        say(f"waiting for {name}, {waited_s:.0f} s")
