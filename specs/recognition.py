"""What a document says about an operation without being asked: which of its fields means what, and how a value is spelt there.

Fields are recognised by their name, then by what their schema lists or their description says. What is not recognised means `other`:
it is sent only where a profile gives it a value. Everything here is a profile's own vocabulary as plain data, which a profile may replace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from testcard.specs.agreement import SAID_BY_REQUESTS
from testcard.specs.openapi import Operation
from testcard.specs.pointers import MISSING, parts_of, pointer_of, wire_parts
from testcard.specs.schemas import Schema, allows, schema_at, stated_value, type_of

Data = dict[str, Any]

#: Names of fields, without their separators and in lower case, by what they mean.
_NAMES: Mapping[str, frozenset[str]] = {
    "prompt": frozenset({"prompt", "textprompt", "prompttext", "positiveprompt", "inputprompt", "inputtext", "text", "inputs", "promptstring"}),
    "negative_prompt": frozenset({"negativeprompt", "negprompt", "negativetext"}),
    "model": frozenset({"model", "modelid", "modelname", "sdmodel", "deploymentid", "deployment", "engineid", "modelslug"}),
    "n": frozenset({
        "n", "numimages", "numberofimages", "numoutputs", "samples", "batchsize", "imagecount", "count", "numsamples", "numresults", "samplecount", "imagescount", "nimages",
        "imagenum", "numberresults", "numberofresults", "numvariations", "outputcount", "imgcount", "imgnum", "nsamples", "niter",
    }),
    "size": frozenset({"size", "imagesize", "imgsize", "resolution", "dimensions", "outputsize"}),
    "width": frozenset({"width", "imagewidth", "imgwidth", "outputwidth", "w"}),
    "height": frozenset({"height", "imageheight", "imgheight", "outputheight", "h"}),
    "aspect_ratio": frozenset({"aspectratio", "ratio"}),
    "seed": frozenset({"seed", "randomseed", "noiseseed"}),
    "steps": frozenset({"steps", "numinferencesteps", "numsteps", "inferencesteps", "samplingsteps"}),
    "guidance": frozenset({"guidance", "guidancescale", "cfgscale", "cfg", "truecfgscale"}),
    "strength": frozenset({"strength", "imagestrength", "promptstrength", "initstrength", "denoisingstrength"}),
    "sampler": frozenset({"sampler", "samplername", "scheduler"}),
    "format": frozenset({"outputformat", "imageformat", "imgformat", "format", "mimetype", "outputmimetype", "responseimagetype", "imagetype", "fileformat"}),
    "delivery": frozenset({"responseformat", "outputtype", "returntype", "responsetype"}),
    "quality": frozenset({"quality"}),
    "style": frozenset({"style", "styletype", "stylepreset", "presetstyle"}),
    "background": frozenset({"background"}),
    "user": frozenset({"user"}),
    "stream": frozenset({"stream"}),
    "async": frozenset({"async"}),
    "mask": frozenset({"mask", "maskimage", "maskfile", "maskimagefile", "maskurl", "maskdataurl", "maskimageurl", "inputmask"}),
    "image": frozenset({
        "image", "images", "imagefile", "imagefiles", "inputimagefile", "initimagefile", "sourceimagefile", "inputimage", "inputimages", "initimage", "initimages", "imageurl", "imageurls", "sourceimage", "referenceimage",
        "referenceimages", "imageprompt", "imagedataurl", "imagedataurls", "inputimageurl", "baseimage",
    }),
    "safety_tolerance": frozenset({"safetytolerance"}),
    "max_tokens": frozenset({"maxtokens", "maxcompletiontokens"}),
    "temperature": frozenset({"temperature"}),
    "messages": frozenset({"messages"}),
}  # fmt: skip
_TASK_IDS = frozenset({"id", "taskid", "requestid", "generationid", "jobid", "predictionid", "uuid"})
#: Parameters of a path that hold the two halves of a model's name.
_OWNERS = frozenset({"owner", "organisation", "organization", "org", "publisher", "namespace", "modelowner"})
_OWNED = frozenset({"name", "model", "modelname", "modelid", "slug"})
#: Objects of a body that hold its settings, by their names.
_SETTINGS = re.compile(r"param|option|config|setting|input|arg|image|request|extra|output|size|dimension|resolution|^0$", re.I)
_PIXELS = re.compile(r"^\D*?([1-9]\d{2,4})\D([1-9]\d{2,4})\D*$")
_RATIO = re.compile(r"^\D*?([1-9]\d?)\D([1-9]\d?)\D*$")
_TIER = re.compile(r"^\d(\.\d)?[Kk]$|^\d+ ?MP$", re.IGNORECASE)
_FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}
#: The value of a base request where its cost depends on it, in the order of what is usually cheapest.
_CHEAP_QUALITIES = ("low", "draft", "turbo", "standard", "auto", "medium", "hd", "high")
_ORDINARY_EDGE_PX = 512


def bare(name: str) -> str:
    """A name without separators and capitals: `numInferenceSteps`, `num_inference_steps` and `num-inference-steps` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def field_data(name: str, schema: Schema, *, location: str = "body") -> Data:
    """A field as a profile would write it: what it means, its format, and its values where the wire spells them in another way.

    A name that leads into an object (`options[seed]`, `options.seed`) means what its last part does.
    """
    plain = bare(name)
    if not any(plain in names for names in _NAMES.values()):
        plain = bare(re.split(r"[.\[]", name.strip("]"))[-1]) or plain
    if location == "path" and plain in _TASK_IDS:
        return {"means": "task_id"}
    index = re.fullmatch(r"(.*?image)(\d)", plain)
    meaning = next((word for word, names in _NAMES.items() if plain in names or (word == "image" and index and index[1] in names)), "other")
    refine = _REFINED.get(meaning)
    found = refine(schema) if refine is not None else {"means": meaning}
    if meaning == "image" and found["means"] == "image" and index:
        found["index"] = max(0, int(index[2]) - 1)
    return found


