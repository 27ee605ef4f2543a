"""icrl's compiled training: probes, seeds, warm start, samples, demonstrations, offline pieces."""

import dataclasses
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.icrl import analysis, demos, envs, method, offline, train, variants
from papers.icrl.config import PRESETS, Config
from papers.icrl.demos import Demonstrations
from papers.icrl.method import Batch, SACConfig
from papers.icrl.train import Clock, Demos, Plan
from shared.experiment.errors import BadInput, Damaged

POINT, CARTPOLE = envs.TASKS["blocked_point"], envs.TASKS["biased_cartpole"]
SMOKE = dataclasses.replace(PRESETS["smoke"], width=8, cost_width=8, updates=10)


def close(value, expected, **tolerances):
    np.testing.assert_allclose(
        np.asarray(value), expected, **{"rtol": 1e-5, "atol": 1e-6, **tolerances}
    )


def keys(n):
    return jax.random.split(jax.random.key(0), n)


@pytest.fixture(scope="module")
def shipped():
    found = demos.shipped(POINT)
    return Demos(jnp.asarray(found.obs), jnp.asarray(found.act))


@pytest.fixture(scope="module")
def plan():
    return variants.compiled("IRL-Plus", SMOKE, POINT)


@pytest.fixture(scope="module")
def history(plan, shipped):
    """Four epochs of IRL-Plus on two seeds, the first of them warm."""
    numbers = variants.numbers("IRL-Plus", SMOKE)
    trials = [train.start(keys(2), plan, numbers.lam)]
    for _ in range(3):
        trials.append(train.advance(trials[-1], numbers, shipped, plan, 1)[0])
    return trials


# --- Probes ---------------------------------------------------------------------------------------

QUIET = SACConfig(hidden=(16, 16), twin_init="independent", alpha_lr=0.0, gamma=0.5, tau=0.1)


def solve(reward, terminated, cfg=QUIET, lam=0.0, cost=None, steps=600):
    """Train on uniform actions in one state; returns the learner."""
    state = method.sac_init(jax.random.key(0), 1, 1, cfg)._replace(log_alpha=jnp.float32(-6))

    def step(state, key):
        act = jax.random.uniform(key, (64, 1), jnp.float32, -1, 1)
        zero = jnp.zeros((64, 1), jnp.float32)
        flat = jnp.zeros(64, jnp.float32)
        price = flat if cost is None else cost(act[:, 0])
        b = Batch(zero, act, reward(act[:, 0]), zero, flat + terminated, price)
        return method.sac_update(state, b, None, jnp.float32(lam), cfg)[0], None

    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda s: jax.lax.scan(step, s, keys)[0])(state)


def value(state):
    zero = jnp.zeros((1, 1), jnp.float32)
    act, _ = method.policy(state.actor, zero)
    return float(method.q_values(state.critics, zero, act)[0, 0]), float(act[0, 0])


@pytest.mark.parametrize(("terminated", "expected"), [(1.0, 1.0), (0.0, 2.0)])
def test_probe_constant_reward(terminated, expected):
    """Worth 1 where the episode terminates, 1/(1 - gamma) where it goes on (or is cut off)."""
    q, _ = value(solve(lambda a: jnp.ones_like(a), terminated))
    assert q == pytest.approx(expected, abs=0.1)


def test_probe_action_choice():
    _, act = value(solve(lambda a: -((a - 0.5) ** 2), 1.0))
    assert act == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("separate", [False, True])
def test_probe_a_known_cost_moves_the_choice(separate):
    """Reward a, cost 4 beyond a = 0: the best action lies at the edge, not at 1."""
    cfg = dataclasses.replace(QUIET, separate_critics=separate, cost_entropy=False)
    cost = lambda a: jnp.where(a > 0, jnp.float32(4), jnp.float32(0))  # noqa: E731
    _, act = value(solve(lambda a: a, 1.0, cfg, 1.0, cost, steps=1500))
    assert -0.6 < act < 0.15


# --- The loop -------------------------------------------------------------------------------------


def test_seeds_do_not_depend_on_their_company(plan, shipped, history):
    numbers = variants.numbers("IRL-Plus", SMOKE)
    alone = train.start(keys(2)[1:], plan, numbers.lam)
    alone, _ = train.advance(alone, numbers, shipped, plan, 1)
    for a, b in zip(jax.tree.leaves(alone.learners.sac.actor),
                    jax.tree.leaves(history[1].learners.sac.actor), strict=True):  # fmt: skip
        close(a[0], b[1], rtol=1e-3, atol=1e-4)
    first, second = (history[1].learners.replay[i] for i in (0, 1))
    assert not np.allclose(first, second)


