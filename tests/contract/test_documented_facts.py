"""What the provider documents state, written down a second time and by hand, compared with the OpenAPI files in both directions.

Read a line as: field, then type, then what is stated of it. `*` marks a required field. Nothing that is not stated
stands here, so a bound or an enum that a file adds of its own fails as much as one that it forgets.
"""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.openapi import Operation

#: provider → operation → (method, path, request media type, statuses with their media types, path parameters)
OPERATIONS: dict[str, dict[str, tuple[str, str, str | None, dict[str, list[str]], list[str]]]] = {
    "nvidia-nim-image": {
        "generateImage": (
            "POST",
            "/v1/genai/{publisher}/{model}",
            "application/json",
            {"200": ["application/json"], "400": [], "401": [], "429": []},
            ["publisher", "model"],
        )
    },
    "nvidia-nim-vision": {
        "createVisionChatCompletion": (
            "POST",
            "/v1/chat/completions",
            "application/json",
            {"200": ["application/json", "text/event-stream"], "400": [], "401": [], "413": []},
            [],
        )
    },
    "nebul": {
        "createImage": ("POST", "/v1/images/generations", "application/json", {"200": ["application/json"]}, []),
        "createImageEdit": ("POST", "/v1/images/edits", "multipart/form-data", {"200": ["application/json"]}, []),
        "createImageVariation": ("POST", "/v1/images/variations", "multipart/form-data", {"200": ["application/json"]}, []),
    },
    "nanogpt": {
        "createImage": (
            "POST",
            "/v1/images/generations",
            "application/json",
            {"200": ["application/json"], "400": ["application/json"]},
            [],
        )
    },
    "opengpu-relay": {
        name: ("POST", path, "application/json", {"200": ["application/json"], "202": ["application/json"]}, [])
        for name, path in {
            "generateStableDiffusion": "/v2/automatic1111/sdapi/v1/txt2img",
            "generateFlux": "/v2/image/flux/generate",
            "generateGemini": "/v2/image/gemini-3/generate",
            "generateGptImage": "/v2/image/gpt-image/generate",
            "editGptImage": "/v2/image/gpt-image/edit",
            "generateQwen": "/v2/image/qwen/generate",
            "editQwen": "/v2/image/qwen/edit",
        }.items()
    }
    | {
        "getTask": (
            "GET",
            "/v2/tasks/{task_address}",
            None,
            {"200": ["application/json"], "404": ["application/json"]},
            ["task_address"],
        )
    },
}

NEBUL_CHOICES = """
n integer default=1
size string
quality string
background string
output_format string
response_format string
guidance number
user string
"""

#: provider → operation → request fields
REQUESTS: dict[str, dict[str, str]] = {
    "nvidia-nim-image": {
        "generateImage": """
            prompt* string
            negative_prompt string
            cfg_scale number default=5
            sampler string
            seed integer
            steps integer default=50
            width integer
            height integer
            mode string enum=text-to-image|image-to-image|inpaint default=text-to-image
            image string
            mask string
        """
    },
    "nvidia-nim-vision": {
        "createVisionChatCompletion": """
            model* string
            messages* array
            messages[] object
            messages[].role string enum=system|user|assistant
            messages[].content array
            messages[].content[] object
            messages[].content[].type string enum=text|image_url
            messages[].content[].text string
            messages[].content[].image_url object
            messages[].content[].image_url.url string
            max_tokens integer
            temperature number
            stream boolean
        """
    },
    "nebul": {
        "createImage": "prompt* string\nmodel string" + NEBUL_CHOICES,
        "createImageEdit": "model* string\nprompt* string\nimage* array minItems=1\nimage[] string format=binary\nmask string format=binary"
        + NEBUL_CHOICES,
        "createImageVariation": "model string\nimage* string format=binary" + NEBUL_CHOICES,
    },
    "nanogpt": {
        "createImage": """
            prompt* string
            model string default=hidream
            n integer default=1
            size string enum=256x256|512x512|1024x1024
            response_format string enum=url|b64_json default=b64_json
            user string
            imageDataUrl string
            imageDataUrls array
            imageDataUrls[] string format=data-url
            maskDataUrl string
            strength number minimum=0 maximum=1 default=0.8
            guidance_scale number minimum=0 maximum=20 default=7.5
            num_inference_steps integer minimum=1 maximum=100 default=30
            seed integer
            kontext_max_mode boolean default=false
        """
    },
    "opengpu-relay": {
        "generateStableDiffusion": """
            prompt* string
            negative_prompt string
            model string default=Realistic_Vision_V5.1.safetensors
            steps integer default=20
            width integer default=512
            height integer default=512
            cfg_scale number default=7
            async boolean
        """,
        "generateFlux": """
            prompt* string
            width integer default=1024 minimum=64 multipleOf=32
            height integer default=1024 minimum=64 multipleOf=32
            seed integer
            safety_tolerance integer default=2 minimum=0 maximum=6
            output_format string default=png enum=png|jpeg
            input_image string
            input_image_2 string
            input_image_3 string
            input_image_4 string
            async boolean
        """,
        "generateGemini": """
            prompt* string
            aspect_ratio string default=1:1 enum=1:1|2:3|3:2|3:4|4:3|4:5|5:4|9:16|16:9|21:9
            image_size string default=1K enum=1K|2K|4K
            async boolean
        """,
        "generateGptImage": """
            prompt* string
            size string default=1024x1024 enum=1024x1024|1536x1024|1024x1536|auto
            quality string default=auto enum=auto|low|medium|high
            n integer default=1 minimum=1 maximum=4
            async boolean
        """,
        "editGptImage": """
            prompt* string
            image* string
            mask string
            size string default=1024x1024
            quality string default=auto enum=auto|low|medium|high
            n integer default=1 minimum=1 maximum=4
            async boolean
        """,
        "generateQwen": """
            prompt* string
            size string default=1024x1024
            seed integer
            async boolean
        """,
        "editQwen": """
            prompt* string
            image* string
            size string default=1024x1024
            seed integer
            async boolean
        """,
        "getTask": "",
    },
}