def _listed(schema: Schema) -> list[Any]:
    """Every value that the schema lists, also where it lists some among others it takes."""
    values = [schema["const"]] if "const" in schema else list(schema.get("enum") or ())
    for word in ("anyOf", "oneOf"):
        for branch in schema.get(word) or ():
            values += _listed(branch) if isinstance(branch, Mapping) else []
    return [value for value in dict.fromkeys(value for value in values if not isinstance(value, dict | list)) if value is not None]


def _words(schema: Schema) -> list[str]:
    return [value for value in _listed(schema) if isinstance(value, str)]


def _said(schema: Schema) -> str:
    items = schema.get("items")
    inner = items.get("description", "") if isinstance(items, Mapping) else ""
    return f"{schema.get('description', '')} {inner}".lower()


def _prompt(schema: Schema) -> Data:
    return {"means": "prompt" if _is_text(schema) else "other"}


def _number(meaning: str, cheapest: Sequence[int] = ()) -> Any:
    def refined(schema: Schema) -> Data:
        if type_of(schema) == "string":
            texts = (*map(str, cheapest), schema.get("default"), *(str(value) for value in _ORDINARY.get(meaning, (1,))))
            text = next((one for one in texts if isinstance(one, str) and allows(schema, one)), None)
            return {"means": meaning, "format": "text", **({"cheapest": text} if text is not None and meaning != "seed" else {})}
        if type_of(schema) not in ("integer", "number"):
            return {"means": "other"}
        fit = next((value for value in cheapest if _fits(value, schema)), None)
        return {"means": meaning, **({"cheapest": fit} if fit is not None else {})}

    return refined


def _fits(value: float, schema: Schema) -> bool:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if (low is not None and value < low) or (high is not None and value > high):
        return False
    listed = _listed(schema)
    return (not listed or value in listed) and not (step and value % step)


def _edge(meaning: str) -> Any:
    def refined(schema: Schema) -> Data:
        if type_of(schema) == "string":
            texts = (str(_ORDINARY_EDGE_PX), schema.get("default"), "1024", *_words(schema)[:1])
            text = next((one for one in texts if isinstance(one, str) and one.isdigit() and allows(schema, one)), None)
            return {"means": meaning, "format": "text", **({"cheapest": text} if text is not None else {})}
        if type_of(schema) not in ("integer", "number"):
            return {"means": "other"}
        low = schema.get("minimum")
        choices = (_ORDINARY_EDGE_PX, schema.get("default"), low, 1024, *_listed(schema)[:1])
        fit = next((value for value in choices if isinstance(value, int | float) and _fits(value, schema)), None)
        return {"means": meaning, **({"cheapest": int(fit)} if fit is not None else {})}

    return refined


