"""`evaluate --demo`: mocks that differ, each in a way that the mock command knows, and nothing beside it."""

import pytest
from click.testing import CliRunner

from testcard.harness import cli
from testcard.harness.cli.evaluate import DEMO
from testcard.mocks.command import mock


def test_demo_brings_its_own_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", "--demo", "nanogpt"]) == 2
    assert "--demo brings its own targets" in capsys.readouterr().err


def test_every_behaviour_differs_and_its_faults_exist() -> None:
    assert len({flags for _, flags in DEMO}) == len({words for words, _ in DEMO}) == len(DEMO) > 3
    named = {flags[place + 1].partition("@")[0] for _, flags in DEMO for place, flag in enumerate(flags) if flag == "--fault"}
    assert named
    text = CliRunner().invoke(mock, ["--list-faults"]).output
    assert all(name in text for name in named)
