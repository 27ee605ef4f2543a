"""The reward_regret experiment as a whole: configuration, tasks, results, verdicts, figures."""

from pathlib import Path

import numpy as np
import pytest

from papers.reward_regret import cases, checks, claims, env, experiment, figures
from papers.reward_regret.config import PRESETS, Config
from shared.experiment.ledger import judge
from shared.experiment.spec import Estimate, Verdict

SMALL = Config(
    seeds=3,
    first_seed=5,
    levels=(0.25, 1.0),
    matrix_levels=(0.5,),
    design_levels=(0.5,),
    errors=(0.05,),
    lams=(0.1, 1.0),
    horizons=(1, 3),
    weights=(0.0, 0.05, 1.0),
    fresh=5,
    sampling_seeds=2,
    sizes=(20, 200),
    environments=("FrozenLake",),
    gym_exact_cells=0,
)


class Plain:
    """A run without the engine: every loop in one go."""

    def __init__(self, config, folder):
        self.config, self.folder = config, folder

    def loop(self, state, step, chunks, *, name="train", unit="steps", per_chunk=1):
        rows = []
        for _ in range(chunks):
            state, metrics = step(state)
            rows.append(metrics)
        return state, {key: np.stack([row[key] for row in rows]) for key in rows[0]}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    run = Plain(SMALL, tmp_path_factory.mktemp("run"))
    return {task.key: dict(experiment.run_task(task, run)) for task in experiment.tasks(SMALL)}


@pytest.fixture(scope="module")
def results(outcomes):
    return dict(experiment.collect(SMALL, outcomes))