def _size(schema: Schema) -> Data:
    words = _words(schema)
    if words and all(_TIER.match(word) for word in words):
        return {"means": "tier", "cheapest": words[0]}
    if type_of(schema) not in ("string", None):
        return {"means": "other"}
    stated = [value for key in ("default", "example") if _PIXELS.match(str(value := schema.get(key)))]
    pixels = {f"{found[1]}x{found[2]}": word for word in words if (found := _PIXELS.match(word))}
    if not pixels:
        ratios = {f"{found[1]}:{found[2]}": word for word in words if (found := _RATIO.match(word))}
        if ratios and len(ratios) >= len(words) - 1:
            return _ratio(schema)
        bounds: Data = {"must_accept": stated[:1], "cheapest": stated[0]} if stated else {}
        spelt = {f"{found[1]}x{found[2]}": stated[0] for found in (_PIXELS.match(str(stated[0])) if stated else None,) if found}
        spelt = {size: word for size, word in spelt.items() if size != word}
        return {"means": "size", "format": "size", **bounds, **({"values": spelt} if spelt else {})} if not words else {"means": "other"}
    smallest = min(pixels, key=lambda size: int(size.partition("x")[0]) * int(size.partition("x")[2]))
    spelt = {size: word for size, word in pixels.items() if size != word}
    data: Data = {"means": "size", "format": "size", "cheapest": pixels[smallest], **({"values": spelt} if spelt else {})}
    if not schema.get("enum"):  # a list among other texts that will do: not every model knows each of them
        usual = next((value for value in stated if value in pixels.values()), pixels.get("1024x1024", pixels[smallest]))
        data |= {"must_accept": [usual], "may_refuse": [word for word in words if word != usual], "cheapest": usual}
    return data


def _ratio(schema: Schema) -> Data:
    if type_of(schema) not in ("string", None):
        return {"means": "other"}
    words = _words(schema)
    if words and all(_PIXELS.match(word) for word in words):  # 1920:1080 is a size, whatever the field is called
        return _size(schema)
    ratios = {f"{found[1]}:{found[2]}": word for word in words if (found := _RATIO.match(word))}
    if not ratios:
        # Without a list the document may still say what shapes there are; a square is among them.
        return {"means": "aspect_ratio", "must_accept": ["1:1"], "cheapest": "1:1"} if not words else {"means": "other"}
    spelt = {ratio: word for ratio, word in ratios.items() if ratio != word}
    return {"means": "aspect_ratio", "cheapest": ratios.get("1:1", next(iter(ratios.values()))), **({"values": spelt} if spelt else {})}


def _format(schema: Schema) -> Data:
    found = {_FORMATS[kind]: word for word in reversed(_words(schema)) if (kind := word.lower().rpartition("/")[2]) in _FORMATS}
    if not found:
        return {"means": "other"}
    spelt = {name: word for name, word in found.items() if name != word}
    others = [word for word in _words(schema) if word.lower().rpartition("/")[2] not in _FORMATS]
    data: Data = {"means": "format", "cheapest": found.get("png", next(iter(found.values())))}
    if others:
        data["must_accept"] = [word for word in _words(schema) if word not in others]
    return {**data, **({"values": spelt} if spelt else {})}


def _delivery(schema: Schema) -> Data:
    values: Data = dict(delivery_words(schema))
    if not values:
        return {"means": "other"}
    stated = [word for word in values.values() if allows(schema, word)]
    if len(stated) < len(values):
        return {"means": "other"}
    spelt = {kind: word for kind, word in values.items() if kind != word}
    data: Data = {"means": "delivery", "cheapest": stated[-1] if "base64" not in values else values["base64"]}
    if len(stated) != len(_words(schema)):
        data["must_accept"] = stated
    return {**data, **({"values": spelt} if spelt else {})}


#: Words for how a picture comes, as a description that lists none of them apart names them.
_DELIVERIES = re.compile(r"\b(b64_json|base64|b64|url)\b")


def delivery_words(schema: Schema) -> dict[str, str]:
    """The (first) word of a field's list for each way of delivery (base64, url); empty where its schema lists none."""
    found: dict[str, str] = {}
    told = _DELIVERIES.findall(str(schema.get("description", ""))) if type_of(schema) == "string" and "url" in _said(schema) else []
    for word in _words(schema) or ([*dict.fromkeys(told)] if len(set(told)) > 1 else []):
        plain = bare(word)
        kind = "base64" if "b64" in plain or "base64" in plain else "url" if "url" in plain else None
        if kind is not None:
            found.setdefault(kind, word)
    return found


def _quality(schema: Schema) -> Data:
    words = _words(schema)
    fit = next((word for known in _CHEAP_QUALITIES for word in words if word.lower() == known), None)
    return (
        {"means": "quality", **({"cheapest": fit} if fit is not None else {})}
        if type_of(schema) in ("string", None)
        else {"means": "other"}
    )


