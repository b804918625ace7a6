"""One size of picture for all that do the same task: the one named, else 1024×1024 where all document it, else the nearest that all do.

Targets that were asked for pictures of different sizes are not ranked with each other, so without a common size there is no answer.
A size counts as documented where the profile lists it (as one to accept or one that may be refused), where the schema does (in a list, as
the default or as an example), or where the schema's bounds of width and height hold it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from testcard.benchmarks.plan import turn_order
from testcard.benchmarks.plan.job import CellJob
from testcard.benchmarks.plan.workload import SAME, Workload
from testcard.harness.config import TargetSection
from testcard.harness.wire.fields import pixel_size, schema_of, task_value
from testcard.specs.loader import Provider
from testcard.specs.openapi import Schema
from testcard.specs.profile import WireField

Pixels = tuple[int, int]
#: What is asked for where everybody documents it.
WANTED: Pixels = (1024, 1024)
#: Squares that are tried where documents give bounds and no list.
_USUAL = tuple((edge, edge) for edge in (1024, 768, 512, 1536, 2048, 256, 128, 64))
_MEANINGS = ("size", "width", "height", "aspect_ratio", "tier")


@dataclass(frozen=True, slots=True)
class Offer:
    """The sizes that an operation documents for a model. `listed`: by name; `edges`: where an edge has a least, a greatest and a step.

    Both empty: it draws one size (`fixed`), or nobody says what.
    """

    listed: tuple[Pixels, ...] = ()
    edges: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None
    fixed: Pixels | None = None
    settable: bool = True

    def has(self, size: Pixels) -> bool:
        """Whether the size is documented."""
        if size in self.listed or size == self.fixed:
            return True
        if self.edges is None:
            return False
        return all(low <= edge <= high and edge % step == 0 for edge, (low, high, step) in zip(size, self.edges, strict=True))

    def examples(self) -> Iterator[Pixels]:
        """Sizes to try: all that are listed, and of bounds the usual squares and the one nearest to 1024."""
        yield from self.listed
        if self.fixed is not None:
            yield self.fixed
        if self.edges is not None:
            width, height = (min(max(1024, low), high) // step * step for low, high, step in self.edges)
            yield from ((width, height), (min(width, height),) * 2, *_USUAL)

    @property
    def known(self) -> bool:
        """Whether anything is documented."""
        return bool(self.listed) or self.edges is not None or self.fixed is not None

    def nearest(self) -> Pixels | None:
        """The documented size nearest to 1024×1024; None where none is."""
        return _nearest(size for size in self.examples() if self.has(size))


def _nearest(sizes: Iterable[Pixels]) -> Pixels | None:
    """The size of the area nearest to 1024×1024 (as a ratio), squares before others, larger before smaller."""
    return min(sizes, key=_distance, default=None)


def _distance(size: Pixels) -> tuple[float, float, int]:
    width, height = size
    return abs(math.log(width * height / (WANTED[0] * WANTED[1]))), abs(math.log(width / height)), -width


def offer(provider: Provider, operation: str, model: str | None) -> Offer:
    """What sizes the profile and the schema of an operation document."""
    provider = provider.for_model(model)
    profile = provider.operation_profile(operation)
    schema = next(iter(provider.operation(operation).request_content.values()), {})
    properties: Mapping[str, Any] = schema.get("properties") or {}
    found: dict[str, tuple[WireField, Schema]] = {}
    for name in profile.fields:
        entry = provider.field(operation, name, model)
        if entry is not None and entry.means in _MEANINGS:
            found.setdefault(entry.means, (entry, schema_of(properties, name)))
    default = profile.response.default_size
    fixed = (int(default[0]), int(default[1])) if default else None
    if "size" in found:
        sizes = [pixel_size(str(value)) for value in _values(*found["size"])]
        return Offer(tuple(dict.fromkeys(size for size in sizes if size is not None)))
    if "width" in found and "height" in found:
        width, height = (_whole(_values(*found[name])) for name in ("width", "height"))
        listed = tuple((each, other) for each in width for other in height)
        bounds = [_bounds(found[name][1]) for name in ("width", "height")]
        edges = (bounds[0], bounds[1]) if bounds[0] is not None and bounds[1] is not None else None
        return Offer(listed, edges)
    if "aspect_ratio" in found:
        square = "1:1" in {str(value) for value in _values(*found["aspect_ratio"])}
        tiers = profile.response.tier_edge_px if "tier" in found else {}
        offered = {str(value) for value in _values(*found["tier"])} if "tier" in found else set()
        listed = tuple((edge, edge) for tier, edge in tiers.items() if tier in offered) if square else ()
        return Offer(listed) if listed else Offer(fixed=fixed if square else None, settable=square and fixed is not None)
    return Offer(fixed=fixed, settable=False)


def _values(entry: WireField, schema: Schema) -> list[object]:
    """The task values of a field that the profile or the schema lists, each once."""
    every = [*entry.must_accept, *entry.may_refuse, entry.cheapest, schema.get("default"), schema.get("example")]
    for key in ("enum", "examples"):
        named = schema.get(key)
        every += named if isinstance(named, list) else []
    return list(dict.fromkeys(task_value(entry, value) for value in every if isinstance(value, str | int | float)))


def _whole(values: Iterable[object]) -> list[int]:
    return [int(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _bounds(schema: Schema) -> tuple[int, int, int] | None:
    """Least, greatest and step of an edge; None without both ends, and where a list says what there is."""
    if schema.get("enum"):
        return None
    low, high, step = (schema.get(name) for name in ("minimum", "maximum", "multipleOf"))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return math.ceil(low), math.floor(high), int(step) if isinstance(step, int | float) and step >= 1 else 1


@dataclass(frozen=True, slots=True)
class Settled:
    """The cells with their sizes, and what is said of it before anything is sent."""

    cells: list[CellJob]
    said: list[str]


def settled(providers: Sequence[Provider], cells: Sequence[CellJob], sizes: Sequence[str]) -> Settled:
    """The cells, of which all of one task get one size where the workload leaves it open (`same`); `providers` by the cells' targets."""
    if SAME not in sizes:
        return Settled(list(cells), [])
    found = {index: offer(providers[cell.target], cell.operation, cell.model) for index, cell in enumerate(cells)}
    done: list[CellJob] = list(cells)
    said: list[str] = []
    for task in dict.fromkeys(cell.task for cell in cells):
        group = {index: found[index] for index, cell in enumerate(cells) if cell.task == task}
        common = _common(list(group.values()))
        chosen = {index: common if common is not None else each.nearest() for index, each in group.items()}
        for index, size in chosen.items():
            word = _written(size) if size is not None and group[index].known and group[index].settable else SAME
            done[index] = msgspec.structs.replace(cells[index], sizes=[word if named == SAME else named for named in sizes])
        said += _sentences(task, cells, group, chosen, common)
    return Settled(done, said)


