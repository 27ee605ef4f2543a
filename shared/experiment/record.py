"""run.json: what was run, from what code, with which configuration, and how far it got.

It is written when a run starts and is all that a worker process, a cluster job or a resumed run
needs to go on. The layout is documented in README.md of this folder.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.experiment import store
from shared.experiment.cli import NOT_INHERITED, Options, config_from_json, config_to_json
from shared.experiment.errors import BadInput, Damaged
from shared.experiment.spec import Experiment, Task


@dataclass(frozen=True)
class Record:
    """A run as run.json has it.

    Attributes:
        preset, config, options: as the command line gave them.
        blocks: the tasks, split into the blocks of seeds that this run works on.
    """

    preset: str
    config: Any
    options: Options
    blocks: tuple[Task, ...]


def write(
    folder: store.RunFolder,
    experiment: Experiment,
    record: Record,
    provenance: Mapping[str, Any],
    device: Mapping[str, Any],
) -> None:
    """Write run.json of a run that starts now."""
    store.write_json(
        folder.run_json,
        {
            "format": store.FORMAT,
            "paper": experiment.name,
            "title": experiment.title,
            "entry": experiment.entry,
            "preset": record.preset,
            "config": config_to_json(record.config),
            "options": _lasting(record.options),
            "provenance": provenance,
            "device": device,
            "precision": record.options.precision,
            "tasks": [block.path for block in record.blocks],
            "resumed": [],
            "status": "running",
        },
    )


def update(folder: store.RunFolder, status: str, **changes: Any) -> None:
    """Note a new status and other changes."""
    saved = store.read_json(folder.run_json)
    store.write_json(folder.run_json, {**saved, **changes, "status": status})


def note_resumption(
    folder: store.RunFolder, options: Options, provenance: Mapping[str, Any]
) -> None:
    """Note when and from which code a run is resumed, and its options from now on."""
    resumed = store.read_json(folder.run_json)["resumed"]
    now = {key: provenance[key] for key in ("time", "commit", "dirty")}
    update(folder, "running", resumed=[*resumed, now], options=_lasting(options))


def origins(folder: store.RunFolder) -> list[dict[str, Any]]:
    """`commit` and `dirty` (and more) of the code that started the run, and of each resumption."""
    saved = store.read_json(folder.run_json)
    return [saved["provenance"], *saved["resumed"]]


def _lasting(options: Options) -> dict[str, Any]:
    """The options without those that only concern one command."""
    once = {name: getattr(Options(), name) for name in NOT_INHERITED}
    return config_to_json(dataclasses.replace(options, **once))


def read(folder: store.RunFolder, experiment: Experiment) -> Record:
    """The run in `folder`.

    Raises:
        BadInput: it belongs to another paper, or its tasks are not those of this code.
        Damaged: run.json is truncated, altered or of another version.
    """
    try:
        saved = store.read_json(folder.run_json)
        paper, preset, tasks = (str(saved["paper"]), str(saved["preset"]), list(saved["tasks"]))
        encoded, options = saved["config"], saved["options"]
    except (Damaged, KeyError, TypeError) as error:
        what = str(error) if isinstance(error, Damaged) else f"{folder.run_json} lacks {error}."
        raise Damaged(
            f"{what} Without it the run cannot be resumed; the outcomes of its finished tasks "
            f"are still in {folder.root / 'tasks'}. Start a new run."
        ) from error
    if paper != experiment.name:
        raise BadInput(f"{folder.root} holds a run of {paper}, not of {experiment.name}.")
    if preset not in experiment.presets:
        raise Damaged(f"{folder.run_json} names the preset {preset!r}, which does not exist.")
    config = config_from_json(
        type(experiment.presets[preset]), encoded, f"The configuration in {folder.run_json}"
    )
    general = config_from_json(Options, options, f"The options in {folder.run_json}")
    known = experiment.tasks(config)
    blocks = tuple(block(known, path) for path in tasks)
    return Record(preset, config, general, blocks)


def block(tasks: Sequence[Task], path: str) -> Task:
    """The block of seeds that `path` names.

    Raises:
        BadInput: there is no such task, or it has no such seeds.
    """
    key, _, seeds = path.rpartition("/")
    span = re.fullmatch(r"seeds-(\d+)-(\d+)", seeds)
    for task in tasks:
        if task.key not in (key, path):
            continue
        if task.path == path:
            return task
        if span and task.key == key:
            wanted = tuple(range(int(span[1]), int(span[2]) + 1))
            if wanted and set(wanted) <= set(task.seeds):
                return dataclasses.replace(task, seeds=wanted)
    raise BadInput(
        f"This run has a task {path} that the present code does not have; "
        "check out the commit named in its run.json, or start a new run."
    )


def load_experiment(entry: str) -> Experiment:
    """The Experiment that `module:NAME` names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def resume_command(folder: store.RunFolder, experiment: Experiment) -> str:
    """What a person types to go on with the run."""
    module = experiment.entry.split(":")[0]
    return f"uv run python -m {module} --resume {shlex.quote(str(folder.root))}"
