"""testcard.toml is read strictly: a mistake is named with its file and key, never ignored."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from testcard.harness.config import Config, load_config, load_waivers, providers_of
from testcard.harness.errors import UsageError

WAIVER = "[[waiver]]\nrule = 'image.*'\nprovider = 'nebul'\nreason = 'ticket 12'\nowner = 'ann'\nexpires = 2026-12-31\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "testcard.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Targets, defaults, prices and provider folders; relative folders count from the file's own place."""
    path = write(
        tmp_path,
        """
        [providers]
        path = ["mine"]
        [[target]]
        provider = "nanogpt"
        base_url = "http://127.0.0.1:9"
        models = ["hidream"]
        [check]
        seed = 7
        max_cost = 0.5
        [bench]
        slo = ["p95<8s"]
        [prices.nanogpt]
        adopt = "list"
        [prices.nanogpt.models]
        hidream = {kind = "per-image", usd_each = 0.02}
        """,
    )
    config = load_config(path)
    assert config.providers.path == (tmp_path / "mine",)
    assert (config.target[0].provider, config.target[0].models) == ("nanogpt", ("hidream",))
    assert (config.check.seed, config.check.max_cost, config.bench.slo) == (7, 0.5, ("p95<8s",))
    assert config.prices["nanogpt"].models["hidream"].kind == "per-image"


