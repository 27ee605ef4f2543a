"""The command line: what it accepts, what it refuses in which words, and configurations as JSON."""

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.experiment import cli
from shared.experiment.cli import Options, config_from_json, config_to_json
from shared.experiment.errors import BadInput, Damaged
from tests.shared.experiment import toy


def parse(*argv: str) -> cli.Request:
    return cli.parse(toy.EXPERIMENT, argv)


def refusal(*argv: str) -> str:
    with pytest.raises(BadInput) as caught:
        parse(*argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_arguments_mean_the_quick_preset() -> None:
    assert parse() == cli.Request("quick", toy.PRESETS["quick"], Options(), ())


def test_options_without_a_preset_change_the_quick_one() -> None:
    request = parse("--seeds", "4", "--out", "x")
    assert request.preset == "quick"
    assert request.config == dataclasses.replace(toy.PRESETS["quick"], seeds=4)
    assert request.options == Options(out=Path("x"))


def test_a_preset_sets_the_defaults_that_options_change() -> None:
    request = parse("smoke", "--rate=0.1", "--noises", "0.5", "2", "--fate.seed", "0", "--draw")
    smoke = toy.PRESETS["smoke"]
    assert request.config == dataclasses.replace(
        smoke, rate=0.1, noises=(0.5, 2.0), draw=True, fate=toy.Fate(seed=0)
    )


def test_a_list_may_be_emptied_and_a_path_taken_back() -> None:
    @dataclasses.dataclass(frozen=True)
    class Data:
        """Data."""

        seeds: int = 1
        """Seeds."""
        names: tuple[str, ...] = ("a", "DSUP(1/2)")
        """Names."""
        prices: Path | None = Path("prices.csv")
        """Prices."""

    paper = dataclasses.replace(toy.EXPERIMENT, presets=dict.fromkeys(toy.PRESETS, Data()))
    given = cli.parse(paper, ["--names", "--seeds", "2", "--prices", "None"]).config
    assert given == Data(2, (), None)
    assert cli.config_from_json(Data, cli.config_to_json(given)) == given
    assert cli.parse(paper, ["--names", "DAU+DSUP(1/2)"]).config.names == ("DAU+DSUP(1/2)",)


def test_underscores_and_dashes_are_the_same() -> None:
    assert parse("--seeds_per_task", "2").options == parse("--seeds-per-task=2").options


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sedes", "3"], ["no option --sedes", "--seeds"]),
        (["--zzzzzzzz"], ["no option --zzzzzzzz", "--help"]),
        (["-x"], ["no option -x"]),
        (["smok"], ["no preset 'smok'", "smoke, quick, cpu, paper", "Did you mean smoke"]),
        (["--seeds", "many"], ["--seeds cannot be 'many'; it takes a whole number"]),
        (["--noises", "1", "a"], ["--noises cannot be '1', 'a'; it takes numbers."]),
        (["--rate", "2"], ["The step size must be between 0 and 1; got 2.0."]),
        (["--rate"], ["Missing value for argument '--rate'"]),
        (["--fate.fault", "bang"], ["bang", "--fate.fault", "interrupt"]),
        (["--seeds", "3", "smoke"], ["smoke", "preset"]),
        (["--workers", "-1"], ["--workers must be at least 0; got -1."]),
        (["--seeds-per-task", "0"], ["--seeds-per-task must be at least 1"]),
        (["--checkpoint-seconds", "nan"], ["--checkpoint-seconds must be at least 0; got nan"]),
        (["--checkpoint-seconds", "inf"], ["must be finite"]),
        (["--partition", "gpu"], ["--partition only has a meaning with --launch slurm"]),
        (["--device", "tpu"], ["tpu", "auto", "cpu", "gpu"]),
        (["--resume", "latest", "--seeds", "3"], ["the saved one; leave out --seeds"]),
        (["--resume=x", "--no-draw"], ["leave out --no-draw"]),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(argv: list[str], words: list[str]) -> None:
    sentence = refusal(*argv)
    for word in words:
        assert word in sentence


def test_a_nested_bad_value_gives_the_sentence_of_its_own_class() -> None:
    @dataclasses.dataclass(frozen=True)
    class Inner:
        """Inner."""

        width: int = 3
        """Width."""

        def __post_init__(self) -> None:
            if self.width < 1:
                raise ValueError("The width must be at least 1.")

    @dataclasses.dataclass(frozen=True)
    class Outer:
        """Outer."""

        seeds: int = 1
        """Seeds."""
        net: Inner = Inner()
        """Network."""

    toy_with_net = dataclasses.replace(toy.EXPERIMENT, presets=dict.fromkeys(toy.PRESETS, Outer()))
    assert cli.parse(toy_with_net, ["--net.width", "2"]).config == Outer(net=Inner(2))
    with pytest.raises(BadInput, match=r"^The width must be at least 1\.$"):
        cli.parse(toy_with_net, ["--net.width", "0"])


def test_a_config_field_that_hides_an_option_is_a_bug_of_the_paper() -> None:
    @dataclasses.dataclass(frozen=True)
    class Clashing:
        """Clashes."""

        out: int = 1
        """Out."""

    clashing = dataclasses.replace(toy.EXPERIMENT, presets=dict.fromkeys(toy.PRESETS, Clashing()))
    with pytest.raises(TypeError, match="--out"):
        cli.parse(clashing, [])


# Resuming -----------------------------------------------------------------------------------------


def test_a_resumed_run_inherits_its_options_but_for_those_of_one_command() -> None:
    saved = Options(out=Path("x"), workers=7, checkpoint_seconds=5.0, strict=True, debug=True)
    request = parse("--resume", "x", "--checkpoint-seconds", "9", "--no-strict")
    assert (request.preset, request.config) == (None, None)
    assert cli.resumed_options(request, saved) == Options(
        resume="x", workers=7, checkpoint_seconds=9.0
    )


@pytest.mark.parametrize("change", [["--seeds-per-task", "2"], ["--precision", "default"]])
def test_a_resumed_run_keeps_what_its_finished_tasks_already_used(change: list[str]) -> None:
    request = parse("--resume", "x", *change)
    with pytest.raises(BadInput, match=f"keeps its {change[0]}"):
        cli.resumed_options(request, Options())


def test_a_cluster_run_can_be_resumed_there_with_changes_and_finished_here() -> None:
    saved = Options(launch="slurm", partition="small", gpus_per_task=2)
    there = cli.resumed_options(parse("--resume", "x", "--partition", "large"), saved)
    assert (there.launch, there.partition, there.gpus_per_task) == ("slurm", "large", 2)
    here = cli.resumed_options(parse("--resume", "x", "--launch", "local"), saved)
    assert here == Options(resume="x")


# Help ---------------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as done:
        parse(*argv)
    assert done.value.code == 0
    return capsys.readouterr().out


def test_help_lists_the_presets_and_every_general_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, "--help")
    assert toy.EXPERIMENT.title in text
    for name, line in cli.PRESET_HELP.items():
        assert f"{name:<8} {line}" in text
    for field in dataclasses.fields(Options):
        assert f"--{field.name.replace('_', '-')}" in text


