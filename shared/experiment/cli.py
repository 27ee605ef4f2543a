"""The command line of a paper: `run [PRESET] [--field value ...] [--option value ...]`.

A preset is a subcommand that sets the defaults; every field of the paper's Config is an option; the
general options below are the same for all papers. A configuration becomes JSON and back exactly,
which is how worker processes and resumed runs get it.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from shared.experiment.errors import BadInput, Damaged
from shared.experiment.spec import DEFAULT_PRESET, PRESET_NAMES, Experiment

T = TypeVar("T")

PRESET_HELP = {
    "smoke": "seconds: shows that everything runs",
    "quick": "minutes: already shows the headline effect (the default)",
    "cpu": "up to an hour on two cores: the evidence kept in git",
    "paper": "the paper's own scale, for a GPU",
}


@dataclass(frozen=True)
class Options:
    """How to run; the same for every paper, and without influence on the results."""

    out: Path | None = None
    """Run folder to create; default runs/PAPER/TIME-ID."""
    resume: str | None = None
    """Finish an earlier run: its folder, or `latest`. Its configuration is the saved one."""
    workers: int | None = None
    """Worker processes; 0 or 1: none, all in this process. Default: one per core, 1 on a GPU."""
    seeds_per_task: int | None = None
    """Seeds that one task trains at once. Default: the paper's choice, on a GPU all."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; auto: a GPU if there is one."""
    precision: Literal["highest", "high", "default"] = "highest"
    """Precision of matrix products; `default` lets a GPU round float32 to fewer bits."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints of one task."""
    track: Literal["none", "wandb"] = "none"
    """Mirror metrics to Weights & Biases, offline unless you are logged in."""
    launch: Literal["local", "slurm"] = "local"
    """Run the tasks on this machine, or as jobs of a Slurm cluster."""
    partition: str | None = None
    """Slurm partition."""
    account: str | None = None
    """Slurm account."""
    qos: str | None = None
    """Slurm quality of service."""
    gpus_per_task: int = 0
    """GPUs of each Slurm job."""
    cpus_per_task: int = 1
    """Cores of each Slurm job."""
    minutes_per_task: int = 60
    """Time limit of each Slurm job; a job that needs longer goes on from its checkpoint."""
    wait: bool = True
    """Wait for the Slurm jobs; with --no-wait, collect later by --resume."""
    svg: bool = False
    """Write each figure as SVG too, beside its PNG."""
    strict: bool = False
    """End with exit code 3 if a claim falls short."""
    publish: bool = False
    """Copy the results into the paper's results/ folder; needs a clean git checkout."""
    quiet: bool = False
    """No progress, only what went wrong and the final table."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        at_least = {
            "workers": 0,
            "seeds_per_task": 1,
            "checkpoint_seconds": 0,
            "gpus_per_task": 0,
            "cpus_per_task": 1,
            "minutes_per_task": 1,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                flag = "--" + name.replace("_", "-")
                raise ValueError(f"{flag} must be at least {least}; got {value}.")
        if not math.isfinite(self.checkpoint_seconds):
            raise ValueError("--checkpoint-seconds must be finite.")


_SLURM_ONLY = ("partition", "account", "qos", "gpus_per_task", "cpus_per_task", "minutes_per_task")
NOT_INHERITED = ("out", "resume", "quiet", "debug", "wait")
"""Options that a resumed run does not take over from the run it resumes."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        preset, config: which configuration; both None for a resumed run whose preset was not named.
        options: the general options; of a resumed run only those given now (`resumed_options`).
        argv: the arguments themselves.
    """

    preset: str | None
    config: Any
    options: Options
    argv: tuple[str, ...] = ()


def parse(experiment: Experiment, argv: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        BadInput: unknown preset or option, impossible value.
        SystemExit: code 0, after `--help`.
    """
    module = experiment.entry.split(":")[0]
    preset, rest = _split_preset(argv)
    wants_help = any(word in ("-h", "--help") for word in rest)
    if wants_help and preset is None:
        _read(Options, Options(), ["--help"], f"python -m {module} [PRESET]", _overview(experiment))
    default = experiment.presets[preset or DEFAULT_PRESET]
    prog = f"python -m {module} {preset or DEFAULT_PRESET}"
    config_flags, option_flags = _flags(type(default)), _flags(Options)
    if shared := config_flags & option_flags:
        raise TypeError(f"Config fields clash with general options: {sorted(shared)}")
    _refuse_unknown(rest, config_flags | option_flags)
    if _given(rest, {"--resume"}) and not wants_help:
        if given := _given(rest, config_flags):
            raise BadInput(
                f"The configuration of a resumed run is the saved one; leave out {given[0]}."
            )
        options = _read(Options, Options(), rest, prog)
        return Request(preset, None, options, tuple(argv))
    command = dataclasses.make_dataclass(
        "Command",
        [("config", _bare(type(default))), ("general", _unprefixed(Options))],
        frozen=True,
    )
    about = f"{experiment.title}: preset {preset or DEFAULT_PRESET}."
    both = _read(command, command(default, Options()), rest, prog, about)
    _refuse_meaningless(both.general)
    return Request(preset or DEFAULT_PRESET, both.config, both.general, tuple(argv))