def test_the_warm_start_leaves_the_cost_at_zero(history):
    def last(trial):
        return np.asarray(trial.learners.cost.layers[-1].w)

    assert not last(history[1]).any()
    assert last(history[2]).any()


def test_two_epochs_at_once_are_two_epochs(plan, shipped, history):
    numbers = variants.numbers("IRL-Plus", SMOKE)
    both, metrics = train.advance(history[0], numbers, shipped, plan, 2)
    assert metrics["feasible"].shape == (2, 2)
    for a, b in zip(jax.tree.leaves(both.learners.cost), jax.tree.leaves(history[2].learners.cost),
                    strict=True):  # fmt: skip
        close(a, b, rtol=1e-4, atol=1e-5)


def test_the_replay_holds_true_transitions(plan, history):
    rows = history[1].learners.replay[0][: 3 * plan.rows]
    b = train.unpack(rows, 4, 2)
    after, rew, _ = jax.vmap(POINT.step)(b.obs, b.act)
    close(after, b.next_obs, atol=1e-4)
    close(rew, b.rew, atol=1e-4)
    close(b.cost, POINT.violated(b.next_obs).astype(jnp.float32))
    assert not b.terminated.any()  # a horizon truncates
    # Within an episode a transition starts where the one before it ended; a block is an episode.
    inner = np.arange(plan.rows - 1)
    close(b.obs[inner + 1], b.next_obs[inner], atol=1e-5)
    assert np.abs(b.obs[plan.rows] - b.next_obs[plan.rows - 1]).max() > 1e-3


def test_a_full_replay_forgets_the_oldest(plan, history):
    small = dataclasses.replace(plan, capacity=2 * plan.rows)
    numbers = variants.numbers("unconstrained", SMOKE)
    learner = train.init(jax.random.key(0), small, numbers.lam)
    assert learner.replay.shape[0] == 2 * plan.rows
    kept, _ = train._block(Clock(jnp.int32(0), jnp.int32(3)), learner, numbers, small,
                           jax.random.key(1))  # fmt: skip
    assert (kept.replay[: plan.rows] == learner.replay[: plan.rows]).all()
    assert (kept.replay[plan.rows :] != learner.replay[plan.rows :]).any()


def test_learner_samples_leave_out_what_is_beyond_an_episodes_end():
    n = 6
    mask = jnp.asarray([[1, 1], [1, 0], [1, 0]], bool)
    marks = jnp.arange(n, dtype=jnp.float32).reshape(3, 2, 1)
    zeros = jnp.zeros((3, 2), jnp.float32)
    seen = train.Episodes(marks, marks, zeros, zeros, mask)
    plan = Plan(CARTPOLE, SACConfig(), cost_batch=200)
    sample = inspect.unwrap(train.learner_samples)  # from evaluations: no learner is looked at
    obs, act = sample(None, seen, plan, jnp.int32(1), jax.random.key(0))
    assert set(np.asarray(obs[:, 0])) == {0, 1, 2, 4}
    close(obs, act)


def test_evaluations_end_where_the_task_terminates():
    actor = jax.tree.map(jnp.zeros_like, method.mlp_init(jax.random.key(0), (4, 8, 2)))
    plan = Plan(CARTPOLE, SACConfig())
    seen = train.evaluate(actor, plan, jax.random.key(0), 4)  # no control: the pole falls
    lengths = np.asarray(seen.mask.sum(axis=0))
    assert (lengths < 100).all()
    for i, n in enumerate(lengths):
        assert abs(float(CARTPOLE.step(seen.obs[n - 1, i], seen.act[n - 1, i])[0][1])) > 0.2
        assert bool(seen.mask[:n, i].all())


@pytest.mark.parametrize("name", ["IRL-Base", "IRL-Base+BN", "SAC-ICRL", "MECL", "GACL", "oracle"])
def test_every_game_runs_and_moves(name, shipped):
    plan, numbers = variants.compiled(name, SMOKE, POINT), variants.numbers(name, SMOKE)
    begin = train.start(keys(2), plan, numbers.lam)
    trial, metrics = train.advance(begin, numbers, shipped, plan, 2)
    assert all(np.isfinite(v).all() for v in metrics.values())
    learned = plan.objective != "known"
    moved = np.any(trial.learners.cost.layers[0].w != begin.learners.cost.layers[0].w)
    assert bool(moved) is learned
    multiplier = float(numbers.multiplier_lr) > 0
    assert bool(np.any(trial.learners.lam != begin.learners.lam)) is multiplier