def _text(meaning: str) -> Any:
    def refined(schema: Schema) -> Data:
        return {"means": meaning if _is_text(schema) else "other"}

    return refined


def _is_text(schema: Schema) -> bool:
    """Whether a text will do: the schema says so, or nothing that speaks against it."""
    branches = [branch for word in ("oneOf", "anyOf", "allOf") for branch in schema.get(word) or () if isinstance(branch, Mapping)]
    if type_of(schema) is None and branches:
        return any(_is_text(branch) for branch in branches)
    return type_of(schema) in ("string", None) and "properties" not in schema


def _flag(meaning: str) -> Any:
    def refined(schema: Schema) -> Data:
        return {"means": meaning if type_of(schema) == "boolean" else "other"}

    return refined


def _picture(meaning: str) -> Any:
    """A picture by how it travels. Those that only an address can name are left to the profile: a check has none to give."""

    def refined(schema: Schema) -> Data:
        branches = [branch for word in ("oneOf", "anyOf") for branch in schema.get(word) or () if isinstance(branch, Mapping)]
        if type_of(schema) is None and branches:  # one file or several, an address or the bytes: the first that can be sent
            found = [refined({**branch, "description": _said(schema)} if "description" not in branch else branch) for branch in branches]
            return next((data for data in found if data["means"] != "other"), {"means": "other"})
        many = type_of(schema) == "array"
        items = schema.get("items")
        one: Schema = items if many and isinstance(items, Mapping) else schema
        if one.get("format") == "binary" or "contentMediaType" in one:
            return {"means": meaning, "format": "file", **({"many": True} if many else {})}
        if type_of(one) not in ("string", None) or "properties" in one:
            return {"means": "other"}
        said = f"{_said(schema)} {_said(one)} {schema.get('title', '')}".lower()
        address, encoded = "url" in said or "uri" in str(one.get("format")), "base64" in said or "base-64" in said or "b64" in said
        if "data url" in said or "data uri" in said or "data:" in said or one.get("format") == "data-url":
            spelling = "data-url"
        elif encoded:
            spelling = "url-or-base64" if address else "base64"
        else:
            return {"means": "other"}
        return {"means": meaning, "format": spelling, **({"many": True} if many else {})}

    return refined


def _model(schema: Schema) -> Data:
    if type_of(schema) not in ("string", None):
        return {"means": "other"}
    closed = bool(schema.get("enum"))
    return {"means": "model", **({"closed": True} if closed else {})}


def _messages(schema: Schema) -> Data:
    return {"means": "messages" if type_of(schema) in ("array", None) else "other"}


_REFINED: Mapping[str, Any] = {
    "prompt": _prompt,
    "negative_prompt": _text("negative_prompt"),
    "model": _model,
    "n": _number("n", (1,)),
    "size": _size,
    "width": _edge("width"),
    "height": _edge("height"),
    "aspect_ratio": _ratio,
    "seed": _number("seed"),
    "steps": _number("steps"),
    "guidance": _number("guidance"),
    "strength": _number("strength"),
    "safety_tolerance": _number("safety_tolerance"),
    "max_tokens": _number("max_tokens"),
    "temperature": _number("temperature"),
    "sampler": _text("sampler"),
    "format": _format,
    "delivery": _delivery,
    "quality": _quality,
    "style": _text("style"),
    "background": _text("background"),
    "user": _text("user"),
    "stream": _flag("stream"),
    "async": _flag("async"),
    "mask": _picture("mask"),
    "image": _picture("image"),
    "messages": _messages,
}


def models_of(operation: Operation) -> list[str]:
    """The models that the document names for an operation: those it lists, else its default or example, else that in a whole request's
    example."""
    halves = _model_halves(operation)
    if halves:
        owners, names = (_named_models(operation, name, operation.path_parameters[name]) for name in halves)
        return [f"{owner}/{name}" for owner in owners for name in names]
    parameters = [*operation.path_parameters.items(), *operation.query_parameters.items()]
    fields: list[tuple[tuple[str, ...], Schema]] = [((name,), schema) for name, schema in [*operation.properties.items(), *parameters]]
    fields += [(place, schema) for place, schema in _inner(operation.properties, (), 0) if "0" not in place]
    for place, schema in fields:
        name = place[-1]
        if bare(name) in _NAMES["model"] and type_of(schema) in ("string", None):
            others = [value for one in operation.alternatives[1:] for value in one.values.get(name, ())]
            named = list(dict.fromkeys([*_named_models(operation, name, schema), *others]))
            return named or [shown for shown in [operation.shown(place)] if isinstance(shown, str)]
    return []


