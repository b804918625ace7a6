"""`testcard generate`, `edit`, `variation` and `describe`: the reference client as commands."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import click

from testcard.harness.cli import drawing, say
from testcard.harness.cli.options import CONFIG, MODEL, OPERATION, PATH, PROVIDER, SECONDS, USD, WhereAndKey, limit_option, option, takes
from testcard.harness.client.attempts import Retry, TaskUpdate
from testcard.harness.client.http import DEFAULT_TIMEOUT_S
from testcard.harness.client.masks import Mask
from testcard.harness.client.results import Picture, Result
from testcard.harness.client.spending import SpendingGuard
from testcard.harness.client.sync import Client
from testcard.harness.client.terms import is_address, task_request
from testcard.harness.config import load_config
from testcard.harness.errors import UsageError
from testcard.harness.progress import PLAIN_INTERVAL_S
from testcard.harness.redaction import TextInPieces
from testcard.harness.targets import named_target, open_target
from testcard.harness.text.words import amount, data_size
from testcard.harness.wire.contract import choose
from testcard.specs.loader import load_provider
from testcard.specs.profile import Task

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | str | None:
    """A size as WIDTHxHEIGHT in pixels, or a word that the provider documents."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})[xX×]([0-9]{1,9})", value)
    if match:
        return int(match[1]), int(match[2])
    if not re.fullmatch(r"[A-Za-z][\w-]*", value):
        raise click.BadParameter(f"{value} is no size; write it as 512x512", ctx, param)
    return value


def _fields(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, Any] | None:
    """Further fields by wire name: each value as the JSON that it is, else as text."""
    found: dict[str, Any] = {}
    for pair in value:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair} is no field; write it as name=value", ctx, param)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found or None


@dataclass(frozen=True, slots=True)
class _Target(WhereAndKey):
    """Whom to ask for what, and how long to wait."""

    operation: Annotated[
        str | None, option("--operation", type=OPERATION, metavar="ID", help="The operation, where the provider has several.")
    ] = None
    model: Annotated[str | None, option("--model", "-m", type=MODEL, metavar="M", help="The model to ask for.")] = None
    timeout_s: Annotated[
        float,
        option("--timeout", type=SECONDS, show_default=True, metavar="S", help="Seconds for each request, poll and download."),
    ] = DEFAULT_TIMEOUT_S
    config_file: Annotated[Path | None, option(*CONFIG[0], **CONFIG[1])] = None


@dataclass(frozen=True, slots=True)
class _Talk:
    """How much is said."""

    quiet: Annotated[bool, option("--quiet", "-q", is_flag=True, help="No talk on stderr, only errors.")] = False
    as_json: Annotated[bool, option("--json", is_flag=True, help="Print the result as one JSON object.")] = False


@dataclass(frozen=True, slots=True)
class _Show(_Talk):
    """How much is said, and whether the terminal shows what came."""

    preview: Annotated[
        str,
        option(
            "--preview",
            type=click.Choice(["auto", "kitty", "iterm", "sixel", "none"]),
            show_default=True,
            help="Show the pictures in the terminal.",
        ),
    ] = "auto"


@dataclass(frozen=True, slots=True)
class _Care:
    """What may be spent and repeated."""

    attempts: Annotated[
        int,
        option(
            "--attempts",
            type=click.IntRange(1, 20),
            show_default=True,
            metavar="N",
            help="How often to try where nothing was billed (429).",
        ),
    ] = 1
    max_requests: Annotated[int | None, option("--max-requests", type=click.IntRange(min=0), metavar="N", help="Never send more.")] = None
    max_cost: Annotated[float | None, option("--max-cost", type=USD, metavar="USD", help="Never spend more; needs a known price.")] = None


@dataclass(frozen=True, slots=True)
class _Edited:
    """Where and how far a picture is edited."""

    mask: Annotated[str | None, option("--mask", metavar="FILE", help="Where to edit; it is sent as it is.")] = None
    mask_edits: Annotated[
        Literal["white", "transparent"] | None,
        option(
            "--mask-edits", type=click.Choice(["white", "transparent"]), help="What the mask marks; converted to what the provider takes."
        ),
    ] = None
    strength: Annotated[float | None, option("--strength", type=float, metavar="X", help="How far from the input picture to go.")] = None

    def what(self) -> str | Mask | None:
        """The mask, with what it marks where that is said."""
        if self.mask_edits is None:
            return self.mask
        if self.mask is None:
            raise UsageError("--mask-edits says what a mask marks, and there is none", hint="add --mask FILE")
        return Mask(self.mask, self.mask_edits)