@pytest.mark.parametrize(
    "call",
    [lambda: train.knobs(beta=-0.1), lambda: train.knobs(lam=-1.0)],
)
def test_negative_weights_are_refused(call):
    with pytest.raises(ValueError, match="must not be negative"):
        call()


def test_few_learner_samples_are_warned_of():  # V14
    with pytest.warns(UserWarning, match="at most 100 different steps"):
        Plan(POINT, SACConfig(), evaluations=1, cost_batch=5000)


# --- Demonstrations -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [POINT, CARTPOLE])
def test_shipped_experts_obey_and_replay(task):
    found, bad = demos.shipped(task), demos.shipped(task, "unconstrained")
    facts = demos.card(demos.FOLDER / f"{task.name}_expert.npz")
    assert len(found.lengths) == facts["episodes"] == 20
    close(found.returns().mean(), facts["mean_return"], rtol=1e-3)
    after, rew, _ = jax.vmap(task.step)(jnp.asarray(found.obs), jnp.asarray(found.act))
    assert not np.asarray(task.violated(after)).any()
    close(rew, found.rew, rtol=1e-3, atol=1e-3)
    after, _, _ = jax.vmap(task.step)(jnp.asarray(bad.obs), jnp.asarray(bad.act))
    assert np.asarray(task.violated(after)).mean() > 0.2
    size = (demos.FOLDER / f"{task.name}_expert.npz").stat().st_size
    assert size < 2**20


def made(n=20, lengths=(12, 8), **changes):
    rng = np.random.default_rng(0)
    columns = {
        "obs": rng.normal(size=(n, 4)), "act": rng.uniform(-1, 1, (n, 2)),
        "rew": rng.normal(size=n), "len": np.array(lengths),
    }  # fmt: skip
    return {
        k: np.asarray(v, np.float32) for k, v in {**columns, **changes}.items() if v is not None
    }


def write(path, arrays):
    np.savez(path, **arrays)
    return str(path)


def test_files_round_trip_and_d4rls_names_are_read(tmp_path):
    arrays = made()
    ours = demos.load(write(tmp_path / "a.npz", arrays), POINT)
    close(ours.obs, arrays["obs"])
    assert ours.lengths.tolist() == [12, 8]
    close(ours.returns(), [arrays["rew"][:12].sum(), arrays["rew"][12:].sum()], rtol=1e-4)
    demos.save(tmp_path / "b.npz", ours)
    again = demos.load(str(tmp_path / "b.npz"), POINT)
    close(again.act, ours.act)
    ends = np.zeros(20)
    ends[11] = 1
    names = {"observations": arrays["obs"], "actions": arrays["act"], "rewards": arrays["rew"]}
    theirs = demos.load(write(tmp_path / "c.npz", {**names, "timeouts": ends}), POINT)
    assert theirs.lengths.tolist() == [12, 8]
    folder = tmp_path / "many"
    folder.mkdir()
    write(folder / "0.npz", made(lengths=(20,)))
    write(folder / "1.npz", made())
    assert demos.load(str(folder), POINT).lengths.tolist() == [20, 12, 8]


def test_actions_in_the_environments_units_are_refused_or_divided(tmp_path):  # V14, T9
    rng = np.random.default_rng(0)
    arrays = made(act=rng.uniform(-3, 3, (20, 1)))
    path = write(tmp_path / "a.npz", arrays)
    with pytest.raises(BadInput, match=r"reach 2\.\d+, outside the box .*--rescale-demos.* by 3"):
        demos.load(path, CARTPOLE)
    close(demos.load(path, CARTPOLE, rescale=True).act, arrays["act"] / 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"obs": np.zeros((20, 5))}, "observations of blocked_point have 4 entries; .* have 5"),
        ({"act": np.zeros((20, 1))}, "actions of blocked_point have 2 entries"),
        ({"obs": np.full((20, 4), np.nan)}, "NaN"),
        ({"act": None}, "lacks act or actions"),
        ({"obs": np.zeros((19, 4))}, "same N"),
        ({"len": np.array([5, 5])}, "sum to 10"),
    ],
)
def test_unusable_files(tmp_path, changes, words):  # V14
    with pytest.raises(BadInput, match=words):
        demos.load(write(tmp_path / "a.npz", made(**changes)), POINT)