def _named_models(operation: Operation, name: str, schema: Schema) -> list[str]:
    examples = [schema.get("default"), schema.get("example"), *(schema.get("examples") or ())]
    raw = next((one.raw for one in operation.parameters if one.name == name), {})
    named = _words(schema) or [value for value in [*examples, *_examples(raw)] if isinstance(value, str)]
    return list(dict.fromkeys(named))


def _examples(raw: Schema) -> list[Any]:
    """The examples that a parameter has beside its schema."""
    several = raw.get("examples")
    named = [one.get("value") for one in several.values() if isinstance(one, Mapping)] if isinstance(several, Mapping) else []
    return [value for value in [raw.get("example"), *named] if value is not None]


def _model_halves(operation: Operation) -> tuple[str, str] | None:
    """The two neighbours among the path's parameters that hold the owner and the name of a model."""
    names = list(operation.path_parameters)
    return next(((one, two) for one, two in pairwise(names) if bare(one) in _OWNERS and bare(two) in _OWNED), None)


def request_data(operation: Operation) -> Data:
    """Every field and parameter of an operation, as a profile would write them under `fields`, `path`, `query` and `headers`."""
    body: dict[str, Data] = {}
    taken: set[str] = set()
    for name, schema in operation.properties.items():
        data = field_data(name, schema)
        if data["means"] not in ("other", "image") and data["means"] in taken:
            data = {"means": "other"}  # one field of each meaning: the first
        taken.add(data["means"])
        if name in operation.required and "cheapest" not in data and data["means"] not in _LEFT_OPEN:
            value = _value_for(data["means"], schema, operation.shown((name,)))
            data = {**data, **({"cheapest": value} if value is not None else {})}
        body[name] = data
    if (operation.request_media_type or "").endswith("json") or operation.request_media_type == "multipart/form-data":
        body |= _further_in(operation, taken)
    if len({"width", "height"} & taken) == 1:  # one edge alone is no size
        edge = next(name for name, data in body.items() if data["means"] in ("width", "height"))
        body[edge] = {**{key: value for key, value in body[edge].items() if key == "cheapest"}, "means": "other"}
        taken -= {"width", "height"}
    if {"size", "width", "height"} <= taken:
        # Two ways again: the one that is required, else the size.
        edges = [name for name, data in body.items() if data["means"] in ("width", "height")]
        sizes = [name for name, data in body.items() if data["means"] == "size"]
        for name in sizes if set(edges) & set(operation.required) and not set(sizes) & set(operation.required) else edges:
            kept = {"cheapest": body[name]["cheapest"]} if name in operation.required and "cheapest" in body[name] else {}
            body[name] = {"means": "other", **kept}
        taken = {data["means"] for data in body.values()}
    ratio = next((name for name, data in body.items() if data["means"] == "aspect_ratio"), None)
    if ratio is not None and {"size", "width"} & taken:
        # Two ways to say one thing: a request says it in one of them, and a server may refuse both at once.
        body[ratio] = {"means": "other", "may_refuse": _listed(schema_at(operation.request_schema, wire_parts(ratio))) or ["1:1"]}
    found: Data = {"fields": body}
    path = {name: _path_data(operation, name, schema) for name, schema in operation.path_parameters.items()}
    for part, name in enumerate(_model_halves(operation) or ()):
        path[name] = {"means": "model", "part": part}
    for kind, parameters in (("query", operation.query_parameters), ("headers", operation.header_parameters)):
        entries: dict[str, Data] = {}
        for name, schema in parameters.items():
            location = "query" if kind == "query" else "header"
            if (location, name) in operation.required_parameters:
                value = _parameter_value(operation, name, schema)
                entries[name] = {"means": "other", **({"send": value} if value is not None else {})}
                if bare(name) in _TASK_IDS:
                    entries[name] = {"means": "task_id"}
        if entries:
            found[kind] = entries
    if path:
        found["path"] = path
    return found


def _path_data(operation: Operation, name: str, schema: Schema) -> Data:
    data = field_data(name, schema, location="path")
    if data["means"] in ("model", "task_id"):
        return data
    value = _parameter_value(operation, name, schema)
    return {"means": "other", **({"send": value} if value is not None else {})}


def _parameter_value(operation: Operation, name: str, schema: Schema) -> Any:
    """What a parameter is sent as where nobody says: the value that the document gives it."""
    raw = next((one.raw for one in operation.parameters if one.name == name), {})
    stated = [schema[key] for key in ("const", "default", "example") if key in schema] + _examples(raw) + list(schema.get("examples") or ())
    return next((value for value in [*stated, *_listed(schema)[:1]] if value is not None), None)


