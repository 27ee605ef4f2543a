"""Configuration, claims, statistics, cost of an update; the compiled block against its stages."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.sfm import analysis, yardstick
from papers.sfm.checks import product_flops
from papers.sfm.claims import CLAIMS
from papers.sfm.config import PAPER_TASKS, PRESETS, Config
from papers.sfm.demos import Demo, save_demo
from papers.sfm.experiment import WIDTHS, tasks
from papers.sfm.train import occupancy_gap
from shared.experiment.spec import Estimate, Verdict


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": ("walker_wlak",)}, "no task 'walker_wlak'; did you mean walker_walk"),
        ({"tasks": ("tetris",)}, "no task 'tetris'; there are point_mass_2d"),
        ({"tasks": ()}, "tasks must be at least one; got none"),
        ({"learners": ("sac",)}, "learners must be one of sfm-td7"),
        ({"families": ("fmd",)}, "families must be one of fdm, idm"),
        ({"feature_dim": 0}, "feature-dim must be at least 1; got 0"),
        ({"gamma_td7": 1.0}, r"gamma-td7 must be in \[0, 1\); got 1"),
        ({"noise": 0.0}, "noise must be positive"),
        ({"average_last": 41}, "at most the number of evaluations, 40"),
        ({"variants": ("fix=maybe",)}, "fix is one of true, false; got 'maybe'"),
        ({"variants": ("batch=3",)}, "variants must change estimator, debias, fix"),
        ({"demo": Path("x.npz")}, "tasks must be a single one beside --demo; got 10"),
    ],
)
def test_bad_settings_get_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**changes)


def test_a_demonstration_for_another_body_is_refused_before_anything_starts(tmp_path):
    path = tmp_path / "demo.npz"
    save_demo(path, Demo(np.zeros((5, 24), np.float32)))
    config = dataclasses.replace(PRESETS["smoke"], demo=path)
    with pytest.raises(ValueError, match="width 24; the environment has width 4"):
        tasks(config)


def test_paper_preset_is_the_paper():
    paper = PRESETS["paper"]
    assert paper.tasks == PAPER_TASKS and len(PAPER_TASKS) == 10
    assert (paper.batch, paper.feature_dim, paper.feature_hidden) == (1024, 128, 1024)
    assert (paper.gamma_td7, paper.gamma_td3) == (0.99, 0.995)
    assert {WIDTHS[name][0] for name in PAPER_TASKS} == {17, 24, 78}
    changed = paper.changed("fix=false")
    assert not changed.fix and changed.variants == ()


def test_widths_are_those_of_the_tasks():
    pytest.importorskip("mujoco")
    from shared.mujoco import Batch

    for name, widths in WIDTHS.items():
        if name != "point_mass_2d":
            batch = Batch(name, 1)
            assert (batch.observation_size, batch.action_size) == widths, name


def test_aggregates_as_rliable_has_them():
    values = np.array([[0.2, 0.4], [0.6, 0.8], [1.2, 0.1]])
    found = analysis.aggregates(values)
    expected = {"median": 0.55, "IQM": 0.5, "mean": 0.55, "optimality gap": 0.483333}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].value, value, atol=1e-6)
        assert found[name].low <= value <= found[name].high


def test_the_ruler_is_zero_for_the_same_states_and_grows():
    states = jax.random.normal(jax.random.key(0), (1, 30, 4), jnp.float32)
    gaps = [float(occupancy_gap(states, states + shift)) for shift in (0.0, 0.1, 0.5, 5.0)]
    assert gaps[0] < 1e-6 and gaps[1] < gaps[2] < gaps[3] < np.sqrt(2) + 0.1


def claim(number):
    return CLAIMS[number - 1]


def rows(**values):
    return [Estimate(v, v - 0.01, v + 0.01, label) for label, v in values.items()]


def test_verdict_rules():
    decide = claim(3).judge
    better = {f"SFM - {n}": 0.1 for n in ("bc", "iq", "mm", "gaifo", "bco")}
    better["SFM - random policy"] = 0.5
    assert decide(rows(**better)) is Verdict.REPRODUCED
    assert decide(rows(**{**better, "SFM - bc": 0.0})) is Verdict.PARTLY
    assert decide(rows(**{**better, "SFM - random policy": 0.0})) is Verdict.NOT_REPRODUCED
    decide = claim(5).judge
    change = {"TD3 - TD7, sfm": 0.0, "TD3 - TD7, mm": -0.2, "TD3 - TD7, gaifo": -0.2}
    less = {"SFM's change - mm's": 0.2, "SFM's change - gaifo's": 0.2}
    assert decide(rows(**change, **less)) is Verdict.REPRODUCED
    assert decide(rows(**{**change, "TD3 - TD7, mm": 0.0}, **less)) is Verdict.PARTLY
    assert decide(rows(**{**change, "TD3 - TD7, sfm": -0.1}, **less)) is Verdict.NOT_REPRODUCED
    decide = claim(6).judge
    assert decide(rows(**{"fdm": 0.9, "fdm - random": 0.1})) is Verdict.REPRODUCED
    assert decide(rows(**{"fdm": 0.9, "fdm - random": 0.0})) is Verdict.PARTLY
    assert decide(rows(**{"fdm": 0.9, "fdm - random": -0.1})) is Verdict.NOT_REPRODUCED


def test_operations_of_matrix_products():
    x = jnp.ones((4, 6), jnp.float32)

    def program(x):
        x = jax.lax.fori_loop(0, 3, lambda _, y: y @ jnp.ones((6, 6), jnp.float32), x)
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ x.T, lambda: jnp.zeros((4, 4), jnp.float32))

    jaxpr = jax.make_jaxpr(program)(x).jaxpr
    loop, branch = 3 * 2 * 4 * 6 * 6, 2 * 4 * 4 * 6
    assert product_flops(jaxpr, max) == loop + branch
    assert product_flops(jaxpr, min) == loop


def test_the_compiled_block_is_the_loop_of_stages():
    """A second derivation of the order of operations: six stages, called one by one."""
    yardstick.check_equal(yardstick.sfm("td7", 16, 4, 8))