def resumed_options(request: Request, saved: Options) -> Options:
    """The options of a resumed run: the saved ones, changed by those given now.

    Raises:
        BadInput: a given option would change what the finished tasks already used.
    """
    _, words = _split_preset(request.argv)
    to_local = _given(words, {"--launch"}) and request.options.launch == "local"
    fresh = (*NOT_INHERITED, *(_SLURM_ONLY if to_local else ()))
    base = dataclasses.replace(saved, **{name: getattr(Options(), name) for name in fresh})
    options = _read(Options, base, words, "run")
    _refuse_meaningless(options)
    for name in ("seeds_per_task", "precision"):
        if getattr(options, name) != getattr(saved, name):
            flag = "--" + name.replace("_", "-")
            raise BadInput(f"A resumed run keeps its {flag}: {getattr(saved, name)}.")
    return options


def _refuse_meaningless(options: Options) -> None:
    for name in _SLURM_ONLY if options.launch == "local" else ():
        if getattr(options, name) != getattr(Options(), name):
            flag = "--" + name.replace("_", "-")
            raise BadInput(f"{flag} only has a meaning with --launch slurm.")


# Reading ------------------------------------------------------------------------------------------


def _split_preset(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    if argv and not argv[0].startswith("-"):
        if argv[0] not in PRESET_NAMES:
            near = difflib.get_close_matches(argv[0], PRESET_NAMES, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise BadInput(
                f"There is no preset {argv[0]!r}; the presets are {', '.join(PRESET_NAMES)}.{hint}"
            )
        return argv[0], list(argv[1:])
    return None, list(argv)


def _flags(kind: type, prefix: str = "") -> set[str]:
    """All option names of a dataclass, nested ones with dots: --lr, --net.width, --no-flag."""
    hints = typing.get_type_hints(kind)
    flags = set()
    for field in dataclasses.fields(kind):
        name = f"{prefix}{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(hints[field.name]):
            flags |= _flags(typing.cast(type, hints[field.name]), f"{name}.")
            continue
        flags.add(f"--{name}")
        if hints[field.name] is bool:
            flags.add(f"--{prefix}no-{field.name.replace('_', '-')}")
    return flags


def _flag(word: str) -> str | None:
    """The option that `word` names, in its usual spelling; None for a value."""
    if not word.startswith("-") or re.match(r"-(\d|\.\d|inf|nan|$)", word):
        return None
    return word.split("=")[0].replace("_", "-")


def _given(words: Sequence[str], flags: set[str]) -> list[str]:
    return [flag for word in words if (flag := _flag(word)) in flags and flag]


def _refuse_unknown(words: Sequence[str], known: set[str]) -> None:
    for word in words:
        flag = _flag(word)
        if flag is None or flag in known or flag in ("-h", "--help"):
            continue
        near = difflib.get_close_matches(flag, sorted(known), 3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "--help lists the options."
        raise BadInput(f"There is no option {flag}; {hint}")


def _bare(kind: type) -> Any:
    """Fields without a prefix, nested ones with their own: --lr, --net.width."""
    import tyro

    return Annotated[kind, tyro.conf.arg(name="")]  # pyright: ignore[reportInvalidTypeForm]


def _unprefixed(kind: type) -> Any:
    """Fields without a prefix, in a group of their own."""
    import tyro

    return tyro.conf.OmitArgPrefixes[kind]


def _read(
    kind: Callable[..., Any], default: Any, argv: Sequence[str], prog: str, about: str | None = None
) -> Any:
    """tyro's reading of `argv`; whatever it refuses becomes one sentence."""
    import tyro

    said = io.StringIO()
    try:
        with _wide_unless_help(argv), redirect_stderr(said):
            return tyro.cli(kind, default=default, args=argv, prog=prog, description=about)
    except ValueError as error:  # from __post_init__
        raise BadInput(str(error)) from error
    except SystemExit as error:
        if not error.code:
            raise
        raise BadInput(_sentence(said.getvalue())) from error


_TAKES = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "text"}
_TAKES |= {"[INT [INT ...]]": "whole numbers", "[FLOAT [FLOAT ...]]": "numbers"}


@contextmanager
def _wide_unless_help(argv: Sequence[str]) -> Iterator[None]:
    """Let tyro write its error on one line, so that it can be read back whole."""
    before = os.environ.get("COLUMNS")
    if not any(word in ("-h", "--help") for word in argv):
        os.environ["COLUMNS"] = "4000"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before


def _sentence(box: str) -> str:
    """The first statement in tyro's framed message, as a sentence."""
    lines = [line.strip(" │") for line in box.splitlines()[1:]]
    if not lines:
        return "The command line cannot be read."
    text = re.sub(r"^Error parsing (?!--)\S+: ", "", lines[0])
    if bad := re.match(r"Error parsing (--\S+): .*?('.*'|\[.*\])\.?$", text):
        takes = next((line for line in lines[1:] if line.startswith(bad[1])), "").split(maxsplit=1)
        text = f"{bad[1]} cannot be {bad[2].strip('[]')}"
        text += f"; it takes {_TAKES.get(takes[1], takes[1])}" if len(takes) == 2 else ""
    if text.startswith("Unrecognized options: "):
        text = f"Not an option's value, nor a preset in the first place: {text[22:]}"
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _overview(experiment: Experiment) -> str:
    """What `--help` says before a preset is chosen, above the general options."""
    presets = "\n".join(f"  {name:<8} {PRESET_HELP[name]}" for name in PRESET_NAMES)
    more = f"python -m {experiment.entry.split(':')[0]} {DEFAULT_PRESET} --help"
    return f"{experiment.title}\n\npresets:\n{presets}\n\nthe paper's own options: {more}"


# Configurations as JSON ---------------------------------------------------------------------------


def config_to_json(config: Any) -> Any:
    """A frozen dataclass, nested ones and their values, as JSON values."""
    if dataclasses.is_dataclass(config):
        return {f.name: config_to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, list | tuple):
        return [config_to_json(value) for value in config]
    if isinstance(config, Mapping):
        return {str(key): config_to_json(value) for key, value in config.items()}
    if isinstance(config, float) and not math.isfinite(config):
        return str(config)  # standard JSON has no NaN and no infinities
    if isinstance(config, Path):
        return str(config)
    if config is None or isinstance(config, str | int | float):
        return config
    raise TypeError(f"A configuration cannot hold {type(config).__name__}.")


def config_from_json(kind: type[T], obj: Any, where: str = "The saved configuration") -> T:
    """Inverse of `config_to_json` for a dataclass type, exactly.

    Raises:
        Damaged: a field is missing, unknown, or of another type; the message names it.
    """
    try:
        return _decode(kind, obj, "")
    except ValueError as error:
        raise Damaged(f"{where} cannot be used: {error}") from error


def _decode(kind: Any, obj: Any, at: str) -> Any:
    """`obj` as a value of type `kind`; ValueError names the place `at`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _decode(args[0], obj, at)
    if dataclasses.is_dataclass(kind) and isinstance(obj, dict):
        return _decode_fields(kind, obj, at)
    if origin in (typing.Union, types.UnionType):
        return _decode_first(args, obj, at)
    if origin is Literal and any(obj == arg and type(obj) is type(arg) for arg in args):
        return obj
    if origin in (tuple, list, Sequence) and isinstance(obj, list):
        of = args[:1] * len(obj) if origin is not tuple or args[-1] is ... else args
        values = [_decode(o, v, f"{at}[{i}]") for i, (o, v) in enumerate(zip(of, obj, strict=True))]
        return list(values) if origin is list else tuple(values)
    if origin in (dict, Mapping) and isinstance(obj, dict):
        return {key: _decode(args[1], value, f"{at}.{key}") for key, value in obj.items()}
    if kind is float and (type(obj) in (int, float) or obj in ("inf", "-inf", "nan")):
        return float(obj)
    if kind in (bool, int, str) and type(obj) is kind:
        return obj
    if isinstance(kind, type) and issubclass(kind, str | Path) and isinstance(obj, str):
        return kind(obj)
    if obj is None and kind in (None, type(None)):
        return None
    raise ValueError(f"{at or 'it'} cannot be {obj!r}.")


def _decode_fields(kind: Any, obj: dict[str, Any], at: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {f.name for f in dataclasses.fields(kind)}
    for name in sorted(fields - set(obj)):
        raise ValueError(f"field {at}{'.' if at else ''}{name} is missing.")
    for name in sorted(set(obj) - fields):
        raise ValueError(f"field {at}{'.' if at else ''}{name} is unknown.")
    prefix = f"{at}." if at else ""
    return kind(**{name: _decode(hints[name], obj[name], prefix + name) for name in obj})


def _decode_first(kinds: Sequence[Any], obj: Any, at: str) -> Any:
    """The first member of a union that fits; str last, since many things are written as text."""
    for kind in sorted(kinds, key=lambda k: k in (str, Path)):
        try:
            return _decode(kind, obj, at)
        except ValueError:
            continue
    raise ValueError(f"{at or 'it'} cannot be {obj!r}.")