def _further_in(operation: Operation, taken: set[str]) -> dict[str, Data]:
    """Fields inside objects of the body, by pointer: the prompt wherever it is, where the body itself has none, and settings in objects
    that are named so. `taken`: the meanings that the body's own fields have, to which those found are added.
    """
    found: dict[str, Data] = {}
    wanted = sorted(_inner(operation.properties, (), 0), key=lambda one: (bare(one[0][-1]) != "prompt", len(one[0])))
    if not {"prompt", "messages"} & taken:
        for place, schema in wanted:
            if field_data(place[-1], schema)["means"] == "prompt" and type_of(schema) == "string":
                found[written(place)] = {"means": "prompt"}
                taken.add("prompt")
                break
    inside = [parts_of(name)[:-1] for name in found]
    for place, schema in _inner(operation.properties, (), 0):
        data = field_data(place[-1], schema)
        settings = place[:-1] in inside or all(_SETTINGS.search(part) for part in place[:-1])
        if data["means"] in ("other", "prompt", "messages", "image", "mask") or data["means"] in taken or not settings:
            continue
        asked = place[-1] in (schema_at(operation.request_schema, place[:-1]).get("required") or ())
        if asked and "cheapest" not in data and data["means"] not in _LEFT_OPEN:
            value = _value_for(data["means"], schema, operation.shown(place))
            data = {**data, **({"cheapest": value} if value is not None else {})}
        found[written(place)] = data
        taken.add(data["means"])
    return found | _required_beside(operation, found)


def _inner(properties: Mapping[str, Any], above: tuple[str, ...], level: int) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every plain field below the body's own, through objects and the first item of lists of objects."""
    for name, schema in properties.items():
        if not isinstance(schema, Mapping) or level > _DEEPEST_FIELD:
            continue
        items = schema.get("items")
        if isinstance(schema.get("properties"), Mapping):
            yield from _inner(schema["properties"], (*above, name), level + 1)
        elif isinstance(items, Mapping) and isinstance(items.get("properties"), Mapping):
            yield from _inner(items["properties"], (*above, name, "0"), level + 1)
        elif above:
            yield (*above, name), schema


def _required_beside(operation: Operation, found: Mapping[str, Data]) -> dict[str, Data]:
    """What the objects that hold those fields require beside them, with the document's own value."""
    owners = {parts[:end] for name in found for parts in [parts_of(name)] for end in range(1, len(parts))}
    needed: dict[str, Data] = {}
    for owner in owners:
        schema = schema_at(operation.request_schema, owner)
        for name in schema.get("required") or ():
            place = written((*owner, name))
            value = stated_value((schema.get("properties") or {}).get(name))
            if place not in found and value is not MISSING and not any(one.startswith(place + "/") for one in found):
                needed[place] = {"means": "other", "send": value}
    return needed


_DEEPEST_FIELD = 4


#: Meanings that get no value here: those that requests say, and whether to stream, which is for the profile to send.
_LEFT_OPEN = SAID_BY_REQUESTS | {"stream"}
_ORDINARY_TEXTS = {"negative_prompt": ("", "blur"), "user": ("testcard",)}
_ORDINARY = {"seed": (1,), "strength": (0.5, 1), "guidance": (5, 1), "steps": (20, 1), "temperature": (0, 1)}


