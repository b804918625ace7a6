"""`lint` names every mistake in a provider's two files with file, line and key; the loader stops at the first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testcard.specs.errors import SpecError, UsageError
from testcard.specs.lint import lint, notes
from testcard.specs.loader import BUNDLED, bundled_ids, known_ids, load_provider

MISTAKES = [
    # provider, file, what is written, what is written instead, key, part of the message, whether the loader refuses it
    ("nanogpt", "openapi.yaml", "default: 1}", "default: x}", "properties.n.default", "own default 'x'", False),
    ("nanogpt", "openapi.yaml", "description: The pictures", "descriptions: The pictures", "responses.200", "description", False),
    ("nanogpt", "openapi.yaml", "format: int32}", "format: int32, minimum: a}", "error.minimum", "not of type", True),
    ("nanogpt", "openapi.yaml", "type: array", "type: arr", "imageDataUrls.type", "arr", True),
    ("nanogpt", "openapi.yaml", "schemas/Error'", "schemas/Eror'", "$ref", "points to nothing", True),
    ("nanogpt", "openapi.yaml", "openapi: 3.1.0", "openapi: 2.0.0", "openapi", "not an OpenAPI 3", True),
    (
        "nanogpt",
        "openapi.yaml",
        "operationId: createImage",
        "operation: createImage",
        "createImage",
        "it has post_v1_images_generations",
        True,
    ),
    ("nanogpt", "openapi.yaml", "operationId: createImage", "operationId: makeImage", "createImage", "is no operationId", True),
    ("nanogpt", "profile.yaml", "seed: {must", "seed: {means: sed, must", "fields.seed.means", "did you mean seed", True),
    ("nanogpt", "profile.yaml", "      seed:", "      sead:", "fields.sead", "no such field", True),
    ("nanogpt", "profile.yaml", "kind: grid", "kind: gird", "prices.0.price", "gird", True),
    ("nanogpt", "profile.yaml", "usd_each: 0.014", "usd_each: -1", "prices.1.price.usd_each", "at least 0, not -1", True),
    ("nanogpt", "profile.yaml", "key_env: NANOGPT", "key_var: NANOGPT", "auth.key_var", "is no key", True),
    ("nanogpt", "profile.yaml", "1024x1024]}", "1024x1024], cheapest: 1x1}", "fields.size.cheapest", "does not allow '1x1'", False),
    ("nanogpt", "profile.yaml", "[0.8, 0, 1]", "[0.8, 0, 2]", "fields.strength.may_refuse", "does not allow 2", False),
    (
        "nanogpt",
        "profile.yaml",
        "may_refuse: [2, 3, 4]",
        "may_refuse: [1, 3, 4]",
        "fields.n.may_refuse",
        "under must_accept as well",
        False,
    ),
    ("nanogpt", "profile.yaml", "cost: /cost", "created: /creation\n      cost: /cost", "response.created", "no /creation", False),
    (
        "nanogpt",
        "profile.yaml",
        "url_lifetime_s: 3600",
        "pictures: /images/*\n      url_lifetime_s: 3600",
        "response.pictures",
        "no /images/*",
        False,
    ),
    ("nanogpt", "profile.yaml", "models: [gpt-image-1]", "models: [gpt-image-9]", "prices.0", "not under models", True),
    ("nanogpt", "profile.yaml", "model: flux-kontext}", "model: flux}", "tasks.edit", "not under models", True),
    (
        "nanogpt",
        "profile.yaml",
        "edit: {operation: createImage,",
        "edit: {operation: editImage,",
        "tasks.edit",
        "no operation editImage",
        True,
    ),
    ("nanogpt", "profile.yaml", "models: [flux-lora", "models: [flex-lora", "maskDataUrl.models", "not under models", True),
    ("nanogpt", "profile.yaml", "seed: {must", "user: {means: user, edits: white}\n      seed: {must", "user.edits", "mean mask", True),
    ("nanogpt", "profile.yaml", "    response:", "    tasks: [generate]\n    response:", "tasks.edit", "does not list edit", True),
    ("nanogpt", "profile.yaml", "    response:", "    needs: {edit: [messages]}\n    response:", "needs.edit", "means messages", True),
    ("opengpu-relay", "profile.yaml", "operations: [generateFlux], clause", "operations: [makeFlux], clause", "makeFlux", "makeFlux", True),
    ("opengpu-relay", "profile.yaml", "flag: async", "flag: later", "async.flag", "field later", True),
    ("opengpu-relay", "profile.yaml", "parameter: task_address", "parameter: task", "async.parameter", "parameter task", True),
    ("opengpu-relay", "profile.yaml", "operation: getTask", "operation: getTusk", "async.operation", "no operation getTusk", True),
    (
        "nvidia-nim-vision",
        "profile.yaml",
        "    needs:",
        "    tasks: [describe]\n    kind: images\n    needs:",
        "kind",
        "of kind chat",
        True,
    ),
]


def copy(provider: str, folder: Path) -> Path:
    shutil.copytree(BUNDLED / provider, folder / provider)
    return folder / provider


@pytest.mark.parametrize("provider", bundled_ids())
def test_bundled_providers_have_no_problems(provider: str) -> None:
    """What comes with Testcard passes its own judgement, folder and file."""
    assert lint(BUNDLED / provider) == []
    assert lint(BUNDLED / provider / "openapi.yaml") == []
    assert lint(BUNDLED / provider / "profile.yaml") == []


@pytest.mark.parametrize(("provider", "file", "old", "new", "key", "words", "refused"), MISTAKES)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, provider: str, file: str, old: str, new: str, key: str, words: str, refused: bool
) -> None:
    """Each mistake is reported where it was made; those that nothing could work with stop the loader as well.

    Of a document, what no command minds is a problem of the document by itself, and a note on the provider that uses it.
    """
    folder = copy(provider, tmp_path)
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    by_itself = file == "openapi.yaml" and not refused
    if by_itself:
        assert lint(folder) == []
        assert [note for note in notes(folder) if words in note.message]
    said = lint(path if by_itself else folder)
    found = [problem for problem in said if words in problem.message and key in f"{problem.key} {problem.message}"]
    assert found, [str(problem) for problem in lint(folder)]
    assert found[0].line
    shown = Path(found[0].file).read_text(encoding="utf-8").splitlines()[found[0].line - 1]
    parts = [part for part in (found[0].key or "").split(".") if part]
    assert any(part in shown for part in parts) or new in shown, (str(found[0]), shown)
    if refused:
        with pytest.raises(SpecError) as caught:
            load_provider(str(folder))
        assert caught.value.line
        assert caught.value.key
        assert caught.value.exit_code == 2
    else:
        assert load_provider(str(folder)).id == provider


def test_all_problems_are_found_in_one_go(tmp_path: Path) -> None:
    """Mistakes in both files come back together, in the order of file and line, each once."""
    folder = copy("nanogpt", tmp_path)
    for file, changes in {
        "openapi.yaml": [("default: hidream", "default: 3"), ("minimum: 1,", "minimum: one,")],
        "profile.yaml": [("[0.8, 0, 1]", "[0.8, 0, 2]"), ("cost: /cost", "cost: /price")],
    }.items():
        text = (folder / file).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / file).write_text(text, encoding="utf-8")
    found = lint(folder)
    assert [problem.key for problem in found] == [
        "components.schemas.GenerationRequest.properties.num_inference_steps.minimum",
        "operations.createImage.fields.strength.may_refuse",
        "operations.createImage.response.cost",
    ]
    assert [note.key for note in notes(folder)] == ["components.schemas.GenerationRequest.properties.model.default"]
    assert found == sorted(found, key=lambda problem: (problem.file, problem.line or 0))
    assert str(found[0]).startswith(f"{folder / 'openapi.yaml'}:{found[0].line}: components.")


@pytest.mark.parametrize("missing", ["openapi.yaml", "profile.yaml"])
def test_a_missing_file_is_a_problem(tmp_path: Path, missing: str) -> None:
    """A folder without one of the two files says which, to lint and to the loader."""
    folder = copy("nebul", tmp_path)
    (folder / missing).unlink()
    assert any(problem.message == "there is no such file" and problem.file.endswith(missing) for problem in lint(folder))
    with pytest.raises(SpecError, match="there is no such file"):
        load_provider(str(folder))


def test_nothing_there_is_a_usage_error(tmp_path: Path) -> None:
    """A path that does not exist is the caller's mistake, not the file's."""
    with pytest.raises(UsageError, match="no such file or folder"):
        lint(tmp_path / "nothing")


def test_a_sixth_provider_needs_its_two_files_only(tmp_path: Path) -> None:
    """A folder with both files is a provider: by path, by id below a configured folder, in the list of ids."""
    folder = copy("nanogpt", tmp_path)
    path = folder / "profile.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("id: nanogpt", "id: mine", 1), encoding="utf-8")
    folder.rename(tmp_path / "mine")
    assert load_provider(str(tmp_path / "mine")).id == "mine"
    assert load_provider("mine", [tmp_path]).id == "mine"
    assert known_ids([tmp_path, tmp_path / "nowhere"]) == tuple(sorted((*known_ids(), "mine")))
    assert lint(tmp_path / "mine") == []


def test_an_empty_or_foreign_file_is_a_problem(tmp_path: Path) -> None:
    """Files that hold something else are named as such."""
    folder = copy("nanogpt", tmp_path)
    (folder / "profile.yaml").write_text("- 1\n", encoding="utf-8")
    assert [problem.message for problem in lint(folder)] == ["is not a mapping"]
    with pytest.raises(SpecError, match="is not a mapping"):
        load_provider(str(folder))
    (folder / "openapi.yaml").write_text("", encoding="utf-8")
    assert "is not an OpenAPI 3 document" in [problem.message for problem in lint(folder)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("at: /base_resp/status_code", "at: /base_resp/code", "no answer's schema has /base_resp/code"),
        ("values: 0", "values: [ok]", "does not allow 'ok' at /base_resp/status_code"),
    ],
)
def test_what_tells_an_error_in_a_success_has_to_be_in_the_document(old: str, new: str, words: str, tmp_path: Path) -> None:
    """A place that no answer has, and a value that cannot stand there."""
    folder = tmp_path / "envelope"
    shutil.copytree(Path(__file__).parents[2] / "fixtures" / "ways" / "envelope", folder)
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    (problem,) = lint(folder)
    assert words in problem.message
    assert problem.line == next(number for number, line in enumerate(profile.read_text().splitlines(), 1) if new in line)