def test_help_of_a_preset_documents_every_field_with_its_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(shown(capsys, "smoke", "--help").replace("│", " ").split())
    assert "--seeds INT Independent runs (paper: 10). (default: 2)" in text
    assert "--fate.chunk INT" in text
    assert "--checkpoint-seconds FLOAT" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from shared.experiment import Experiment, main\n"
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n"
        "    'Config.'\n"
        "    seeds: int = 1\n"
        "nothing = lambda *_: []\n"
        "presets = dict.fromkeys(('smoke', 'quick', 'cpu', 'paper'), Config())\n"
        "e = Experiment('t', 'T', 't:E', presets, nothing, nothing, nothing, (), nothing)\n"
        "codes = [main(e, ['--help']), main(e, ['cpu', '--help']), main(e, ['--sedes'])]\n"
        "heavy = 'jax numpy scipy torch matplotlib gymnasium wandb rich submitit'.split()\n"
        "print(codes, [m for m in heavy if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 2] []", done.stderr


# Configurations as JSON ---------------------------------------------------------------------------


FATE = toy.Fate()


@dataclasses.dataclass(frozen=True)
class Everything:
    """One field of each kind."""

    integer: int = 1
    real: float = 0.1
    flag: bool = False
    text: str = "a"
    maybe: int | None = None
    path: Path | None = None
    choice: Literal["x", "y", 3] = "x"
    many: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "b")
    nested: toy.Fate = FATE
    several: tuple[toy.Fate, ...] = ()
    named: Mapping[str, float] = dataclasses.field(default_factory=dict)
    either: int | str = 1


reals = st.floats(allow_nan=False)
fates = st.builds(toy.Fate, task=st.text(), chunk=st.integers())


@given(
    st.builds(
        Everything,
        integer=st.integers(),
        real=reals,
        flag=st.booleans(),
        text=st.text(),
        maybe=st.none() | st.integers(),
        path=st.none() | st.just(Path("a/b")),
        choice=st.sampled_from(["x", "y", 3]),
        many=st.lists(reals).map(tuple),
        pair=st.tuples(st.integers(), st.text()),
        nested=fates,
        several=st.lists(fates).map(tuple),
        named=st.dictionaries(st.text(), reals),
        either=st.integers() | st.text(),
    )
)
def test_a_configuration_survives_json_exactly(config: Everything) -> None:
    text = json.dumps(config_to_json(config), allow_nan=False)
    assert config_from_json(Everything, json.loads(text)) == config


def test_nan_and_the_types_of_numbers_survive_json() -> None:
    back = config_from_json(Everything, config_to_json(Everything(real=math.nan)))
    assert math.isnan(back.real)
    whole = config_from_json(Everything, {**config_to_json(Everything()), "real": 2})
    assert type(whole.real) is float


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "field extra is unknown"),
        ({"real": None}, "real cannot be None"),
        ({"integer": 1.5}, "integer cannot be 1.5"),
        ({"integer": True}, "integer cannot be True"),
        ({"choice": "z"}, "choice cannot be 'z'"),
        ({"pair": [1]}, "shorter"),
        ({"several": [{"fault": "none"}]}, r"several\[0\]\.chunk is missing"),
        ({"maybe": "x"}, "maybe cannot be 'x'"),
    ],
)
def test_a_saved_configuration_that_does_not_fit_is_named(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(Damaged, match=words):
        config_from_json(Everything, {**config_to_json(Everything()), **change})


def test_a_saved_configuration_that_lacks_a_field_is_named() -> None:
    saved = config_to_json(Everything())
    del saved["text"]
    with pytest.raises(Damaged, match="field text is missing"):
        config_from_json(Everything, saved)


def test_what_json_cannot_hold_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="set"):
        config_to_json({"a": {1, 2}})


def test_options_survive_json() -> None:
    options = Options(out=Path("x"), workers=3, track="wandb", strict=True)
    assert config_from_json(Options, json.loads(json.dumps(config_to_json(options)))) == options