def _value_for(meaning: str, schema: Schema, shown: Any) -> Any:
    """What a request sends for a required field when nobody says: its default, example (`shown`: that in an example of the whole
    request), or first listed value, an ordinary number."""
    candidates = [schema.get("default"), schema.get("example"), *(schema.get("examples") or ())]
    candidates += [None if shown is MISSING else shown, *_listed(schema)[:1]]
    if type_of(schema) in ("integer", "number"):
        candidates += [
            value for value in (*_ORDINARY.get(meaning, ()), schema.get("minimum")) if value is not None and _fits(value, schema)
        ]
    candidates += [text for text in _ORDINARY_TEXTS.get(meaning, ()) if allows(schema, text)]
    plain = next(
        (value for value in candidates if value is not None and not isinstance(value, dict | list) and allows(schema, value)), None
    )
    if plain is not None:
        return plain
    stated = stated_value(schema)
    if stated is MISSING and shown is not MISSING and allows(schema, shown):
        return shown
    return None if stated is MISSING else stated


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_BASE64 = frozenset(
    {
        "b64json",
        "base64",
        "b64",
        "imagebase64",
        "base64image",
        "b64image",
        "imagedata",
        "imagebytes",
        "bytesbase64encoded",
        "base64encoded",
        "base64data",
    }
)
_ADDRESS = frozenset({"url", "imageurl", "uri", "imageuri", "downloadurl", "signedurl", "outputurl", "fileurl"})
_PICTURES = frozenset(
    {
        "images",
        "image",
        "outputs",
        "output",
        "results",
        "result",
        "samples",
        "sample",
        "data",
        "artifacts",
        "urls",
        "generatedimages",
        "predictions",
        "candidates",
        "inlinedata",
        "assets",
        "imageurls",
        "file",
        "files",
        "picture",
        "pictures",
        "photo",
        "photos",
        "img",
        "imgs",
    }
)
_NOT_PICTURES = re.compile(
    r"poll|status|webhook|thumb|preview|cancel|avatar|profile|link|doc|video|motion|mp4|response_?url|mask|input|origin|user|element|lora|prompt",
    re.I,
)
_DEEPEST = 8
_DATA_URL = re.compile(r"data[ _:-]?ur[il]s?|data:image", re.I)


def leaves(schema: Any, place: tuple[str, ...] = (), _level: int = 0) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every place of an answer with what its schema says there, through lists (`*`), parts and alternatives."""
    if not isinstance(schema, Mapping) or _level > _DEEPEST:
        return
    yield place, schema
    for word in ("allOf", "oneOf", "anyOf"):
        for branch in schema.get(word) or ():
            yield from leaves(branch, place, _level + 1)
    for name, one in (schema.get("properties") or {}).items():
        yield from leaves(one, (*place, str(name)), _level + 1)
    if isinstance(schema.get("items"), Mapping):
        yield from leaves(schema["items"], (*place, "*"), _level + 1)


def written(place: Sequence[str]) -> str:
    """A place as a profile writes it."""
    return pointer_of(place)


def answer_schema(operation: Operation) -> Schema | None:
    """The schema of the operation's successful JSON answer; None where it has none."""
    for status in operation.success_statuses:
        for media_type in operation.response_media_types(status):
            if media_type.endswith("json"):
                return operation.response_schema(status, media_type)
    return None


def picture_places(schema: Schema) -> Data:
    """Where an answer keeps its pictures, as a profile's response map has it; empty where no place looks like one."""
    candidates: list[tuple[float, tuple[str, ...], str, str]] = []
    lists = {place: one for place, one in leaves(schema) if "items" in one}
    as_data_urls: set[tuple[str, ...]] = set()
    for place, one in leaves(schema):
        if type_of(one) not in ("string", None) or not place or "properties" in one or any(_NOT_PICTURES.search(part) for part in place):
            continue
        name = next((part for part in reversed(place) if part != "*"), "")
        holder = lists.get(place[:-1], {}) if place[-1] == "*" else {}
        said = f"{_said(one)} {one.get('title', '')} {holder.get('description', '')}".lower()
        kinds = _picture_kinds(bare(name), one, said, listed=place[-1] == "*")
        if not kinds:
            continue
        if kinds == ("base64",) and _DATA_URL.search(said):
            as_data_urls.add(place)
        score = len(place) + (0 if any(bare(part) in _PICTURES for part in place) else 3) + (0 if "*" in place else 0.5)
        if "*" in place and place[-1] != "*":
            last = len(place) - place[::-1].index("*")
            candidates += [(score, place[:last], "/".join(place[last:]), kind) for kind in kinds]
        elif place[-1] == "*" or (bare(name) in _PICTURES and bare(name) not in _ADDRESS):
            candidates += [(score, place, "", kind) for kind in kinds]
        else:
            candidates += [(score, place[:-1], place[-1], kind) for kind in kinds]
    if not candidates:
        return {}
    best = min(candidates, key=lambda one: one[0])[1]
    found: Data = {"pictures": written(best)}
    for _, owner, name, kind in candidates:
        if owner == best:
            found.setdefault(kind, name)
    beside = next((name for _, owner, name, kind in candidates if best and owner == best[:-1] and name in _ADDRESS and kind == "url"), None)
    if "*" not in best and "base64" in found and "url" not in found and beside is not None:
        # One picture in one of two fields that stand side by side.
        found = {"pictures": written(best[:-1]), "base64": best[-1], "url": beside}
        best = best[:-1]
    always = {name for place, one in leaves(schema) if place == best for name in one.get("required") or ()}
    for one_way, other in (("base64", "url"), ("url", "base64")):
        if {one_way, other} <= found.keys() and found[one_way] in always and found[other] not in always:
            del found[other]  # each picture comes in this way, whatever else there may be room for
    if as_data_urls & {best, (*best, str(found.get("base64")))}:
        found["data_url"] = True
    found["default_delivery"] = "url" if "url" in found else "base64"
    for place, one in leaves(schema):
        if place[:-1] == best and place:
            if bare(place[-1]) == "seed" and type_of(one) == "integer":
                found["item_seed"] = place[-1]
            elif bare(place[-1]) == "finishreason":
                found["finish"] = place[-1]
    return found