@dataclass(frozen=True, slots=True)
class _PictureTerms:
    """What pictures are to be like; what is None is not sent. The names are those of `harness.client.terms.Terms`."""

    size: Annotated[
        Any, option("--size", "-s", callback=_size, metavar="WxH", help="Size in pixels, or a word the provider knows (auto).")
    ] = None
    n: Annotated[int | None, option("--n", "-n", type=click.IntRange(min=1), metavar="N", help="How many pictures.")] = None
    seed: Annotated[
        int | None, option("--seed", type=int, metavar="N", help="Same seed, same picture, where the provider promises it.")
    ] = None
    format: Annotated[str | None, option("--format", metavar="F", help="png, jpeg or webp.")] = None
    delivery: Annotated[
        str | None,
        option("--delivery", type=click.Choice(["url", "base64", "binary"]), help="How pictures travel; addresses are downloaded."),
    ] = None
    negative_prompt: Annotated[str | None, option("--negative-prompt", metavar="TEXT", help="What not to show.")] = None
    steps: Annotated[int | None, option("--steps", type=int, metavar="N", help="Denoising steps.")] = None
    guidance: Annotated[float | None, option("--guidance", type=float, metavar="X", help="How closely to keep to the prompt.")] = None
    quality: Annotated[str | None, option("--quality", metavar="WORD", help="A quality that the provider knows.")] = None
    aspect_ratio: Annotated[str | None, option("--aspect-ratio", metavar="W:H", help="The shape, where the provider takes one.")] = None
    style: Annotated[str | None, option("--style", metavar="WORD", help="A style that the provider knows.")] = None
    stream: Annotated[bool | None, option("--stream", is_flag=True, help="Have pictures streamed, where the provider streams them.")] = None
    asynchronous: Annotated[bool | None, option("--async", is_flag=True, help="Submit as a task and poll until it ends.")] = None
    extra: Annotated[
        dict[str, Any] | None,
        option("--field", callback=_fields, multiple=True, metavar="NAME=VALUE", help="A further field by its wire name; JSON or text."),
    ] = None