def test_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration elsewhere names what lies beside it: `--config ci/testcard.toml` works from the folder above."""
    (tmp_path / "ci" / "mine").mkdir(parents=True)
    (tmp_path / "ci" / "nebul").mkdir()
    (tmp_path / "ci" / "tiny.toml").write_text("")
    path = write(tmp_path / "ci", "[[target]]\nprovider = './mine'\n[[target]]\nprovider = 'nebul'\n[bench]\nworkload = 'tiny.toml'\n")
    monkeypatch.chdir(tmp_path)
    config = load_config(path)
    assert [target.provider for target in config.target] == [str(tmp_path / "ci" / "mine"), "nebul"]
    assert config.bench.workload == str(tmp_path / "ci" / "tiny.toml")
    monkeypatch.chdir(tmp_path / "ci")
    assert load_config().target[0].provider == "./mine"
    assert load_config().bench.workload == "tiny.toml"


def test_no_file_means_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config and without a testcard.toml here, nothing is configured; with one here, it is read."""
    monkeypatch.chdir(tmp_path)
    assert load_config() == Config()
    write(tmp_path, "[check]\nseed = 3\n")
    assert load_config().check.seed == 3


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    """--config with a wrong name is an error, not the defaults; a folder is none either."""
    with pytest.raises(UsageError, match="there is no such file"):
        load_config(tmp_path / "other.toml")
    with pytest.raises(UsageError, match="directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[check]\nsede = 1\n", "check.sede"),
        ("[chekc]\n", "chekc"),
        ("[check]\nseed = 'many'\n", "check.seed"),
        ("[check]\nmax_cost = -1\n", "check.max_cost"),
        ("[check]\nconcurrency = 0\n", "check.concurrency"),
        ("[bench]\nprocesses = 0\n", "bench.processes"),
        ("[[target]]\nbase_url = 'http://h'\n", "target.0.provider"),
        ("[prices.nanogpt]\nadopt = 'all'\n", "prices.nanogpt.adopt"),
        ("[prices.nanogpt.models]\nhidream = {kind = 'per-image'}\n", "prices.nanogpt.models.hidream"),
        ("[prices.nanogpt.models]\nhidream = {kind = 'per-image', usd_each = -1}\n", "usd_each"),
        ("[check\n", "testcard.toml:1: Expected"),
        (WAIVER + "until = 2026-12-31\n", "waiver.0.until"),
        (WAIVER.replace("owner", "ower"), "waiver.0.owner"),
        (WAIVER.replace("'ticket 12'", "' '"), "waiver.0.reason"),
        (WAIVER.replace("2026-12-31", "20261231"), "waiver.0.expires: has to be a day"),
        (WAIVER.replace("2026-12-31", "2026-12-31T10:00:00"), "waiver.0.expires: has to be a day"),
        (WAIVER.replace("2026-12-31", "'soon'"), "waiver.0.expires"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    """Each error is a usage error (exit 2) that names the file and the key or line."""
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_config(path)
    assert str(path) in caught.value.message
    assert expected in caught.value.message
    assert caught.value.exit_code == 2


def test_all_mistakes_are_named_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    """Whoever mends a file does it in one go: in the order of the lines, with the word that was probably meant."""
    path = write(
        tmp_path,
        """\
[[target]]
provider = "nanogpt"
model = ["hidream"]

[check]
concurency = 2
max_cost = inf
seed = "many"
[bench]
slo = ["p95<8s", "p95<8"]
[prices.nanogpt]
adopt = "lst"
[prices.nanogpt.models]
hidream = {kind = "per-imgae", usd_each = 1}
"*" = {kind = "grid", usd_each = {low = {"512x512" = -1}}}
flux = {usd_each = 1}
[[waiver]]
rule = "image.size"
provider = "nanogpt"
expires = 2026-12-31
owner = ""
""",
    )
    with pytest.raises(UsageError) as caught:
        load_config(path)
    said = caught.value.message.splitlines()
    assert said.pop(5).startswith(f"  {path}:10: bench.slo.1: 'p95<8': ")
    assert said == [
        f"{path} has 11 mistakes",
        f"  {path}:3: target.0.model: is no key here; did you mean models?",
        f"  {path}:6: check.concurency: is no key here; did you mean concurrency?",
        f"  {path}:7: check.max_cost: has to be a finite number, not inf",
        f'  {path}:8: check.seed: has to be a whole number, not "many"',
        f"  {path}:12: prices.nanogpt.adopt: lst is not known here; did you mean list?",
        f"  {path}:14: prices.nanogpt.models.hidream.kind: per-imgae is not known here; did you mean per-image?",
        f"  {path}:15: prices.nanogpt.models.*.usd_each.low.512x512: has to be at least 0, not -1",
        f"  {path}:16: prices.nanogpt.models.flux.kind: is missing",
        f"  {path}:17: waiver.0.reason: is missing",
        f"  {path}:21: waiver.0.owner: is empty",
    ]


def test_targets_that_nothing_stands_behind_are_named_with_their_lines(tmp_path: Path) -> None:
    """A provider or an operation that there is not, all at once, as soon as a command needs the targets."""
    path = write(
        tmp_path,
        """\
[[target]]
provider = "nanogtp"
[[target]]
provider = "opengpu-relay"
operations = [
    "generateFlux",
    "generateFlx",
]
""",
    )
    config = load_config(path)
    with pytest.raises(UsageError) as caught:
        providers_of(config)
    said = caught.value.message.splitlines()
    assert said[0] == f"{path} has 2 mistakes"
    assert said[1].startswith(f"  {path}:2: target.0.provider: there is no provider nanogtp; did you mean nanogpt?")
    assert said[2] == f"  {path}:7: target.1.operations.1: opengpu-relay has no operation generateFlx; did you mean generateFlux?"


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are a usage error too."""
    path = tmp_path / "testcard.toml"
    path.write_bytes("[check]\n# ä\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"testcard\.toml"):
        load_config(path)


def test_waivers_are_read_with_their_day(tmp_path: Path) -> None:
    """From testcard.toml, and alone from a file of their own; the last day may be a TOML date or a string."""
    for text in (WAIVER, WAIVER.replace("2026-12-31", "'2026-12-31'") + "operation = 'createImage'\n"):
        path = write(tmp_path, text)
        (found,) = load_config(path).waiver
        assert (found.rule, found.provider, found.expires) == ("image.*", "nebul", date(2026, 12, 31))
        assert load_waivers(path) == (found,)
    assert found.operation == "createImage"


def test_a_file_of_waivers_holds_nothing_else(tmp_path: Path) -> None:
    """A whole testcard.toml after --waivers is a mistake, and so is a file that is not there."""
    with pytest.raises(UsageError, match="check"):
        load_waivers(write(tmp_path, "[check]\nseed = 1\n" + WAIVER))
    with pytest.raises(UsageError, match="no such file"):
        load_waivers(tmp_path / "absent.toml")