def announced(targets: Sequence[turn_order.Placed], sections: Sequence[TargetSection], workload: Workload) -> list[str]:
    """What `bench` of these targets says of sizes. `UsageError` as from `turn_order.cells`."""
    cells = turn_order.cells(targets, (), (), workload, sections)
    return settled([target.provider for target in targets], cells, workload.sizes).said


def _common(offers: Sequence[Offer]) -> Pixels | None:
    """The size nearest to 1024×1024 that all document who document any; None where there is none."""
    known = [each for each in offers if each.known]
    if known and all(each.has(WANTED) for each in known):
        return WANTED
    return _nearest(size for each in known for size in each.examples() if all(other.has(size) for other in known))


def _written(size: Pixels) -> str:
    return f"{size[0]}x{size[1]}"


def _shown(size: Pixels | None) -> str:
    return "a size of its own" if size is None else f"{size[0]}×{size[1]}"


def _sentences(
    task: str, cells: Sequence[CellJob], group: Mapping[int, Offer], chosen: Mapping[int, Pixels | None], common: Pixels | None
) -> Iterator[str]:
    """What size is asked for and why, for a person; nothing where a task has to do with no size."""
    if not any(each.known for each in group.values()):
        return
    several = len({cells[index].target for index in group}) > 1
    if common is None:
        each = ", ".join(f"{_name(cells[index])} {_shown(size)}" for index, size in chosen.items())
        yield f"size ({task}): no size is documented by all; {each}. They are compared apart (--size WxH asks all for one)"
        return
    whom = f"all targets ({task})" if several else task
    nearest = f", the nearest to {_shown(WANTED)} that {'all document' if several else 'is documented'}" if common != WANTED else ""
    yield f"size: {_shown(common)} for {whom}{nearest}"
    if unknown := [_name(cells[index]) for index, each in group.items() if not each.known]:
        yield f"size: {', '.join(unknown)} cannot be asked for one, and draws what it draws"


def _name(cell: CellJob) -> str:
    return cell.provider if cell.model is None else f"{cell.provider} {cell.model}"