@dataclass(frozen=True, slots=True)
class _Work:
    """What is asked for: a task with its inputs and its terms."""

    task: Task
    prompt: str | None
    images: tuple[str, ...] = ()
    mask: str | Mask | None = None
    terms: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the client is to work: the provider, the target, and how much is said."""

    provider: str
    target: _Target
    talk: _Talk
    care: _Care = field(default_factory=_Care)


def _picture_command(command: _Command) -> _Command:
    """The options of a command that gets pictures."""
    force = click.option("--force", is_flag=True, help="Overwrite the file that -o names; with --prompts: get again what is there.")
    output = click.option(
        "--output",
        "-o",
        type=PATH,
        metavar="FILE",
        help="Where to write; -1, -2, … are added for several. Fields in braces are filled in: '{prompt:.20}-{seed}.png'.",
    )
    return takes("picture", _PictureTerms)(
        output(force(takes("target", _Target)(takes("care", _Care)(limit_option(takes("talk", _Show)(command))))))
    )


@click.command()
@click.argument("provider", type=PROVIDER, metavar="PROVIDER[=URL]")
@click.argument("prompt", required=False)
@click.option(
    "--prompts", type=PATH, metavar="FILE", help="A prompt a line (- for standard input) into the folder -o; again goes on from there."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="With --prompts: so many at once."
)
@click.option("--resend", is_flag=True, help="With --prompts: ask again for what was under way when it was killed; it may be billed twice.")
@_picture_command
def generate(
    provider: str,
    prompt: str | None,
    prompts: Path | None,
    concurrency: int,
    resend: bool,
    picture: _PictureTerms,
    output: Path | None,
    force: bool,
    target: _Target,
    care: _Care,
    talk: _Show,
) -> None:
    """Generate pictures from PROMPT with PROVIDER (a bundled id, or a folder with its two files).

    Example: testcard generate nanogpt "a red boat" --size 512x512 -o boat.png
    """
    if (prompt is None) is (prompts is None):
        raise UsageError("there is no prompt" if prompt is None else "there are two kinds of prompt", hint="give PROMPT or --prompts FILE")
    place = _Place(provider, target, talk, care)
    if prompts is None:
        _pictures(_Work("generate", prompt, terms=asdict(picture)), place, output, force)
        return
    drawing.refuse_unwritable(output)
    lines = drawing.read_prompts(prompts)
    if picture.stream:
        raise UsageError("--stream goes with one prompt", hint="leave it out")
    with _client(_Work("generate", lines[0], terms=asdict(picture)), place) as (client, terms):
        asked = terms if target.operation is None else {**terms, "operation": target.operation}
        many = drawing.Batching(concurrency, force, resend)
        drawing.carry_out(client, lines, "generate", asked, output, many, quiet=talk.quiet, as_json=talk.as_json)


@click.command()
@click.argument("provider", type=PROVIDER, metavar="PROVIDER[=URL]")
@click.argument("image")
@click.argument("prompt")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@takes("marked", _Edited)
@_picture_command
def edit(
    provider: str,
    image: str,
    prompt: str,
    more: tuple[str, ...],
    marked: _Edited,
    picture: _PictureTerms,
    output: Path | None,
    force: bool,
    target: _Target,
    care: _Care,
    talk: _Show,
) -> None:
    """Edit IMAGE (a file) as PROMPT says.

    Example: testcard edit nebul boat.png "at night" -o night.png
    """
    work = _Work("edit", prompt, (image, *more), marked.what(), {**asdict(picture), "strength": marked.strength})
    _pictures(work, _Place(provider, target, talk, care), output, force)


@click.command()
@click.argument("provider", type=PROVIDER, metavar="PROVIDER[=URL]")
@click.argument("image")
@_picture_command
def variation(
    provider: str, image: str, picture: _PictureTerms, output: Path | None, force: bool, target: _Target, care: _Care, talk: _Show
) -> None:
    """Make pictures like IMAGE (a file).

    Example: testcard variation nebul boat.png -o another.png
    """
    _pictures(_Work("variation", None, (image,), terms=asdict(picture)), _Place(provider, target, talk, care), output, force)


@click.command()
@click.argument("provider", type=PROVIDER, metavar="PROVIDER[=URL]")
@click.argument("image")
@click.argument("prompt", default="Describe this picture.")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Print the text as it arrives.")
@click.option("--max-tokens", type=int, metavar="N", help="The longest answer.")
@click.option("--temperature", type=float, metavar="X", help="How freely to choose words.")
@takes("target", _Target)
@takes("care", _Care)
@limit_option
@takes("talk", _Talk)
def describe(
    provider: str,
    image: str,
    prompt: str,
    more: tuple[str, ...],
    stream: bool,
    max_tokens: int | None,
    temperature: float | None,
    target: _Target,
    care: _Care,
    talk: _Talk,
) -> None:
    """Describe IMAGE (a file, or an address where the provider takes one) in words, answering PROMPT.

    Example: testcard describe nvidia-nim-vision boat.png "What colour is it?"
    """
    work = _Work("describe", prompt, (image, *more), terms={"max_tokens": max_tokens, "temperature": temperature})
    with _client(work, _Place(provider, target, talk, care)) as (client, terms):
        if stream and not talk.as_json:
            with client.describe(work.images, prompt, stream=True, operation=target.operation, **terms) as pieces:
                shown = TextInPieces()
                try:
                    for piece in pieces:
                        sys.stdout.write(_printable(shown.add(piece)))
                        sys.stdout.flush()
                    result = pieces.finish()
                finally:
                    sys.stdout.write(_printable(shown.end()))
            click.echo()
        else:
            result = client.describe(work.images, prompt, operation=target.operation, **terms)
            click.echo(json.dumps(result.record(), indent=2) if talk.as_json else _printable(result.text or ""))
    if not talk.quiet:
        for note in [*result.notes, _summary(result)]:
            say(note)


@contextmanager
def _client(work: _Work, place: _Place) -> Iterator[tuple[Client, Any]]:
    """A client for the target that the options name, and the terms to call it with.

    What the contract refuses is refused before anything is started.
    """
    config, target = load_config(place.target.config_file), place.target
    name, url = named_target(place.provider)
    if url is not None and target.base_url is not None:
        raise UsageError("the base URL is given twice", hint=f"leave --base-url out, or write {name} alone")
    base_url = url or target.base_url
    terms: Any = {name: value for name, value in {**(work.terms or {}), "model": target.model}.items() if value is not None}
    provider = load_provider(name, config.providers.path)
    plain: Any = work.mask.picture if isinstance(work.mask, Mask) else work.mask
    # What lies at an address is fetched by the client where it has to be; here any picture stands for it.
    images = [b"" if is_address(one) else one for one in work.images]
    choose(provider, task_request(work.task, work.prompt, images, plain, **terms), target.operation)
    if base_url is None and not place.talk.quiet:
        say(f"no base URL: starting the embedded mock of {provider.profile.name}; its pictures are test cards")
    with (
        open_target(name, base_url, config=config, live=target.live, key_file=target.api_key_file, no_auth=target.no_auth) as opened,
        Client(
            opened.provider,
            base_url=opened.base_url,
            api_key=opened.api_key,
            no_auth=opened.api_key is None,
            pricing=opened.pricing,
            timeout_s=target.timeout_s,
            live=target.live,
            retry=Retry(place.care.attempts),
            budget=_guard(place.care),
        ) as client,
    ):
        yield client, terms


def _pictures(work: _Work, place: _Place, output: Path | None, force: bool) -> None:
    """Gets the pictures, writes them, and prints where they are."""
    drawing.refuse_unwritable(output)
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        problem = "is a folder" if output.is_dir() else "its folder does not exist"
        raise UsageError(f"-o {output}: {problem}", hint="name a file in a folder that exists, such as boat.png")
    if output is not None and drawing.Template.is_one(str(output)):
        drawing.Template(str(output))  # what cannot be filled in is said before anything is paid for
    elif output is not None and not force:
        drawing.refuse_to_overwrite(output)
    with _client(work, place) as (client, terms), _waiting(client, place.talk.quiet) as tell:
        result = _asked(client, work, place.target.operation, terms, tell)
    asked = drawing.Asked(work.prompt, terms.get("seed"))
    files = drawing.save(
        result, output, f"{named_target(place.provider)[0].rstrip('/').rpartition('/')[2]}-{work.task}", asked, force=force
    )
    if not place.talk.quiet:
        for note in [*result.notes, *_size_notes(result, terms.get("size"))]:
            say(note)
    if place.talk.as_json:
        click.echo(json.dumps({**result.record(), "files": [str(file) for file in files]}, indent=2))
        return
    _show(result.pictures, place.talk.preview if isinstance(place.talk, _Show) else "none")
    for file, picture in zip(files, result.pictures, strict=True):
        seed = f", seed {picture.seed}" if picture.seed is not None else ""
        click.echo(f"{file}: {picture.format} {picture.width}x{picture.height}, {data_size(len(picture.data))}{seed}")
    click.echo(_summary(result))


def _asked(client: Client, work: _Work, operation: str | None, terms: Any, tell: Callable[[str], None]) -> Result:
    """The result of a task that gets pictures; of one that is submitted, `tell` hears how it is doing."""
    if terms.get("asynchronous"):
        handle = client.submit(work.prompt, task=work.task, images=work.images, mask=work.mask, operation=operation, **terms)
        return handle.wait(lambda update: tell(_words_of(update)))
    if work.task == "generate":
        asked = client.generate(work.prompt or "", operation=operation, **terms)
        return asked if isinstance(asked, Result) else asked.finish()
    if work.task == "edit":
        return client.edit(work.images, work.prompt or "", mask=work.mask, operation=operation, **terms)
    return client.variation(work.images[0], operation=operation, **terms)


def _words_of(update: TaskUpdate) -> str:
    share = f", {update.progress:g}" if update.progress is not None else ""
    return _printable(f"the task is {update.phase or update.state or 'on its way'}{share}")


def _guard(care: _Care) -> SpendingGuard | None:
    """The limit that the options set; None without one."""
    if care.max_requests is None and care.max_cost is None:
        return None
    return SpendingGuard(max_requests=care.max_requests, max_usd=care.max_cost)


def _show(pictures: Sequence[Picture], preview: str) -> None:
    """Draws them in the terminal, where it is one that shows pictures or the user says which kind it is."""
    way = drawing.way_of(os.environ) if preview == "auto" and sys.stdout.isatty() else preview
    if way in ("kitty", "iterm", "sixel"):
        for picture in pictures:
            sys.stdout.write(drawing.drawn(picture.image(), cast("drawing.Way", way)))
        sys.stdout.flush()


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
        parts.append(f"{amount(result.cost_usd)} ({whose.get(result.price_origin, result.price_origin)})")
    return ", ".join(parts)


def _printable(text: str) -> str:
    """The text without control sequences: a terminal would obey what a stranger's model says."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


@contextmanager
def _waiting(client: Client, quiet: bool) -> Iterator[Callable[[str], None]]:
    """While the target works: a spinner on a terminal, one line every ten seconds elsewhere. Gives what tells how it is going."""
    name = client.settings.provider.profile.name
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(f"waiting for {name}") as status:
            yield lambda said: status.update(f"waiting for {name}: {said}")
    else:
        done = threading.Event()
        latest: list[str] = []
        thread = threading.Thread(target=_tell_time, args=(name, done, latest), daemon=True)
        thread.start()
        try:
            yield lambda said: latest.__setitem__(slice(None), [said])
        finally:
            done.set()
            thread.join()


def _tell_time(name: str, done: threading.Event, latest: list[str]) -> None:
    waited_s = 0.0
    while not done.wait(PLAIN_INTERVAL_S):
        waited_s += PLAIN_INTERVAL_S
        say(", ".join([f"waiting for {name}, {waited_s:.0f} s", *latest]))
