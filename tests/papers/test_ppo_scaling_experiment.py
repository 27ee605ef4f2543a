"""Configuration, tasks, what is collected, statistics and verdicts, on made-up outcomes."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from papers.ppo_scaling import analysis, budget, claims, figures
from papers.ppo_scaling.config import PRESETS, Cell, Config, cell_from, cells, plain_name
from papers.ppo_scaling.exact import exact
from papers.ppo_scaling.experiment import collect, plan, roles, tasks
from papers.ppo_scaling.method import BatchSpec
from shared.experiment.errors import BadInput, MissingExtra
from shared.experiment.spec import Estimate, Verdict

SMALL = replace(
    PRESETS["cpu"],
    seeds=4,
    side_seeds=3,
    side_games=2,
    atari_curve="",
    diagonal=(32, 1024),
    lr_grid=(2.0,),
    gamma_grid=(0.95,),
    evaluations=3,
)


@pytest.fixture(scope="module")
def theory():
    return exact(batches=400)


def outcome(rng, seeds, points, level):
    def real(*shape):
        return rng.normal(size=shape).astype(np.float32)

    metrics = {name: real(seeds, points) for name in (*analysis.PANELS, "critic_feature_rank")}
    return {
        **metrics,
        "curve": level + 0.05 * real(seeds, points),
        "final": level + 0.05 * real(seeds),
        "untrained": real(seeds),
        "points": real(seeds, 512, 2),
        "film": np.abs(real(seeds, 6, 10, 10)),
    }


def made_up(config, theory, level=lambda cell: 1.0, seed=0):
    """Results as if each cell's returns lay around `level(cell)`, in units of a reference."""
    rng = np.random.default_rng(seed)
    outcomes = {"exact": theory}
    for task in (task for task in tasks(config) if task.params["kind"] == "train"):
        low, high = analysis.NORMALISERS[task.params["game"]]
        found = outcome(rng, len(task.seeds), config.evaluations, level(cell_from(task.params)))
        for name in ("curve", "final"):
            found[name] = low + (high - low) * found[name]
        outcomes[task.key] = found
    return collect(config, outcomes)


def judged(results, number):
    claim = claims.CLAIMS[number - 1]
    estimates = claim.measure(results)
    return Verdict.NOT_RUN if estimates is None else claim.judge(estimates)


# Configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0."),
        ({"n_envs": 0}, "n-envs must be at least 1; got 0."),
        (
            {"games": ("brakout",)},
            "games of suite minatar are .*got brakout. Did you mean breakout?",
        ),
        ({"gamma": 1.5}, r"gamma and lam must be in \[0, 1\]; got 1.5."),
        ({"lr": 0.0}, "lr must be positive; got 0.0."),
        (
            {"many_envs": 3},
            "many-envs and diagonal must be a divisor of the batch of 8 x 128; got 3.",
        ),
        ({"controls": ("cuts",)}, "controls must be cut, stagger or dummy; got cuts."),
        ({"growth_holds": ("none",)}, "growth-holds must be num_minibatches or minibatch_size"),
        ({"rnd_games": ("Freeway",)}, "rnd-games need suite atari; got minatar."),
    ],
)
def test_bad_configurations(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(PRESETS["quick"], **change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_minibatches": 3}, "Cell 8x128: 3 minibatches must divide the batch of 8 x 128"),
        ({"steps": 1000}, "Cell 8x128: A batch of 1024 transitions is more than the 1000 steps"),
        ({"evaluations": 500}, "Cell 8x128 has 256 iterations in 262144 steps, too few for 500"),
    ],
)
def test_batches_that_cannot_be_are_refused_before_anything_runs(change, sentence):
    with pytest.raises(BadInput, match=sentence):
        tasks(replace(PRESETS["quick"], **change))


def test_names_of_games():
    names = ("SpaceInvaders", "space-invaders", "minatar-space_invaders", "space_invaders")
    assert {plain_name(name) for name in names} == {"space_invaders"}
    assert replace(PRESETS["quick"], games=("Breakout",)).all_games == ("breakout",)