NEBUL_ANSWER = """
created integer
data array
data[] object
data[].b64_json string|null
data[].url string|null
background string
output_format string
size string
quality string
usage object
usage.prompt_tokens integer
usage.total_tokens integer
"""
IMAGES = "images array\nimages[] string"
IMAGE_URLS = "images array\nimages[] string format=uri"
URLS = "urls array\nurls[] string format=uri"

#: provider → operation → fields of the 200 answer; `~` splits alternatives, `!` says that nothing else may stand beside
ANSWERS: dict[str, dict[str, str]] = {
    "nvidia-nim-image": {
        "generateImage": """
            artifacts array
            artifacts[] object
            artifacts[].base64 string
            artifacts[].finishReason string
            artifacts[].seed integer
        """
    },
    "nvidia-nim-vision": {
        "createVisionChatCompletion": """
            id string
            object string
            choices array
            choices[] object
            choices[].message object
            choices[].message.role string
            choices[].message.content string
            choices[].finish_reason string
            usage object
            usage.prompt_tokens integer
            usage.completion_tokens integer
            usage.total_tokens integer
        """
    },
    "nebul": dict.fromkeys(("createImage", "createImageEdit", "createImageVariation"), NEBUL_ANSWER),
    "nanogpt": {
        "createImage": """
            created integer
            data array
            data[]~0 object!
            data[]~0.url* string format=uri
            data[]~1 object!
            data[]~1.b64_json* string
            cost number
            paymentSource string
            remainingBalance number
        """
    },
    "opengpu-relay": {
        "generateStableDiffusion": IMAGES,
        "generateFlux": IMAGES,
        "generateGemini": IMAGES,
        "generateGptImage": IMAGE_URLS,
        "editGptImage": IMAGE_URLS,
        "generateQwen": URLS,
        "editQwen": URLS,
    },
}

SERVERS = {
    "nvidia-nim-image": ["https://integrate.api.nvidia.com", "http://localhost:8000"],
    "nvidia-nim-vision": ["https://integrate.api.nvidia.com", "http://localhost:8000"],
    "nebul": ["https://api.inference.nebul.io"],
    "nanogpt": ["https://nano-gpt.com"],
    "opengpu-relay": ["https://relay.opengpu.network"],
}

