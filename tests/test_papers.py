"""Every paper: survives kills, is deterministic, speaks in sentences, keeps its pages current.

A further paper needs no line here: `harness.papers` finds every `papers/*/run.py`. All tests of a
paper share one undisturbed smoke run, whichever test process they run in.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from shared.experiment.spec import PRESET_NAMES, Experiment
from tests import harness, pages
from tools import cherrypick


@dataclass(frozen=True)
class Smoke:
    """The undisturbed smoke run of a paper."""

    folder: Path
    done: harness.Finished


@pytest.fixture(scope="session", params=harness.papers())
def paper(request: pytest.FixtureRequest) -> str:
    """A paper's name."""
    return request.param


@pytest.fixture(scope="session")
def experiment(paper: str) -> Experiment:
    """What the paper hands to the engine."""
    return importlib.import_module(f"papers.{paper}.run").EXPERIMENT


@pytest.fixture(scope="session")
def smoke(paper: str, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """One undisturbed smoke run: the first test process that needs it makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, note = base / f"smoke-{paper}", base / f"smoke-{paper}.json"
    with harness.locked(base / f"smoke-{paper}.lock"):
        if not note.exists():
            done = harness.execute(harness.smoke(paper, folder))
            note.write_text(json.dumps(asdict(done)))
    return Smoke(folder, harness.Finished(**json.loads(note.read_text())))


def test_smoke_runs_to_its_end(paper: str, smoke: Smoke, record_property) -> None:
    budget = f"budget {harness.SMOKE_BUDGET_SECONDS:.0f} s alone on two cores"
    record_property("smoke", f"{paper}: {smoke.done.seconds:.1f} s ({budget})")
    assert smoke.done.code == 0, smoke.done.tail()
    assert harness.incomplete(smoke.folder) == []


def test_killed_five_times_and_resumed_it_is_the_same_run(
    paper: str, smoke: Smoke, tmp_path: Path
) -> None:
    assert smoke.done.code == 0, smoke.done.tail()
    total = harness.progress(smoke.folder)
    chain = harness.kill_and_resume(
        lambda folder: harness.smoke(paper, folder),
        lambda folder: harness.resume(paper, folder),
        tmp_path,
        total,
        seed=paper,
    )
    assert len(chain.kills) == 5, f"only {chain.kills} of 5 kills struck; {total} marks in all"
    for folder in chain.folders:
        assert harness.differences(smoke.folder, folder) == [], chain.kills
        assert harness.incomplete(folder) == []


def test_a_fresh_process_with_scrambled_global_state_gives_the_same_bytes(
    paper: str, smoke: Smoke, tmp_path: Path
) -> None:
    """Without the network, with other string hashes and other states of global generators."""
    assert smoke.done.code == 0, smoke.done.tail()
    site, again = tmp_path / "site", tmp_path / "again"
    done = harness.execute(harness.smoke(paper, again), **harness.scrambled(site))
    assert done.code == 0, done.tail()
    assert harness.differences(smoke.folder, again) == []
    assert "numpy" in (site / "scrambled.txt").read_text()


def test_another_seed_gives_another_outcome(
    paper: str, experiment: Experiment, smoke: Smoke, tmp_path: Path
) -> None:
    """Within a run of several seeds; the first of them is what it is without the others."""
    assert smoke.done.code == 0, smoke.done.tail()
    folder = smoke.folder
    if experiment.presets["smoke"].seeds < 2:
        folder = tmp_path / "two"
        done = harness.execute(harness.smoke(paper, folder, "--seeds", "2"))
        assert done.code == 0, done.tail()
        one, two = harness.recorded(smoke.folder), harness.recorded(folder)
        shared = [name for name in one if name in two and name.endswith("result.npz")]
        assert [name for name in shared if one[name] != two[name]] == []
    assert any(folder.glob("tasks/**/seeds-*")), "no task has seeds"
    assert harness.seedless_tasks(folder) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--no-such-option", "3"),
        ("smoke", "--sedes", "3"),
        ("smoke", "--seeds", "0"),
        ("smoke", "--seeds", "many"),
        ("smokee",),
        ("--resume", "no/such/folder"),
        ("smoke", "--workers", "-1"),
    ],
    ids=" ".join,
)
def test_a_bad_argument_gets_one_sentence(paper: str, arguments: tuple[str, ...]) -> None:
    done = harness.python("-m", f"papers.{paper}.run", *arguments)
    assert harness.not_one_sentence(done) == []


@pytest.mark.parametrize("arguments", [("--help",), ("quick", "--help")], ids=" ".join)
def test_help_imports_nothing_heavy(
    paper: str, experiment: Experiment, arguments: tuple[str, ...]
) -> None:
    done, heavy = harness.imported_by(f"papers.{paper}.run", *arguments)
    assert done.code == 0, done.tail()
    assert heavy == []
    words = PRESET_NAMES if len(arguments) == 1 else ("--seeds", "--resume", "--workers")
    assert [word for word in words if word not in done.out] == []


@pytest.mark.parametrize("torch", [False, True], ids=["method", "method_torch"])
def test_the_method_works_with_the_rest_of_this_repository_out_of_sight(
    paper: str, torch: bool, tmp_path: Path
) -> None:
    """Copied out as a user would, it passes the test that is copied with it."""
    if torch and not (harness.ROOT / "papers" / paper / "method_torch.py").is_file():
        pytest.skip(f"{paper} has no method_torch.py")
    if torch and find_spec("torch") is None:
        pytest.skip("torch is not installed (uv sync --extra torch)")
    item = cherrypick.pick(paper, tmp_path, torch)
    cherrypick.copy(item)
    assert "tests passed" in cherrypick.prove(item)
    assert cherrypick.check(item) == (True, True)


def test_claims_are_complete(paper: str, experiment: Experiment) -> None:
    ids = [claim.id for claim in experiment.claims]
    assert ids == [f"C{i}" for i in range(1, len(ids) + 1)]
    for claim in experiment.claims:
        for name in ("statement", "place"):
            assert getattr(claim, name).strip(), f"{claim.id} has no {name}"
        rule = claim.not_attempted or (claim.measured_as and claim.rule)
        assert rule, f"{claim.id} says neither how it is judged nor why it is not attempted"


def test_presets_and_tasks(paper: str, experiment: Experiment) -> None:
    assert experiment.name == paper
    assert experiment.entry == f"papers.{paper}.run:EXPERIMENT"
    assert tuple(experiment.presets) == PRESET_NAMES
    for config in experiment.presets.values():
        tasks = experiment.tasks(config)
        keys = [task.key for task in tasks]
        assert keys and len(set(keys)) == len(keys)
        assert all(task.cpu_seconds > 0 for task in tasks)


def test_furniture(paper: str) -> None:
    """The same files in each room, and a page of sources for what is cited."""
    room = harness.ROOT / "papers" / paper
    wanted = ["__init__", "method", "experiment", "claims", "figures", "run"]
    wanted = [f"{name}.py" for name in wanted] + ["README.md", "citation.bib"]
    assert [name for name in wanted if not (room / name).is_file()] == []
    page = (room / "README.md").read_text()
    assert [title for title in ("Deviations", "Claims") if title not in page] == []


# Once for all papers ------------------------------------------------------------------------------


def test_generated_tables_are_current() -> None:
    done = harness.python("-m", "tools.report", "--check")
    assert done.code == 0, done.tail()


def test_every_command_on_a_page_exists() -> None:
    wrong = {
        str(page.relative_to(harness.ROOT)): found
        for page in pages.tracked()
        if page.suffix == ".md"
        and (found := [w for c in pages.commands(page.read_text()) for w in pages.wrong_in(c)])
    }
    assert wrong == {}


def test_no_path_of_one_machine_in_the_tree() -> None:
    found = {}
    for path in pages.tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        if paths := pages.machine_paths(text):
            found[str(path.relative_to(harness.ROOT))] = paths
    assert found == {}


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(harness.ROOT)}: {target}"
        for page in pages.tracked()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