def test_cells_of_the_evidence():
    config = PRESETS["cpu"]
    found = {cell.name: (cell, seeds, games) for cell, seeds, games in cells(config)}
    diagonal = [name for name in roles(config)["diagonal"]]
    assert diagonal == [f"{2**k}x{2 ** (10 - k)}" for k in range(11)]
    assert found["8x128"][1] == found["128x8"][1] == config.seeds
    assert found["32x128-minibatch-size"][0].hold == "minibatch_size"
    assert found["8x512-epochs16"][0].epochs == 16
    assert found["8x128-cut"][0].segment == 8 and found["128x8-stagger"][0].stagger == 128
    assert found["128x8-lr2"][0].lr == 2 * config.number("lr")
    assert found["8x128-gamma0.95"][0].gamma == 0.95
    assert found["8x128-pqn"][0].algorithm == "pqn"
    assert found["8x128-separate"][0].encoder == "separate"
    for cell, _, _ in found.values():
        spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
        assert spec.iterations(config.steps) % config.evaluations == 0, cell.name


def test_a_task_holds_its_cell():
    *trained, curve = tasks(PRESETS["cpu"])[1:]
    assert curve.key == "atari_curve" and curve.params["suite"] == "atari"
    assert curve.seeds == (0,) and curve.params["steps"] == PRESETS["cpu"].atari_curve_steps
    for task in trained:
        assert cell_from(task.params).name == task.key.rpartition("cell=")[2]
    assert Cell(8, 128).name == "8x128"


def test_paper_preset_is_the_papers():
    config = PRESETS["paper"]
    assert config.suite == "atari" and len(config.all_games) == 10
    assert config.steps == 100_000_000 and config.seeds == 5
    first = tasks(config)[1]
    assert (first.params["lr"], first.params["gamma"], first.params["epochs"]) == (2.5e-4, 0.99, 4)
    names = [cell.name for cell, _, _ in cells(config)]
    assert {"8x128", "128x8", "1x1024", "1024x1", "128x128", "8x2048", "8x128-rnd"} <= set(names)


def test_budget_is_printed():
    text = "\n".join(budget.lines(PRESETS["quick"]))
    for part in ("8x128 (2 games", "256 iterations", "4,096 gradient steps", "minutes of one CPU"):
        assert part in text


# Statistics ---------------------------------------------------------------------------------------


def test_scores_by_hand():
    results = {"games": np.asarray(["breakout", "unknown"])}
    low, high = analysis.NORMALISERS["breakout"]
    returns = np.array([[low, high], [3.0, 4.0]])
    np.testing.assert_allclose(analysis.normalised(results, returns), [[0, 1], [3, 4]])


def test_iqm_of_the_briefs_numbers():
    scores = np.array([[0.1, 0.5, 1], [0.2, 2, 4], [0, 0.7, 0.9], [1.5, 0.3, 10]])
    results = {"score/8x128": scores}
    assert analysis.iqm_of(results, "8x128").value == pytest.approx(0.8166667)


def test_gaps_and_slopes_find_what_was_put_in(theory):
    def level(cell):
        return (
            1
            + 0.2 * np.log2(cell.n_envs / 8)
            + (0.5 if cell.encoder == "separate" else 0) * (cell.n_envs > 8)
        )

    results = made_up(SMALL, theory, level)
    gap = analysis.gap(results, "128x8", "8x128")
    assert gap.low < 0.8 < gap.high and gap.high - gap.low < 0.3 and gap.n == 12
    assert 0 < gap.detectable < 0.3
    slope = analysis.slope(results, ["8x128", "32x32", "128x8"], "score", "")
    assert slope.low < 0.2 < slope.high < 0.3
    more = analysis.gap_of_gaps(
        results, ("128x8-separate", "8x128-separate"), ("128x8", "8x128"), ""
    )
    assert more.low < 0.5 < more.high < 0.8
    assert analysis.wins(results, "128x8", "8x128").value > 0.95