STATED = ("default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "const", "format", "pattern")
STATED += ("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "contentEncoding")

ALL = [(provider, operation) for provider, operations in OPERATIONS.items() for operation in operations]


def told(schema: Any, prefix: str = "") -> set[str]:
    """A schema as lines like those of the tables above, keywords in alphabetical order."""
    lines: set[str] = set()
    required = schema.get("required", ())
    for name, entry in schema.get("properties", {}).items():
        lines |= one(entry, f"{prefix}{name}", "*" if name in required else "")
    return lines


def one(schema: Any, name: str, mark: str) -> set[str]:
    if "oneOf" in schema:
        return set().union(*(one(branch, f"{name}~{index}", "") for index, branch in enumerate(schema["oneOf"])))
    kinds = schema.get("type", [])
    words = ["|".join(kinds) if isinstance(kinds, list) else kinds]
    words[0] += "!" if schema.get("additionalProperties") is False else ""
    for keyword in sorted(STATED):
        if keyword in schema:
            words.append(f"{keyword}={text(schema[keyword])}")
    lines = {f"{name}{mark} {' '.join(words)}"}
    if "items" in schema:
        lines |= one(schema["items"], f"{name}[]", "")
    return lines | told(schema, f"{name}.")


def text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def lines(table: str) -> set[str]:
    """The rows of a table with their keywords in alphabetical order."""
    rows = [row.split() for row in table.splitlines() if row.strip()]
    return {" ".join([*row[:2], *sorted(row[2:])]) for row in rows}


def the(provider: str, operation: str) -> Operation:
    return load_provider(provider).operation(operation)


def test_these_are_the_providers_and_their_fourteen_operations() -> None:
    """Five providers come with Testcard, with the operation ids that verdicts and samples use."""
    assert sorted(OPERATIONS) == list(bundled_ids())
    assert {name: sorted(load_provider(name).openapi.operations) for name in bundled_ids()} == {
        name: sorted(operations) for name, operations in OPERATIONS.items()
    }
    assert len(ALL) == 14


@pytest.mark.parametrize("provider", OPERATIONS)
def test_the_validator_accepts_the_file(provider: str) -> None:
    """Each openapi.yaml is OpenAPI 3.1 by a validator that is not ours."""
    document = load_provider(provider).openapi.raw
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("provider", OPERATIONS)
def test_base_urls_are_those_of_the_document(provider: str) -> None:
    """Servers in the contract and base URLs in the profile agree with the document."""
    loaded = load_provider(provider)
    assert list(loaded.profile.base_urls) == SERVERS[provider]
    for operation in loaded.openapi.operations.values():
        assert list(operation.servers) == SERVERS[provider]


@pytest.mark.parametrize(("provider", "operation"), ALL)
def test_method_path_and_media_types(provider: str, operation: str) -> None:
    """Each operation has the documented method, path, path parameters, request and answer media types, and statuses."""
    method, path, request_type, answers, parameters = OPERATIONS[provider][operation]
    found = the(provider, operation)
    assert (found.method, found.path) == (method, path)
    assert found.request_media_type == request_type
    assert len(found.request_content) == (request_type is not None)
    assert {status: list(response.get("content", {})) for status, response in found.responses.items()} == answers
    assert list(found.path_parameters) == parameters
    assert all(schema == {"type": "string"} for schema in found.path_parameters.values())


@pytest.mark.parametrize(("provider", "operation"), ALL)
def test_request_fields(provider: str, operation: str) -> None:
    """The request has each documented field with its type, default, bounds and values, and states nothing of its own."""
    assert told(the(provider, operation).request_schema) == lines(REQUESTS[provider][operation])


@pytest.mark.parametrize(("provider", "operation"), [(p, o) for p, answers in ANSWERS.items() for o in answers])
def test_answer_fields(provider: str, operation: str) -> None:
    """The 200 answer has each documented field with its type, and states nothing of its own."""
    schema = the(provider, operation).response_schema(200)
    assert schema is not None
    assert told(schema) == lines(ANSWERS[provider][operation])


def test_error_body_of_nanogpt() -> None:
    """The one documented error body needs both its fields."""
    schema = the("nanogpt", "createImage").response_schema(400)
    assert schema is not None
    assert told(schema) == lines("error* integer format=int32\nmessage* string")


def test_what_the_relay_client_adds_is_marked() -> None:
    """Relay's key, base URL, async bodies and 404 come from its published client and say so; nothing else does."""
    document = load_provider("opengpu-relay").openapi.raw

    def marked(node: Any, place: str = "") -> list[str]:
        if not isinstance(node, dict):
            return []
        found = [place] if node.get("x-source") == "published-client" else []
        return found + [hit for key, value in node.items() for hit in marked(value, f"{place}/{key}")]

    assert document["servers"][0]["x-source"] == "published-client"
    assert sorted(marked(document)) == [
        "/components/schemas/AcceptedTask",
        "/components/schemas/Error",
        "/components/schemas/Task",
        "/components/securitySchemes/apiKey",
        "/components/securitySchemes/bearerAuth",
        "/paths//v2/tasks/{task_address}/get/responses/404",
    ]


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        (
            "nvidia-nim-image",
            ["black-forest-labs/flux.1-schnell", "nvidia/edify-image", "shutterstock/edify-image", "stabilityai/sdxl-turbo"],
        ),
        (
            "nvidia-nim-vision",
            ["meta/llama-3.2-90b-vision-instruct", "microsoft/kosmos-2", "microsoft/phi-3.5-vision-instruct", "nvidia/neva-22b"],
        ),
        ("nebul", ["black-forest-labs/FLUX.1-Kontext-dev"]),
        ("nanogpt", ["flux-kontext", "flux-lora/inpainting", "gpt-4o-image", "gpt-image-1", "hidream"]),
        (
            "opengpu-relay",
            [
                "Qwen/qwen-image",
                "Qwen/qwen-image-edit",
                "Realistic_Vision_V5.1.safetensors",
                "black-forest-labs/FLUX-2-pro",
                "google/gemini-3-pro-T2I",
                "illustriousRealismBy_v10VAE.safetensors",
                "openai/gpt-image-1.5-I2I",
                "openai/gpt-image-1.5-T2I",
                "stable-diffusion-v1-5-pruned.safetensors",
            ],
        ),
    ],
)
def test_models_are_those_that_the_document_names(provider: str, names: list[str]) -> None:
    """Every model of a document is in its profile, and no other."""
    assert sorted(model.id for model in load_provider(provider).profile.models) == names
