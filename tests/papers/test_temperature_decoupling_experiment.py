"""The experiment as a whole: configuration, theorems as measurements, verdicts, the grid, scale."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from papers.temperature_decoupling import (
    experiment,
    figures,
    laws,
    learning,
    mdps,
    network,
    oracle,
    theorems,
)
from papers.temperature_decoupling.claims import CLAIMS
from papers.temperature_decoupling.config import OPT_TAUS, PRESETS, Config
from shared.experiment.ledger import judge
from shared.experiment.spec import Verdict

# --- Configuration --------------------------------------------------------------------------------


def refused(**fields: object) -> str:
    with pytest.raises(ValueError) as error:
        Config(**fields)  # pyright: ignore[reportArgumentType]
    return str(error.value)


def test_paper_preset_is_the_papers_table() -> None:
    paper = PRESETS["paper"]
    assert (paper.sweeps, paper.atoms, paper.support) == (1000, 121, (-2.0, 8.0))
    assert paper.opt_taus == (1e-1, 1e-3, 1e-5, 1e-7, 1e-9)
    assert "mmd" in paper.projections and paper.mmd_alpha == 1.5
    for name in ("quick", "cpu", "paper"):
        assert PRESETS[name].random_mdps >= 200


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0."),
        ({"random_mdps": 0}, "random-mdps must be at least 1"),
        ({"opt_taus": ()}, "opt-taus must be at least one value; got none."),
        ({"q_taus": (1.5,)}, "temperatures must be above 0 and below 1, so that tau^2 < tau; got"),
        ({"projections": ("quantile",)}, "projections must be cramer or mmd; got 'quantile'."),
        ({"support": (0.0, 5.0)}, "support must be finite and cover the returns of M2, 0 to 8"),
        ({"mmd_alpha": 2.0}, "mmd-alpha must be above 0 and below 2"),
        ({"q_power": 0.5}, "q-power must be above 1/2 and at most 1"),
        ({"accuracies": (0.0,)}, "accuracies must be finite and above 0; got 0.0."),
        ({"grid_learning_rate": math.inf}, "grid-learning-rate must be above 0"),
        ({"projection_atoms": (1,)}, "projection-atoms must be at least 2"),
        ({"atoms": 1}, "atoms must be at least 2"),
        ({"first_seed": -1}, "first-seed must be at least 0"),
    ],
)
def test_bad_configuration_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    message = refused(**fields)
    assert message.startswith(sentence) and "\n" not in message


# --- Planted MDPs and theorems --------------------------------------------------------------------


def test_planted_mdps_are_what_they_claim() -> None:
    for seed in range(20):
        one = mdps.planted(seed)
        one.mdp.validate()
        q = one.mdp.r + one.mdp.gamma * (one.mdp.P @ one.q.max(1))
        np.testing.assert_allclose(q, one.q, atol=1e-13)
        gap = one.q.max(1, keepdims=True) - one.q
        assert (gap[one.optimal] == 0).all() and (gap[~one.optimal] >= mdps.LEAST_GAP).all()
        assert one.optimal.any(1).all()
    assert (mdps.planted(0).mdp.r != mdps.planted(1).mdp.r).any()


@pytest.fixture(scope="module")
def decided() -> dict[str, dict[str, np.ndarray]]:
    return {"examples": theorems.decide((0, 1, 2, 3)), "random": theorems.decide((4, 5, 6, 7))}


def test_theorems_hold(decided) -> None:
    for found in decided.values():
        for name, value in found.items():
            if name.endswith("/error"):
                assert (value <= 1e-9).all(), name
            if name.endswith("/ratio"):
                assert (value <= 1 + 1e-6).all(), name
        assert (found["erl/excess"] >= -1e-9).all()
        assert (found["unique/least"] > 0).all()


def test_known_numbers_among_the_measurements(decided) -> None:
    found = decided["examples"]
    np.testing.assert_allclose(found["linear/ratio"][0, -1], 1, atol=1e-9)
    np.testing.assert_allclose(found["two/standard"][0], 512 / 513, atol=1e-9)
    np.testing.assert_allclose(found["limits/tv"][0], 512 / 513 - 0.5, atol=1e-9)
    np.testing.assert_allclose(found["limits/tv"][1], 2 / 3 - 0.5, atol=1e-9)
    np.testing.assert_allclose(found["policies"][0, 0, 1, 0], 0.9980498872, atol=1e-9)
    np.testing.assert_allclose(found["policies"][0, 1, 1, 0], 0.6510896798, atol=1e-9)


def test_a_mdp_does_not_depend_on_its_company(decided) -> None:
    alone = theorems.decide((6,))
    for name, value in alone.items():
        np.testing.assert_allclose(value[0], decided["random"][name][2], rtol=1e-9, atol=1e-12)


# --- Claims ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(decided) -> dict[str, np.ndarray]:
    """Results of a run whose 200 random MDPs are four, many times over."""
    many = {
        name: np.concatenate([decided["examples"][name], np.repeat(value, 50, axis=0)])
        for name, value in decided["random"].items()
    }
    rng = np.random.default_rng(0)
    config = Config(projection_atoms=(11,), accuracies=(0.5,))
    z = np.linspace(-2, 8, 121)
    limits = laws.limit_laws(z)
    outcomes: dict[str, Any] = {
        "theorems": many,
        "examples": laws.iterates()
        | theorems.bound_curves()
        | {"grid/exact": network.exact_measures(0.1)},
        "projections": {
            "projection/error": np.full((1, 3), 0.1),
            "projection/bound": np.full((1, 2), 0.2),
            "accuracy/error": np.array([0.1]),
            "accuracy/settings": np.ones((1, 5)),
        },
        "grid": {
            "measures": rng.random((5, 3, 4)),
            "curve": rng.random((5, 4, 3, 4)),
            "error": rng.random((5, 2)),
            "policy": rng.random((5, 3, 4)),
        },
    }
    for name in ("m1", "m2"):
        outcomes[f"learning/mdp={name}"] = {
            "policy": rng.random((5, 2, 4, 3)),
            "tv": np.full((5, 2, 4), 0.001) + 1e-5 * rng.random((5, 2, 4)),
        }
    for precision in ("float64", "float32"):
        for projection in config.projections:
            # As the paper has it: float32 moves the standard estimate from one law to another.
            standard = limits[1] if precision == "float64" else limits[0]
            eta = np.stack([np.stack([standard, limits[0]])] * len(OPT_TAUS))
            w1 = np.array(
                [[[laws._w1(law, lim, z) for lim in limits] for law in two] for two in eta]
            )
            outcomes[f"laws/precision={precision}/projection={projection}"] = {
                "eta": eta, "policy": np.zeros((5, 2, 2)), "mean": eta @ z, "w1": w1,
                "z": z, "limits": limits,
            }  # fmt: skip
    return dict(experiment.collect(config, outcomes))


def verdicts(results: dict[str, np.ndarray]) -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in judge(CLAIMS, results)}


def test_all_claims_are_decided(results) -> None:
    found = verdicts(results)
    assert list(found) == [f"C{i}" for i in range(1, 16)]
    assert set(found.values()) == {Verdict.REPRODUCED}


def test_few_random_mdps_decide_nothing(results) -> None:
    few = results | {"random/count": np.asarray(199)}
    found = verdicts(few)
    assert {k for k, v in found.items() if v == Verdict.NOT_RUN} == set(found) - {"C12"}
    short = results | {"opt_taus": np.array([0.1])}
    assert verdicts(short)["C12"] == Verdict.NOT_RUN


SPOILED = [
    ("C1", "random/max/monotone/error", 1e-9),
    ("C1", "examples/cold/error", 1e-6),
    ("C2", "random/max/linear/ratio", 1.01),
    ("C3", "random/max/tv/ratio", 1.01),
    ("C3", "examples/slope/ratio", 1.01),
    ("C4", "random/max/erl/tv", 1e-6),
    ("C4", "random/min/erl/excess", -1e-3),
    ("C5", "examples/decoupled/ratio", 1.1),
    ("C5", "random/max/fixed/error", 1e-3),
    ("C5", "random/max/fixed/tv", 1e-6),
    ("C6", "examples/two/standard", 0.5),
    ("C6", "examples/two/elsewhere", 0.1),
    ("C6", "learning/m1/tv", 0.1),
    ("C7", "random/max/laws/w1", 1e-3),
    ("C7", "examples/laws/ratio", 1.1),
    ("C7", "random/max/laws/w2", 0.1),
    ("C7", "examples/decoupled/lost", 0.1),
    ("C8", "random/max/contraction/ratio", 1.0001),
    ("C9", "examples/mean/error", 1e-9),
    ("C10", "random/max/iterates/ratio", 1.1),
    ("C10", "iterates/steps", 0.0),
    ("C11", "random/max/estimate/w1", 1e-3),
    ("C11", "accuracy/error", 0.51),
    ("C12", "laws/cramer/apart", 0.0),
    ("C12", "laws/float64/mmd/w1", 0.01),
    ("C13", "random/min/unique/least", -1e-6),
    ("C13", "examples/unique/identity/error", 1e-6),
    ("C14", "random/max/near/ratio", 1.01),
    ("C15", "examples/limit/error", 1e-6),
    ("C15", "random/max/narrow/above", 1e-3),
    ("C15", "random/max/narrow/outside", 0.5),
    ("C15", "random/max/narrow/loss", 0.0),
]


@pytest.mark.parametrize(("claim", "name", "value"), SPOILED)
def test_a_spoiled_measurement_costs_the_verdict(results, claim, name, value) -> None:
    spoiled = results | {name: np.full_like(results[name], value)}
    assert verdicts(spoiled)[claim] in (Verdict.PARTLY, Verdict.NOT_REPRODUCED)


def test_every_figure_is_drawn(results) -> None:
    names = [name for name, figure in figures.figures(results) if figure.axes]
    assert len(names) == len(figures.DRAWINGS) == len(set(names))


def test_results_stay_small(results) -> None:
    import json

    from shared.experiment.store import encode_results

    assert len(json.dumps(encode_results(results))) < 300 * 1024


# --- The grid -------------------------------------------------------------------------------------


def test_both_goals_are_equally_good() -> None:
    example = mdps.two_goals()
    example.mdp.validate(start=(mdps.GRID_START,))
    wanted = network._filtered()
    best = oracle.policy_value(example.mdp, wanted, wanted)
    assert best[mdps.PARK] == pytest.approx(10) and best[mdps.BUTTON] == pytest.approx(10)
    assert best[mdps.GRID_START] == pytest.approx(0.9**6 * 10)
    np.testing.assert_allclose(wanted[mdps.GRID_START], [1 / 3, 0, 1 / 3, 1 / 3], atol=1e-12)
    np.testing.assert_allclose(wanted[mdps.BUTTON], [1, 0, 0, 0], atol=1e-12)


def test_measures_by_hand() -> None:
    """Straight up to the top row and then left: one path, to the park, with the optimal value."""
    cells = mdps.GRID**2
    pi = np.zeros((cells, 4))
    pi[:, 0] = 1
    pi[: mdps.GRID] = [0, 0, 1, 0]
    button, paths, value, distance = network.measure(pi)
    assert (button, paths) == (0, 0) and value == pytest.approx(1)
    assert 0.3 < distance < 0.7
    button, paths, value, distance = network.measure(network._filtered())
    assert button == pytest.approx(0.5) and value == pytest.approx(1) and distance == 0
    assert math.log(15) < paths <= math.log(30)


def test_exact_players() -> None:
    standard, decoupled, cold, wanted = network.exact_measures(0.1)
    assert standard[0] < 0.01 and cold[0] < 0.01  # annealing avoids the button
    assert abs(decoupled[0] - 0.5) < 0.2 and decoupled[2] > 0.99 and wanted[2] == pytest.approx(1)


class OneGo:
    """A `Run` without checkpoints."""

    def __init__(self, config: Config) -> None:
        self.config, self.folder = config, Path()

    def loop(
        self, state: Any, step: Any, chunks: int, *, name: str = "", unit: str = "",
        per_chunk: int = 1,
    ) -> tuple[Any, dict[str, np.ndarray]]:  # fmt: skip
        rows = []
        for _ in range(chunks):
            state, metrics = step(state)
            rows.append(metrics)
        return state, {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}


def test_network_learns_soft_values() -> None:
    config = replace(
        PRESETS["smoke"], grid_width=32, grid_copies=60, grid_steps=100, grid_learning_rate=5e-3
    )
    task = next(t for t in experiment.tasks(config) if t.key == "grid")
    found = network.learn(config, task, OneGo(config))
    assert found["measures"].shape == (2, 3, 4) and found["curve"].shape == (2, 4, 3, 4)
    assert (found["error"] < 1.0).all()
    assert (found["measures"][0] != found["measures"][1]).any()


def test_learning_finds_the_exact_policies() -> None:
    """Long enough on the deterministic M1, both players are right, whatever the seed."""
    config = replace(PRESETS["smoke"], q_steps=60_000)
    task = next(t for t in experiment.tasks(config) if t.key == "learning/mdp=m1")
    found = learning.learn(config, task, OneGo(config))
    assert found["policy"].shape == (2, 2, 1, 3) and found["tv"].shape == (2, 2, 1)
    assert (found["tv"] < 0.02).all() and (found["tv"][0] != found["tv"][1]).any()
    expected = [[0.9973295996, 0.5, 0.9655], [0.8666267786, 0.5, 0.9655]]
    np.testing.assert_allclose(found["policy"][:, :, 0], [expected] * 2, atol=0.02)


# --- Scale ----------------------------------------------------------------------------------------

_LARGE = """
import numpy as np, jax
from pathlib import Path
from papers.temperature_decoupling import mdps, method

mdp, pi_ref = mdps.random_sparse(0)
mdp.validate()
log_ref = np.log(pi_ref)
with jax.enable_x64():
    q = method.soft_vi(mdp, log_ref, 0.01, 300)
    best = method.ref_optimal_q(mdp, log_ref)
    pi = method.decoupled_policy(mdp, log_ref, 0.01)
    erl = method.erl_limit(mdp, log_ref)[0]
    z = np.linspace(0, 10, 41)
    operator = method.soft_dist_operator(mdp, log_ref, pi, 0.01, z)
    zeta = operator(method.point_masses(best, z))
    value = method.soft_value(q, log_ref, 0.01)
    residual = np.abs(mdp.r + 0.9 * np.asarray(method.expect(mdp.P, value)) - q).max()
assert q.shape == pi.shape == erl.shape == (10_000, 8) and zeta.shape == (10_000, 8, 41)
assert residual < 1e-11 and abs(np.asarray(pi).sum(1) - 1).max() < 1e-12
assert abs(np.asarray(zeta).sum(-1) - 1).max() < 1e-9
# ru_maxrss would count the test process, too, from which this one was forked.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_ten_thousand_states_in_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", _LARGE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 2048
