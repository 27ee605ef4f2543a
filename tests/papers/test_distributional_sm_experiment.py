"""Configuration, exact experiments, training tasks, claims on made-up results."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from papers.distributional_sm import claims, exact, truth
from papers.distributional_sm.claims import CLAIMS
from papers.distributional_sm.config import PRESETS, Config
from papers.distributional_sm.experiment import collect, run_task, tasks
from papers.distributional_sm.trial import trainer_spec
from shared.experiment.spec import Verdict

BY_ID = {claim.id: claim for claim in CLAIMS}


def verdict(claim, results):
    estimates = BY_ID[claim].measure(results)
    return None if estimates is None else BY_ID[claim].judge(estimates)


# Configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gamma": 1.0}, r"gamma must be in \[0, 1\); got 1.0."),
        ({"samples": 1}, "samples must be at least 2; got 1."),
        ({"tasks": ("maze",)}, "tasks must be one of windy, pendulum, balance; got maze."),
        ({"baselines": ("sr",)}, "baselines must be one of ensemble, one-step; got sr."),
        ({"updates": 10, "evaluations": 3}, "updates must be a multiple of 3 evaluations; got 10."),
        ({"episode_steps": 6}, "episode-steps must be more than the horizon of 6 steps; got 6."),
        ({"ablations": ("width=3",)}, "ablations must change one of horizon, atoms,"),
        ({"ablations": ("atoms=x",)}, "ablations: 'x' is no value for atoms."),
        (
            {"ablations": ("kernel=rbf",)},
            "kernel must be one of learned, fixed, scales, median; got 'rbf'",
        ),
        ({"risk_levels": (0.0,)}, r"risk-levels must be in \(0, 1\]; got 0.0."),
        ({"ema": 0.0}, r"ema must be in \(0, 1\]; got 0.0."),
        ({"learning_rate": 0.0}, "learning-rate must be positive; got 0.0."),
        ({"adam_eps": 0.0}, "adam-eps must be positive; got 0.0."),
        ({"ablation_updates": 30}, "ablation-updates must be a multiple of 25 evaluations; got 30"),
    ],
)
def test_bad_settings(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**change)


def test_the_paper_preset_is_the_official_table():
    spec, _ = trainer_spec(PRESETS["paper"], "delta", 3)
    assert (spec.atoms, spec.samples, spec.horizon) == (51, 32, 6)
    assert (spec.batch, spec.gamma) == (64, 0.95)
    assert (spec.hidden, spec.latent, spec.embed_dim) == ((256,) * 3, 8, 8)
    assert (spec.learning_rate, spec.adam_eps, spec.ema) == (6.25e-5, 1.5e-4, 0.01)
    assert spec.learned_kernel and PRESETS["paper"].updates == 2_500_000
    assert PRESETS["paper"].episodes * PRESETS["paper"].episode_steps == 500_000


def test_models_of_the_comparison():
    config = dataclasses.replace(PRESETS["cpu"], kernel="learned")
    ensemble, _ = trainer_spec(config, "ensemble", 2)
    assert ensemble.phi_per_atom and ensemble.atoms == config.atoms
    one, _ = trainer_spec(config, "one-step", 2)
    assert (one.atoms, one.gamma, one.include_source, one.phi_per_atom) == (1, 0.0, False, False)


def test_tasks_are_all_there():
    keys = [task.key for task in tasks(PRESETS["cpu"])]
    assert len(set(keys)) == len(keys)
    expected = {
        "exact",
        "truth/windy/gamble",
        "model/windy/gamble/delta",
        "model/pendulum/energy/one-step",
        "model/balance/weak/ensemble",
        "ablation/windy/unchanged",
        "ablation/windy/kernel=learned",
    }
    assert expected <= set(keys)
    assert "model/windy/gamble/ensemble" not in keys
    assert PRESETS["cpu"].ablated("horizon=1").updates == PRESETS["cpu"].ablation_updates
    assert PRESETS["cpu"].atom_counts == (11, 5, 21)
    assert PRESETS["cpu"].runs_of_truth % 11 == 0


# Training tasks -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("model", "kernel"), [("one-step", "scales"), ("ensemble", "learned")])
def test_every_kind_of_model_trains(model, kernel):
    config = dataclasses.replace(
        PRESETS["smoke"], baselines=("ensemble", "one-step"), kernel=kernel, ablations=()
    )
    task = next(t for t in tasks(config) if t.key == f"model/windy/top/{model}")
    found = run_task(task, OneGo(config))
    assert found["curve"].shape == (2, 2)
    assert found["returns"].shape == (2, 5, 5, 3) and found["w1"].shape == (2, 5, 5)
    assert (np.diff(found["returns"], axis=-1) >= 0).all()
    assert ((found["ks"] > 0) & (found["ks"] <= 1) & (found["cvm"] <= found["ks"] ** 2)).all()
    assert not np.array_equal(found["returns"][0], found["returns"][1])
    real, widths = truth.simulated(config, "windy", "top")
    mean = (found["w1"] / widths).mean((1, 2))
    np.testing.assert_allclose(found["curve"][:, -1], mean, rtol=1e-3)
    if model == "ensemble":
        np.testing.assert_allclose(found["w1"][0], truth.w1(found["returns"][0], real), rtol=1e-5)


# Exact experiments --------------------------------------------------------------------------------


def test_exact_experiments_decide_their_claims():
    results = {f"exact/{name}": value for name, value in exact.run_exact(12).items()}
    for claim in ("C1", "C2", "C3", "C10"):
        assert verdict(claim, results) is Verdict.REPRODUCED
    assert results["exact/contraction/ratio"].shape == (12, 3)
    ensemble = results["exact/spreads/ensemble"]
    np.testing.assert_allclose(ensemble[1:] / ensemble[:-1], 0.25, rtol=1e-6)
    worse = {**results, "exact/contraction/ratio": results["exact/contraction/ratio"] + 0.5}
    assert verdict("C3", worse) is Verdict.NOT_REPRODUCED
    wrong = {**results, "exact/identities/residual": np.array([1e-3])}
    assert verdict("C2", wrong) is Verdict.NOT_REPRODUCED


# Claims on made-up results ------------------------------------------------------------------------

SEEDS, SOURCES, REWARDS, M = 4, 3, 5, 10


def made_up(errors):
    """Results with the mean relative W1 of each model given, and small differences of seeds."""
    rng = np.random.default_rng(0)
    results = {"atoms": np.array([11, 5, 21]), "risk_levels": np.array([0.1, 0.5])}
    for policy in ("top", "gamble"):
        results[f"truth/windy/{policy}/range"] = np.full(REWARDS, 20.0)
        results[f"truth/windy/{policy}/quantised"] = np.full((3, SOURCES, REWARDS), 0.001)
    for key, error in errors.items():
        noise = 1 + 0.01 * rng.normal(size=(SEEDS, SOURCES, REWARDS))
        results[f"{key}/w1"] = 20 * error * noise
        results[f"{key}/ks"] = results[f"{key}/cvm"] = np.ones((SEEDS, SOURCES, REWARDS))
    return results


def test_closeness():
    delta = "model/windy/top/delta"
    assert verdict("C4", made_up({delta: 0.02})) is Verdict.REPRODUCED
    assert verdict("C4", made_up({delta: 0.05})) is Verdict.PARTLY
    assert verdict("C4", made_up({delta: 0.2})) is Verdict.NOT_REPRODUCED
    assert verdict("C4", made_up({})) is None


@pytest.mark.parametrize(
    ("ensemble", "one_step", "expected"),
    [
        (0.06, 0.06, Verdict.REPRODUCED),
        (0.06, 0.02, Verdict.PARTLY),
        (0.02, 0.06, Verdict.PARTLY),
        (0.02, 0.02, Verdict.NOT_REPRODUCED),
    ],
)
def test_baselines(ensemble, one_step, expected):
    place = "model/windy/top"
    errors = {f"{place}/delta": 0.04, f"{place}/ensemble": ensemble, f"{place}/one-step": one_step}
    assert verdict("C5", made_up(errors)) is expected
    del errors[f"{place}/one-step"]
    assert verdict("C5", made_up(errors)) is None


@pytest.mark.parametrize(("claim", "worse"), [("C7", ("horizon=1", "horizon=3"))])
def test_ablations(claim, worse):
    errors = {"ablation/windy/unchanged": 0.04} | {f"ablation/windy/{name}": 0.06 for name in worse}
    assert verdict(claim, made_up(errors)) is Verdict.REPRODUCED
    errors[f"ablation/windy/{worse[0]}"] = 0.02
    assert verdict(claim, made_up(errors)) is Verdict.PARTLY
    errors[f"ablation/windy/{worse[1]}"] = 0.02
    assert verdict(claim, made_up(errors)) is Verdict.NOT_REPRODUCED


def test_kernels():
    errors = {"ablation/windy/unchanged": 0.04, "ablation/windy/kernel=fixed": 0.04,
              "ablation/windy/kernel=learned": 0.03,
              "ablation/windy/kernel=median": 0.03, "ablation/windy/bandwidth=1": 0.06}  # fmt: skip
    assert verdict("C8", made_up(errors)) is Verdict.REPRODUCED
    errors["ablation/windy/kernel=learned"] = 0.05
    assert verdict("C8", made_up(errors)) is Verdict.PARTLY


def test_atoms():
    errors = {"ablation/windy/unchanged": 0.04, "ablation/windy/atoms=5": 0.06,
              "ablation/windy/atoms=21": 0.03}  # fmt: skip
    assert verdict("C9", made_up(errors)) is Verdict.REPRODUCED
    below = made_up(errors)
    below["truth/windy/top/quantised"][2, 0, 0] = 15.0
    assert verdict("C9", below) is Verdict.NOT_REPRODUCED


def ranked(top, gamble, true_top, true_gamble):
    """Results whose predicted and true returns from the origin are given, alike for all rewards."""
    results = {"risk_levels": np.array([0.1, 0.5])}
    for policy, said, true in (("top", top, true_top), ("gamble", gamble, true_gamble)):
        returns = np.tile(np.asarray(said, float), (SEEDS, 1, REWARDS, 1))
        results[f"model/windy/{policy}/delta/returns"] = returns
        cvars = [claims_cvar(true, tau) for tau in (0.1, 0.5)]
        truth = f"truth/windy/{policy}"
        results[f"{truth}/mean"] = np.full((1, REWARDS), np.mean(true))
        results[f"{truth}/mean_error"] = np.full((1, REWARDS), 0.01)
        results[f"{truth}/cvar"] = np.tile(np.array(cvars), (1, REWARDS, 1))
        results[f"{truth}/cvar_error"] = np.full((1, REWARDS, 2), 0.01)
        results[f"{truth}/range"] = np.full(REWARDS, 20.0)
    return results


def claims_cvar(values, tau):
    from papers.distributional_sm.tabular import cvar

    return float(cvar(np.asarray(values, float), tau))


SAFE, RISKY = np.full(M, 5.0), np.array([-9.0] + [9.0] * (M - 1))


def test_rankings():
    """Risky has the higher mean (7.2 against 5), the lower CVaR at 0.1 (-9), not at 0.5 (5.4)."""
    assert verdict("C6", ranked(SAFE, RISKY, SAFE, RISKY)) is Verdict.REPRODUCED
    found = BY_ID["C6"].measure(ranked(SAFE, RISKY, SAFE, RISKY))
    assert found is not None
    assert [e.value for e in found] == [1.0, REWARDS, 1.0]  # disagree at 0.1 alone
    assert verdict("C6", ranked(RISKY, SAFE, SAFE, RISKY)) is Verdict.NOT_REPRODUCED
    flat = np.full(M, 7.2)  # the right mean, and no tail
    assert verdict("C6", ranked(SAFE, flat, SAFE, RISKY)) is Verdict.NOT_REPRODUCED
    assert verdict("C6", ranked(SAFE, RISKY, SAFE, SAFE)) is None


def test_unclear_orders_do_not_count():
    results = ranked(SAFE, RISKY, SAFE, RISKY)
    results["truth/windy/top/mean_error"][:] = 5.0
    assert BY_ID["C6"].measure(results) is None


def test_results_keep_one_snapshot():
    config = PRESETS["smoke"]
    outcome = {"snapshot": np.zeros((2, 3, 4, 2)), "w1": np.zeros((2, 5, 5))}
    found = collect(config, {"model/windy/top/delta": outcome, "ablation/windy/horizon=1": outcome})
    assert found["model/windy/top/delta/snapshot"].shape == (3, 4, 2)
    assert "ablation/windy/horizon=1/snapshot" not in found
    assert found["model/windy/top/delta/w1"].dtype == np.float32


def test_every_claim_is_there():
    assert [claim.id for claim in CLAIMS] == [f"C{i}" for i in range(1, 11)]
    assert all(claim.rule and claim.measured_as for claim in CLAIMS)
    assert claims.CLOSE == 0.03