# Verdicts -----------------------------------------------------------------------------------------


def test_verdicts_where_everything_is_as_the_paper_says(theory):
    def level(cell):
        value = 1 + 0.2 * np.log2(cell.n_envs / 8) + 0.05 * np.log2(cell.n_envs * cell.n_ro / 1024)
        value *= 0.3 if cell.epochs == 16 and cell.n_envs == 8 else 1
        if cell.algorithm == "pqn":
            return 0.5
        return value + (0.5 if cell.encoder == "separate" and cell.n_envs > 8 else 0)

    results = made_up(SMALL, theory, level)
    for cell in ("8x128", "128x8"):
        for name, sign in claims.EXPECTED.items():
            results[f"metric/{name}/{cell}"] += 9.0 * sign * (cell == "128x8")
        results[f"metric/coverage/{cell}"] += 9.0 * (cell == "128x8")
    for number in (1, 2, 3, 4, 5, 6, 8, 9, 12):
        assert judged(results, number) is Verdict.REPRODUCED, number
    assert judged(results, 7) is judged(results, 10) is Verdict.NOT_RUN


def test_verdicts_where_nothing_is_there(theory):
    results = made_up(SMALL, theory)
    for number in (1, 3, 5, 9):
        assert judged(results, number) is Verdict.NOT_REPRODUCED, number
    assert judged(results, 6) is Verdict.REPRODUCED  # no gain is hardly any
    assert judged(results, 8) in (Verdict.PARTLY, Verdict.NOT_REPRODUCED)


def test_verdicts_where_the_opposite_is_there(theory):
    results = made_up(SMALL, theory, lambda cell: 1 - 0.2 * np.log2(cell.n_envs / 8))
    for number in (1, 2, 3, 5):
        assert judged(results, number) is Verdict.NOT_REPRODUCED, number
    assert judged(results, 6) is Verdict.NOT_REPRODUCED


def test_too_few_runs_decide_nothing(theory):
    config = replace(SMALL, seeds=1, side_seeds=1)
    results = made_up(config, theory)
    assert [judged(results, n) for n in range(1, 11)] == [Verdict.NOT_RUN] * 10


def test_metrics_are_judged_by_their_signs():
    def estimates(*signs):
        return [
            Estimate(float(s), s - 0.5, s + 0.5, f"m ({'+' if up > 0 else '-'})")
            for s, up in zip(signs, claims.EXPECTED.values(), strict=True)
        ]

    judge = claims.CLAIMS[3].judge
    assert judge(estimates(1, -1, -1, -1, -1, 1)) is Verdict.REPRODUCED
    assert judge(estimates(1, -1, 0, 0, 0, -1)) is Verdict.PARTLY
    assert judge(estimates(1, 0, 0, 0, 0, -1)) is Verdict.NOT_REPRODUCED


def test_exact_part(theory):
    assert judged(theory_results(exact(batches=8000)), 11) is Verdict.REPRODUCED
    wrong = {**theory, "bias/numeric": theory["bias/numeric"] + 0.01}
    assert judged(theory_results(wrong), 12) is Verdict.NOT_REPRODUCED


def theory_results(found):
    return {f"exact/{name}": values for name, values in found.items()}


# Figures ------------------------------------------------------------------------------------------


def test_every_figure_is_drawn(theory):
    results = made_up(SMALL, theory)
    drawn = dict(figures.figures(results))
    assert set(drawn) == {name for name in figures.DRAWINGS if not name.startswith("atari")}
    assert all(figure.axes for figure in drawn.values())


def test_default_config_is_valid():
    assert Config().batch_size == 1024


def test_games_that_are_not_installed_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = "The games of atari and minatar are not installed: uv sync --extra atari --extra min"
    with pytest.raises(MissingExtra, match=sentence):
        tasks(PRESETS["cpu"])
    assert plan(PRESETS["cpu"])  # the budget needs no games
    assert tasks(PRESETS["smoke"])
