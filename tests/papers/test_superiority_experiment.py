"""The superiority experiment as a whole: configuration, tasks, statistics, verdicts, figures."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.superiority import agents, analysis, claims, experiment, figures
from papers.superiority.config import PRESETS, Config
from papers.superiority.trial import law_gap
from shared.experiment.ledger import judge
from shared.experiment.spec import Estimate, Verdict

AGENTS = ("DSUP(1/2)", "DAU+DSUP(1/2)", "DSUP(1)", "DAU", "QR-DQN")


def refused(**fields: object) -> str:
    with pytest.raises(ValueError) as error:
        Config(**fields)  # pyright: ignore[reportArgumentType]
    return str(error.value)


# --- Configuration --------------------------------------------------------------------------------


def test_paper_preset_is_the_papers_table() -> None:
    paper = PRESETS["paper"]
    assert paper.frequencies == (1, 5, 10, 15, 20, 25, 30, 35)
    assert (paper.seeds, paper.updates, paper.atoms, paper.kappa) == (10, 200_000, 100, 1.0)
    assert (paper.batch_size, paper.replay_capacity, paper.target_period) == (32, 20_000, 1000)
    assert (paper.learning_rate, paper.discount, paper.epsilon_final) == (1e-4, 0.999, 0.02)
    assert paper.epsilon_updates == 20_000
    np.testing.assert_allclose(paper.risk_levels, np.linspace(0.01, 1, 10))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"agents": ("DQN",)}, "agents must be QR-DQN, DAU, DSUP(q)"),
        ({"assets": (11,)}, "assets must be one of 0 ... 10; got 11."),
        ({"frequencies": ()}, "frequencies must be at least one value; got none."),
        ({"frequencies": (0,)}, "frequencies must be whole numbers of at least 1; got 0."),
        ({"risk_levels": (0.0,)}, "risk-levels must be in (0, 1]; got 0.0."),
        ({"kappa": -1.0}, "kappa must be at least 0; got -1.0."),
        ({"updates": 7}, "updates must be a multiple of 20 evaluations; got 7."),
        ({"average_last": 21}, "average-last must be at most the number of evaluations"),
        ({"risk_agents": ("DAU",)}, "risk-agents cannot hold DAU"),
        ({"ablations": ("speed=3",)}, "ablations must change one of kappa"),
        ({"ablations": ("kappa=low",)}, "ablations: 'low' is no value for kappa."),
        ({"ablations": ("clock=moon",)}, "ablations: clock must be official or calendar"),
    ],
)
def test_bad_configuration_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    message = refused(**fields)
    assert message.startswith(sentence)
    assert "\n" not in message


def test_ablation_changes_one_field() -> None:
    config = Config().ablated("target_period=100")
    assert config.target_period == 100
    assert (config.kappa, config.clock) == (Config().kappa, Config().clock)


# --- Tasks and results ----------------------------------------------------------------------------


def test_every_combination_is_a_task_with_its_own_key() -> None:
    config = PRESETS["cpu"]
    keys = [task.key for task in experiment.tasks(config)]
    assert len(set(keys)) == len(keys)
    neutral = [key for key in keys if key.startswith("neutral/")]
    assert len(neutral) == len(config.assets) * len(config.frequencies) * len(config.agents)


def fake_outcomes(config: Config, score: Sequence[float]) -> dict[str, dict[str, np.ndarray]]:
    """Outcomes of a run in which the agent number i of a task scores `score[i]`."""
    rng = np.random.default_rng(0)
    outcomes: dict[str, dict[str, np.ndarray]] = {"exact": experiment._exact()}
    for task in experiment.tasks(config)[1:]:
        if task.params["kind"] == "optimum":
            n = len(config.frequencies)
            names = ("best", "hold", "best_discounted", "hold_discounted")
            outcomes[task.key] = {name: np.full(n, 0.03) for name in names}
            continue
        level = score[AGENTS.index(task.params["agent"])]
        values = level + 1e-4 * rng.standard_normal(config.seeds)
        outcomes[task.key] = {
            "score": values,
            "cvar": values,
            "curve": np.repeat(values[:, None], config.evaluations, axis=1),
            "gap": values / level,
            "untrained_gap": 0 * values,
            "laws": np.sort(rng.standard_normal((config.seeds, 2, 5)), axis=-1),
            "best": np.full(config.seeds, 0.03),
        }
    return outcomes


SMALL = Config(
    seeds=6,
    assets=(0, 3),
    frequencies=(1, 35),
    risk_levels=(0.12, 0.45),
    risk_assets=(0, 3),
    ablations=("kappa=0.001",),
)


def results_of(score: Sequence[float]) -> dict[str, np.ndarray]:
    return dict(experiment.collect(SMALL, fake_outcomes(SMALL, score)))


def test_results_have_a_place_for_every_run() -> None:
    results = results_of((0.027, 0.027, 0.02, 0.02, 0.02))
    assert results["neutral/score"].shape == (2, 2, 5, 6)
    assert results["ablation/score"].shape == (1, 1, 4, 6)
    np.testing.assert_allclose(
        results["iqm/published"][-1], results["iqm/neutral"][1, -1], atol=0.02
    )
    assert results["risk/cvar"].shape == (2, 2, 2, 6)
    assert results["laws"].shape == (2, 6, 2, 5)
    share = results["share/neutral"]
    np.testing.assert_allclose(share, results["neutral/score"] / 0.03)
    low, high = results["iqm/neutral"][..., 1], results["iqm/neutral"][..., 2]
    assert (low <= results["iqm/neutral"][..., 0]).all()
    assert (results["iqm/neutral"][..., 0] <= high).all()


def test_a_clear_winner_wins_every_duel() -> None:
    results = results_of((0.027, 0.026, 0.02, 0.02, 0.02))
    duel = analysis.duel(results, 1, "DSUP(1/2)", "QR-DQN")
    assert (duel.better.value, duel.better.low, duel.better.n) == (1.0, 1.0, 12)
    assert duel.gap.value == pytest.approx((0.027 - 0.02) / 0.03, rel=0.02)


# --- Verdicts -------------------------------------------------------------------------------------


def verdicts(score: Sequence[float]) -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in judge(claims.CLAIMS, results_of(score))}


def test_exact_claims_are_decided_without_training() -> None:
    found = verdicts((0.02, 0.02, 0.02, 0.02, 0.02))
    assert {found[f"C{i}"] for i in range(1, 7)} == {"reproduced"}
    assert found["C7"] == "partly", "sorting before CVaR breaks the ranking"


def test_frequency_claim_follows_the_scores() -> None:
    assert verdicts((0.027, 0.026, 0.02, 0.02, 0.02))["C8"] == "reproduced"
    assert verdicts((0.027, 0.020, 0.02, 0.02, 0.015))["C8"] == "partly", "one beats QR-DQN only"
    assert verdicts((0.020, 0.020, 0.02, 0.02, 0.027))["C8"] == "not reproduced"
    assert verdicts((0.027, 0.026, 0.02, 0.02, 0.02))["C10"] == "reproduced"
    assert verdicts((0.020, 0.026, 0.02, 0.02, 0.027))["C10"] == "not reproduced"


def test_a_loss_with_frequency_is_not_a_reproduction() -> None:
    outcomes = fake_outcomes(SMALL, (0.027, 0.026, 0.02, 0.02, 0.02))
    for key, outcome in outcomes.items():
        if "omega=1/" in key and "dsup-1-2" in key:
            outcome["score"] = outcome["score"] + 0.01
    rows = judge(claims.CLAIMS, experiment.collect(SMALL, outcomes))
    assert rows[7]["verdict"] == "partly"


def exact(*values: float) -> list[Estimate]:
    return [Estimate.exact(value) for value in values]


def test_rules_notice_a_wrong_number() -> None:
    by_id = {claim.id: claim for claim in claims.CLAIMS}
    assert by_id["C4"].judge(exact(0.0, 0.0, 2.0)) is Verdict.REPRODUCED
    assert by_id["C4"].judge(exact(1e-6, 0.0, 2.0)) is Verdict.NOT_REPRODUCED
    assert by_id["C4"].judge(exact(0.0, 0.1, 2.0)) is Verdict.PARTLY
    assert by_id["C5"].judge(exact(0.03, 1.0, 31.0)) is Verdict.REPRODUCED
    assert by_id["C5"].judge(exact(0.03, 1.2, 31.0)) is Verdict.NOT_REPRODUCED
    assert by_id["C6"].judge(exact(0.0, 0.4, 1.0)) is Verdict.REPRODUCED
    assert by_id["C6"].judge(exact(0.0, 0.4, 1.1)) is Verdict.NOT_REPRODUCED
    assert by_id["C7"].judge(exact(0.0, 0.0)) is Verdict.REPRODUCED
    assert by_id["C7"].judge(exact(0.1, 0.0)) is Verdict.NOT_REPRODUCED
    gap = [Estimate(1.5, 1.4, 1.6, n=5), Estimate(0.05, 0.03, 0.07, n=5), Estimate(1.0, 0.9, 1.1)]
    assert by_id["C9"].judge(gap) is Verdict.REPRODUCED
    gap[1] = Estimate(0.5, 0.3, 0.7, n=5)
    assert by_id["C9"].judge(gap) is Verdict.PARTLY
    gap[2] = Estimate(0.1, -0.1, 0.3)
    assert by_id["C9"].judge(gap) is Verdict.NOT_REPRODUCED


def test_law_gap_by_hand() -> None:
    assert law_gap(np.array([[0.0, 0.0], [0.0, 0.0]])) == 0.0
    assert law_gap(np.array([[0.0, 0.0], [3.0, 3.0]])) == pytest.approx(2.0)
    # W_1 = 1, mixture of 0, 2, 1, 3 has standard deviation sqrt(5)/2.
    assert law_gap(np.array([[2.0, 0.0], [1.0, 3.0]])) == pytest.approx(2 / 5**0.5)


def test_gap_of_untrained_networks_is_what_the_page_says() -> None:
    """The control of C9: the centred law of DSUP has a large gap before it has learned anything."""
    found = {}
    for name in ("DSUP(1/2)", "QR-DQN"):
        spec = agents.agent(name, frequency=35)
        params = jax.vmap(lambda k, s=spec: agents.init_params(k, s))(
            jax.random.split(jax.random.key(0), 100)
        )
        at_start = jnp.array([1.0, 1.0], jnp.float32)
        laws = jax.vmap(lambda p, s=spec, x=at_start: agents.decision_laws(p, x, s))(params)
        found[name] = np.mean([law_gap(np.asarray(pair)) for pair in laws])
    assert found["DSUP(1/2)"] == pytest.approx(1.14, abs=0.01)
    assert found["QR-DQN"] == pytest.approx(0.18, abs=0.02)


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_can_be_drawn(tmp_path: Path) -> None:
    from shared import plotting

    drawn = dict(figures.figures(results_of((0.027, 0.026, 0.02, 0.02, 0.02))))
    expected = {"rates", "rescaling", "coupling", "ranking", "risk_neutral", "curves"}
    assert set(drawn) == expected | {"learned_laws", "cvar", "why"}
    for name, figure in drawn.items():
        assert all(axes.get_xlabel() for axes in figure.axes), f"{name}: an axis has no label"
        assert figure.axes[0].get_ylabel(), f"{name}: the first panel has no label"
        trained = name in ("risk_neutral", "curves", "learned_laws", "cvar", "why")
        titles = [axes.get_title(loc="left") for axes in figure.axes] + [figure.get_suptitle()]
        assert any("official clock" in title for title in titles) == trained, name
        assert plotting.save(figure, tmp_path / name)[0].stat().st_size > 10_000