def _picture_kinds(name: str, schema: Schema, said: str, *, listed: bool) -> tuple[str, ...]:
    """In which ways a text of an answer may hold a picture: both where its description has both, and where nothing is said of a listed one."""
    address = schema.get("format") in ("uri", "url", "uri-reference")
    encoded = schema.get("contentEncoding") == "base64" or schema.get("format") in ("byte", "base64")
    named = name in _PICTURES or listed
    linked = re.search(r"\b(?:url|uri|link|address)s?\b", _DATA_URL.sub("", said)) is not None
    if name in _BASE64 or (named and (encoded or "base64" in said or (_DATA_URL.search(said) and not linked))):
        return ("base64", "url") if linked and not encoded and name not in _BASE64 and not address else ("base64",)
    if name in _ADDRESS or (name in _PICTURES and (address or "url" in said)):
        return ("url",)
    if listed and address:  # a list of addresses, whatever it is called
        return ("url",)
    if listed and name in _PICTURES and type_of(schema) == "string" and not schema.get("enum"):
        return ("base64", "url")
    return ()


def response_data(operation: Operation) -> Data:
    """What the document says of an operation's answer: pictures, binary bodies, usage, cost, when it was made."""
    found: Data = {}
    binary = [name for status in operation.success_statuses for name in operation.response_media_types(status) if name.startswith("image/")]
    if binary:
        found["binary"] = list(dict.fromkeys(binary))
        found["default_delivery"] = "binary"
        formats = [_FORMATS[kind] for name in binary if (kind := name.rpartition("/")[2]) in _FORMATS]
        if formats:
            found["formats"] = list(dict.fromkeys(formats))
    schema = answer_schema(operation)
    if schema is None:
        return found
    pictures = picture_places(schema)
    if pictures and binary:
        found = {**found, **_by_accept(operation, pictures, binary)}
    found = {**pictures, **found} if pictures else found
    return {**found, **_beside_pictures(schema, found.get("pictures", ""))}


def _by_accept(operation: Operation, pictures: Data, binary: Sequence[str]) -> Data:
    """How a picture is asked for in a body of its own or in JSON, where there are both, and which of the two is usual."""
    stated = next((one.schema for one in operation.parameters if one.location == "header" and one.name.lower() == "accept"), {})
    whole = next((word for word in _words(stated) if word.startswith("image/")), binary[0])
    usual = str(stated.get("default") or ("application/json" if "*" in str(pictures["pictures"]) else whole))
    in_json = pictures["default_delivery"]
    accept = {in_json: "application/json", "binary": whole}
    return {"accept": accept, "default_delivery": "binary" if usual.startswith("image/") else in_json}


def _beside_pictures(schema: Schema, pictures: str) -> Data:
    found: Data = {}
    usage: dict[str, str] = {}
    for place, one in leaves(schema):
        if not place or "*" in place:
            continue
        name, kind = bare(place[-1]), type_of(one)
        if name in ("created", "createdat") and kind == "integer" and len(place) == 1:
            found.setdefault("created", written(place))
        elif len(place) == 2 and bare(place[0]) == "usage" and kind in ("integer", None) and name in _TOKENS:
            usage.setdefault(_TOKENS[name], written(place))
        elif name in ("cost", "price", "costusd", "totalcost") and kind in ("integer", "number", "string") and len(place) <= 2:
            said = f"{_said(one)} {place[-1]}".lower()
            dollars = "usd" in said or "dollar" in said
            found.setdefault("cost", written(place) if dollars else {"at": written(place), "usd_each": None})
    if len(usage) > 1:
        found["usage"] = usage
    return found


_TOKENS = {
    "prompttokens": "prompt_tokens",
    "inputtokens": "prompt_tokens",
    "completiontokens": "completion_tokens",
    "outputtokens": "completion_tokens",
    "totaltokens": "total_tokens",
}