# --- Configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0."),
        ({"levels": (0.0,)}, r"levels must be in \(0, 1\]; got 0.0."),
        ({"levels": ()}, "levels must be at least one value; got none."),
        ({"errors": (1.0,)}, "errors must be strictly between 0 and 1; got 1.0."),
        ({"lams": (0.0,)}, "lams must be positive; got 0.0."),
        ({"horizons": (6,)}, "horizons must be 1 ... 5, to be enumerated; got 6."),
        ({"weights": (0.1,)}, "weights must be 0 at first; got 0.1."),
        ({"sizes": (2,)}, "sizes must be at least 4 samples; got 2."),
        ({"data": ("mine",)}, "data must be one of uniform, expert, design; got mine."),
        ({"environments": ("Pong",)}, "environments must be one of FrozenLake"),
        ({"delta": 1.0}, "delta must be strictly between 0 and 1; got 1.0."),
        ({"gym_gamma": 1.0}, r"gym-gamma must be in \[0, 1\); got 1.0."),
        ({"gym_level": 0.0}, r"gym-level must be in \(0, 1\]; got 0.0."),
        ({"noise": -0.1}, "noise must be at least 0; got -0.1."),
    ],
)
def test_bad_configuration_is_one_sentence(fields, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as error:
        Config(**fields)
    assert "\n" not in str(error.value)


def test_evidence_has_at_least_two_hundred_random_mdps():
    assert all(PRESETS[name].seeds >= 200 for name in ("quick", "cpu", "paper"))


# --- Tasks and results ----------------------------------------------------------------------------


def test_every_check_is_a_task_with_all_seeds():
    tasks = {task.key: task for task in experiment.tasks(SMALL)}
    for check in experiment.SECONDS:
        assert tasks[f"random/{check}"].seeds == (5, 6, 7)
    assert tasks["sampled/design"].seeds == (5, 6)
    assert tasks["exact"].seeds == tasks["gym/frozenlake"].seeds == ()


def test_outcomes_have_seeds_first_and_do_not_depend_on_their_grouping(outcomes, tmp_path):
    run = Plain(SMALL, tmp_path)
    for task in experiment.tasks(SMALL):
        if not task.seeds:
            continue
        for array in outcomes[task.key].values():
            assert len(array) == len(task.seeds)
        last = task.blocks(1)[-1]
        for name, array in experiment.run_task(last, run).items():
            np.testing.assert_allclose(outcomes[task.key][name][-1], array[0], rtol=0, atol=1e-12)


def test_quantiles_are_over_seeds(outcomes, results):
    threshold = outcomes["random/bounds"]["threshold"]
    assert threshold.shape == (3, 2) and len(np.unique(threshold)) == 6
    spread = results["random/bounds/threshold"]
    assert spread.shape == (2, experiment.QUANTILES)
    np.testing.assert_array_equal(spread[:, 0], threshold.min(axis=0))
    np.testing.assert_array_equal(spread[:, -1], threshold.max(axis=0))
    np.testing.assert_array_equal(spread[:, 10], np.median(threshold, axis=0))


def test_what_is_too_large_is_missing_not_wrong(results):
    assert np.isnan(results["gym/frozenlake/exact"]).all()
    low, high = results["gym/frozenlake/cells"], results["gym/frozenlake/upper"]
    assert (low > 0).all() and (low <= high).all()


def test_a_box_never_costs_anything(outcomes):
    assert (outcomes["random/boxed"]["over_free"] >= 1 - 1e-9).all()


def test_disjoint_policies_by_hand():
    table = cases.cases([0], 1, 4).tables[0]  # four arms: all bad ones are disjoint
    assert checks.disjoint(table, 1e-9) == 3
    two_by_two = cases.cases([0], 2, 2).tables[0]
    # Of two states with two actions no more than two policies share nothing.
    assert checks.disjoint(two_by_two, 1e-9) <= 2


def test_attacks_have_the_error_they_are_given():
    mdp, D = env.three_by_two(), env.three_by_two_data()
    for seed in range(20):
        reward = cases.disturbed(mdp, D, 0.07, np.random.default_rng(seed))
        assert np.sum(D * np.abs(reward - mdp.R)) == pytest.approx(0.07 * mdp.range_R)


# --- Verdicts -------------------------------------------------------------------------------------


def test_all_claims_are_decided_and_name_their_seeds(results):
    rows = judge(claims.CLAIMS, results)
    assert [row["verdict"] for row in rows] == ["reproduced"] * 8
    labels = [e["label"] for row in rows for e in row["estimates"]]
    assert sum("random MDPs 5 to 7" in label for label in labels) >= 8


def verdict(number: int, results, **changes) -> str:
    """The verdict of one claim after some results have been changed by a function."""
    changed = dict(results)
    for name, change in changes.items():
        key = name.replace("__", "/")
        changed[key] = change(np.array(changed[key], np.float64))
    return judge(claims.CLAIMS, changed)[number - 1]["verdict"]


@pytest.mark.parametrize(
    ("number", "name", "change", "expected"),
    [
        (1, "random__bounds__over_paper", lambda x: 0.5 * x / x.min(), "not reproduced"),
        (1, "random__bounds__over_tight", lambda x: 0.99 * x / x.min(), "not reproduced"),
        (1, "random__bounds__gap", lambda x: x + 1e-6, "partly"),
        (1, "random__bounds__attack_excess", lambda x: x + 2, "partly"),
        (1, "exact__closed__gap", lambda x: x + 1e-6, "partly"),
        (1, "random__milp__margin_gap", lambda x: x + 1e-3, "partly"),
        (2, "random__support__margin_share", lambda x: x + 1, "not reproduced"),
        (2, "random__support__witness_excess", lambda x: x - 1, "not reproduced"),
        (3, "random__design__bound_share", lambda x: x + 1, "not reproduced"),
        (3, "random__design__rival_excess", lambda x: x + 1, "partly"),
        (4, "random__matrix__disagreement", lambda x: x + 1e-6, "not reproduced"),
        (4, "random__matrix__wrong_verdicts", lambda x: x + 1, "not reproduced"),
        (5, "random__penalised__kl_excess", lambda x: x - 1, "not reproduced"),
        (5, "random__penalised__exact_attack_excess", lambda x: x + 1, "partly"),
        (6, "random__rlhf__shortfall", lambda x: x + 1e-3, "not reproduced"),
        (6, "exact__rlhf__truth", lambda x: 1e-12 * x, "not reproduced"),
        (7, "random__errors__mismatch_choice_share", lambda x: x + 1, "not reproduced"),
        (8, "random__expert__threshold", lambda x: x + 1e-3, "not reproduced"),
        (8, "random__expert__share_of_uniform", lambda x: 3 * x, "partly"),
    ],
)
def test_rules_notice_a_wrong_number(results, number, name, change, expected):
    assert verdict(number, results, **{name: change}) == expected


def test_rules_are_fixed_numbers_of_estimates(results):
    for claim in claims.CLAIMS:
        estimates = claim.measure(results)
        assert estimates and all(isinstance(e, Estimate) for e in estimates)
        assert isinstance(claim.judge(estimates), Verdict)


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_can_be_drawn(results, tmp_path: Path):
    from shared import plotting

    drawn = dict(figures.figures(results))
    assert set(drawn) == set(figures.DRAWINGS)
    for name, figure in drawn.items():
        for axes in figure.axes:
            triangle = name == "polytope" or (name == "penalty" and axes is figure.axes[0])
            assert bool(axes.get_xlabel()) != triangle, f"{name}: an axis has no label"
        assert plotting.save(figure, tmp_path / name)[0].stat().st_size > 10_000
    assert dict(figures.figures({"seeds": results["seeds"]})) == {}