def test_missing_empty_and_foreign_files(tmp_path):  # V14
    with pytest.raises(BadInput, match="no file or folder"):
        demos.load(str(tmp_path / "none.npz"), POINT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no "):
        demos.load(str(tmp_path / "empty"), POINT)
    (tmp_path / "bad.npz").write_bytes(b"hello")
    with pytest.raises(BadInput, match="archive of plain arrays"):
        demos.load(str(tmp_path / "bad.npz"), POINT)
    long = made(n=120, lengths=(120,), rew=np.zeros(120))
    with pytest.raises(BadInput, match="120 steps; blocked_point ends after 100"):
        demos.load(write(tmp_path / "long.npz", long), POINT)


def test_a_changed_file_is_noticed(tmp_path, monkeypatch):
    for suffix in (".npz", ".json"):
        source = demos.FOLDER / f"blocked_point_expert{suffix}"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(demos, "FOLDER", tmp_path)
    demos.shipped(POINT)
    path = tmp_path / "blocked_point_expert.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": "0"}))
    with pytest.raises(Damaged, match="hash"):
        demos.shipped(POINT)


@pytest.mark.parametrize(("share", "bad"), [(0.0, 0), (0.2, 4), (0.5, 10), (0.8, 16), (1.0, 20)])
def test_mixtures(share, bad):
    zero, one = (
        Demonstrations(np.full((40, 4), v, np.float32), np.zeros((40, 2), np.float32),
                       np.zeros(40, np.float32), np.full(20, 2, np.int32))
        for v in (0, 1)
    )  # fmt: skip
    found = demos.mixture(zero, one, share)
    assert len(found.lengths) == 20
    assert found.obs[:, 0].sum() == 2 * bad
    with pytest.raises(BadInput, match="share"):
        demos.mixture(zero, one, 1.5)


# --- Offline and the cost's judgement -------------------------------------------------------------


def test_offline_pieces():
    close(offline.weights(jnp.float32([0, 1 / 3, 100])), [1, np.e, 100])
    errors = jnp.float32(np.random.default_rng(0).normal(size=4000))
    v = jnp.linspace(-1, 1, 401, dtype=jnp.float32)
    best = v[jnp.argmin(jax.vmap(lambda x: offline.expectile_loss(errors - x))(v))]
    above, below = np.maximum(errors - best, 0).sum(), np.maximum(best - errors, 0).sum()
    close(0.7 * above, 0.3 * below, rtol=0.03)


@pytest.mark.parametrize("agent", ["IQL", "BC", "offline IRL"])
def test_offline_agents_run(agent, shipped):
    data = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 200, 13)).astype(np.float32))
    states = jax.vmap(lambda k: offline.init(k, POINT, 8))(keys(2))
    after = offline.advance(states, data, shipped, POINT, agent, 40)
    moved = np.any(after.cost.layers[-1].w != states.cost.layers[-1].w)
    assert bool(moved) is (agent == "offline IRL")
    assert np.any(after.actor[0].w != states.actor[0].w)


def test_ranking_and_wall():
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    assert analysis.auc(scores, np.array([False, False, True, True])) == 0.875
    assert np.isnan(analysis.auc(scores, np.zeros(4, bool)))
    edges = np.array([-3.0, -2, -1, 0, 1])
    means = analysis.profile(np.array([4.0, 2, 1, 0.0]), np.array([-2.5, -1.5, -0.5, 0.5]), edges)
    close(means, [4, 2, 1, 0])
    assert analysis.recovered_wall(means, edges, -1.0) == -1.0
    assert np.isnan(analysis.recovered_wall(np.zeros(4), edges, -1.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0"),
        ({"beta": -0.1}, "beta must be at least 0"),
        ({"worlds": ("cheetah",)}, "worlds must be among blocked_point"),
        ({"variants": ("IRL",)}, "variants must be among"),
        ({"suboptimal": (1.2,)}, "share in"),
        ({"warm_epochs": 1000}, "warm-epochs must be below epochs"),
        ({"grid_cost_lrs": (-1.0,)}, "positive"),
    ],
)
def test_bad_configurations(changes, words):
    with pytest.raises(ValueError, match=words):
        Config(**changes)
