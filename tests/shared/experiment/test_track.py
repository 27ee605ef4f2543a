"""The mirror to Weights & Biases: where it writes, when it is online, and that it harms nobody."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.experiment.errors import MissingExtra
from shared.experiment.track import NoTracker, WandbTracker, tracker, wandb_mode


class FakeRun:
    """Records what it is told."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken
        self.metrics: list[tuple[str, str]] = []
        self.rows: list[dict[str, Any]] = []
        self.finished = 0

    def define_metric(self, name: str, step_metric: str) -> None:
        self.metrics.append((name, step_metric))

    def log(self, row: dict[str, Any]) -> None:
        if self.broken:
            raise OSError("no space left")
        self.rows.append(row)

    def finish(self) -> None:
        self.finished += 1


def fake_wandb(run: FakeRun | Exception) -> SimpleNamespace:
    calls: list[dict[str, Any]] = []

    def init(**arguments: Any) -> FakeRun:
        calls.append(arguments)
        if isinstance(run, Exception):
            raise run
        return run

    return SimpleNamespace(init=init, Settings=lambda **given: given, calls=calls)


def install(monkeypatch: pytest.MonkeyPatch, run: FakeRun | Exception) -> SimpleNamespace:
    wandb = fake_wandb(run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return wandb


def test_none_tracks_nothing(tmp_path: Path) -> None:
    nothing = tracker("none", tmp_path, "toy", {}, pytest.fail)
    nothing.log("a", {"loss": 1.0})
    nothing.finish()
    assert isinstance(nothing, NoTracker)
    assert list(tmp_path.iterdir()) == []


def test_metrics_go_to_one_run_below_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(broken=False)
    wandb = install(monkeypatch, run)
    mirror = tracker("wandb", tmp_path, "toy", {"seeds": 3}, pytest.fail, {"HOME": str(tmp_path)})
    mirror.log("a/seeds-0-0", {"loss": 1.0, "done": 5})
    mirror.log("a/seeds-0-0", {"loss": 0.5, "done": 10})
    mirror.log("b", {"loss": 2.0, "done": 5})
    mirror.finish()
    (call,) = wandb.calls
    assert call["dir"] == str(tmp_path) and call["mode"] == "offline"
    assert call["project"] == "corroborate-toy" and call["config"] == {"seeds": 3}
    assert run.metrics == [("a/seeds-0-0/*", "a/seeds-0-0/done"), ("b/*", "b/done")]
    assert run.rows[1] == {"a/seeds-0-0/loss": 0.5, "a/seeds-0-0/done": 10}
    assert run.finished == 1


@pytest.mark.parametrize("run", [FakeRun(broken=True), RuntimeError("no space left")])
def test_a_failing_tracker_says_so_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: FakeRun | Exception
) -> None:
    install(monkeypatch, run)
    said: list[str] = []
    mirror = tracker("wandb", tmp_path, "toy", {}, said.append, {"HOME": str(tmp_path)})
    for _ in range(3):
        mirror.log("a", {"loss": 1.0})
    mirror.finish()
    assert said == ["tracking stopped, the run goes on: no space left"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match="needs the package wandb"):
        tracker("wandb", tmp_path, "toy", {}, pytest.fail)


def test_online_only_for_who_is_logged_in_or_says_so(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert wandb_mode(home) == "offline"
    assert wandb_mode({**home, "WANDB_API_KEY": "k"}) == "online"
    assert wandb_mode({**home, "WANDB_API_KEY": "k", "WANDB_MODE": "offline"}) == "offline"
    (tmp_path / ".netrc").write_text("machine example.org login user password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_mode(home) == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password p\n")
    assert wandb_mode(home) == "online"
    (tmp_path / ".netrc").write_text("not a netrc file\n")
    assert wandb_mode(home) == "offline"


def test_the_real_package_writes_an_offline_run_below_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    said: list[str] = []
    mirror = tracker("wandb", tmp_path, "toy", {"seeds": 3}, said.append, {"HOME": str(tmp_path)})
    assert isinstance(mirror, WandbTracker)
    mirror.log("a", {"loss": 1.0, "done": 5})
    mirror.finish()
    assert said == []
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert written.stat().st_size > 0
