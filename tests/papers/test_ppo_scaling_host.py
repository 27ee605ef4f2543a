"""Runs on the host: rollouts, replays, kill and resume, and the environments beside Atari."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.ppo_scaling import continuous, host, host_envs, host_learner, networks, procgen, train
from papers.ppo_scaling.host_envs import Facts, HostStep
from papers.ppo_scaling.host_networks import GaussianHeads, impala, pixels
from papers.ppo_scaling.host_spec import HostSpec, cpu_seconds, host_spec
from papers.ppo_scaling.method import BatchSpec, PPOBatch, ppo_loss
from shared.experiment.errors import BadInput, Damaged, Interrupted, MissingExtra
from shared.experiment.loop import StopFlag, TaskRun
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder


class Walks:
    """N walks on a line, action 1 goes up; past 3 they end, after 5 steps they are cut off."""

    def __init__(self, n_envs: int, seed: int, fail_at: int | None = None) -> None:
        self.facts = Facts("walk", n_envs, (3,), np.dtype(np.float32), 2)
        self._rngs = [np.random.default_rng(seed + i) for i in range(n_envs)]
        self._calls, self._fail_at = 0, fail_at

    def reset(self) -> np.ndarray:
        self._place = np.array([rng.normal() for rng in self._rngs])
        self._age, self._score = np.zeros((2, len(self._rngs)))
        return self._show()

    def send(self, actions: np.ndarray) -> None:
        self._actions = actions

    def recv(self) -> HostStep:
        self._calls += 1
        if self._calls == self._fail_at and self.facts.n_envs == 4:
            raise RuntimeError("the environment crashed")
        noise = np.array([rng.normal() for rng in self._rngs])
        self._place = self._place + np.where(self._actions == 1, 1.0, -0.5) + 0.1 * noise
        self._age = self._age + 1
        rewards = self._place.astype(np.float32)
        self._score = self._score + rewards
        terminated = self._place > 3
        truncated = (self._age >= 5) & ~terminated
        over, final = terminated | truncated, self._show()
        scores = np.where(over, self._score, 0.0)
        for i in np.flatnonzero(over):
            self._place[i], self._age[i], self._score[i] = self._rngs[i].normal(), 0, 0
        return HostStep(self._show(), rewards, terminated, truncated, final, over, scores)

    def close(self) -> None:
        pass

    def _show(self) -> np.ndarray:
        columns = (self._place, self._age / 5, np.ones(len(self._rngs)))
        return np.stack(columns, axis=1).astype(np.float32)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors in the place of pixels: the host's code does not know."""
    monkeypatch.setattr(host, "pixels", lambda kind, shape, n, **_: networks.make("mlp", shape, n,
                        hidden=(8,)))  # fmt: skip


SPEC = HostSpec("procgen", "walk", 4, 8, 32 * 6, epochs=2, num_minibatches=2, points=3, lr=1e-2)


def cell_of(spec: HostSpec = SPEC, seed: int = 0, **options: Any) -> host.Cell:
    return host.make_cell(spec, seed, functools.partial(Walks, **options))


def run_in(folder: Path, cell: host.Cell, stop: StopFlag | None = None, after: int = 99) -> Any:
    """The cell's loop through the engine, asked to stop after so many chunks."""
    stop, done = stop or StopFlag(), [0]

    def report(event: dict[str, Any]) -> None:
        done[0] += event["event"] == "progress"
        if done[0] == after:
            stop.set()

    task = Task("walk", {}, (0,))
    run = TaskRun(None, task, RunFolder(folder), report, stop, checkpoint_chunks=1)
    start = cell.start(jax.random.key(1))
    return run.loop(start, cell.chunk, len(cell.spec.chunks), name="train")


def assert_same(a: Any, b: Any) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(getattr(x, "dtype", np.dtype(int)), jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


# Runs ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_networks")
def test_a_rollout_is_what_the_environments_did() -> None:
    cell = cell_of()
    state = cell.start(jax.random.key(1))
    log = np.zeros((8, 4), np.uint8)
    first = cell.world.shown.copy()
    seed = int(np.random.SeedSequence([0, host.zlib.crc32(b"walk"), 0]).generate_state(1)[0])
    rows = cell.world.collect(cell.programs, state.learner, jax.random.key(2), 0, log).rollout
    again = Walks(4, seed % (1 << 30))
    shown = again.reset()
    np.testing.assert_array_equal(first, shown)
    for t in range(8):
        np.testing.assert_array_equal(rows.obs[t], shown)
        np.testing.assert_array_equal(rows.actions[t], log[t])
        again.send(log[t])
        step = again.recv()
        np.testing.assert_array_equal(rows.rewards[t], step.rewards)
        np.testing.assert_array_equal(rows.terminated[t], step.terminated)
        np.testing.assert_array_equal(rows.truncated[t], step.truncated)
        values = cell.programs.learner.value(state.learner, jnp.asarray(step.final_obs))
        cut = step.truncated
        np.testing.assert_allclose(rows.final_values[t][cut], np.asarray(values)[cut], atol=1e-5)
        shown = step.obs
    assert rows.truncated.any()
    acted = cell.programs.learner.value(state.learner, jnp.asarray(rows.obs[3]))
    np.testing.assert_allclose(rows.values[3], acted, atol=1e-5)
    # The next rollout takes the same room: memory does not grow with the run.
    next_rows = cell.world.collect(cell.programs, state.learner, jax.random.key(2), 8, log).rollout
    assert all(a is b for a, b in zip(next_rows, rows, strict=True))


@pytest.mark.usefixtures("small_networks")
def test_killed_and_resumed_a_run_ends_as_if_undisturbed(tmp_path: Path) -> None:
    whole, history = run_in(tmp_path / "whole", cell_of())
    with pytest.raises(Interrupted):
        run_in(tmp_path / "cut", cell_of(), after=1)
    resumed, after = run_in(tmp_path / "cut", cell_of())
    assert_same(whole, resumed)
    assert_same(history, after)
    assert int(whole.iteration) == 6 and whole.taken == 48
    other, _ = run_in(tmp_path / "other", cell_of(seed=1))
    assert (np.asarray(other.actions) != np.asarray(whole.actions)).any()


@pytest.mark.usefixtures("small_networks")
def test_a_crash_of_the_environments_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    whole, _ = run_in(tmp_path / "whole", cell_of())
    cell = cell_of(fail_at=40)  # in the third of three chunks, of two rollouts of 8 steps each
    with pytest.raises(RuntimeError, match="crashed"):
        run_in(tmp_path / "crash", cell)
    assert list((tmp_path / "crash").glob("tasks/walk/**/000000000002.json"))
    resumed, _ = run_in(tmp_path / "crash", cell_of())
    assert_same(whole, resumed)


@pytest.mark.usefixtures("small_networks")
def test_games_start_anew_so_that_no_replay_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papers.ppo_scaling.host_spec.REPLAY_STEPS", 96)
    assert SPEC.iterations_a_game == 3
    whole, _ = run_in(tmp_path / "whole", cell_of())
    assert whole.game == 1 and whole.taken == 24 and whole.actions.shape == (24, 4)
    with pytest.raises(Interrupted):
        run_in(tmp_path / "cut", cell_of(), after=2)
    resumed, _ = run_in(tmp_path / "cut", cell_of())
    assert_same(whole, resumed)


@pytest.mark.usefixtures("small_networks")
def test_a_replay_that_leads_elsewhere_is_noticed() -> None:
    cell = cell_of()
    state, _ = cell.chunk(cell.start(jax.random.key(1)))
    changed = state.actions.copy()
    changed[15] = 1 - changed[15]
    cell.world.close()
    cell.world.start(5)
    with pytest.raises(Damaged, match="led elsewhere than before"):
        cell.world.go_to(state.place._replace(actions=changed))
    cell.world.go_to(state.place)


@pytest.mark.usefixtures("small_networks")
def test_groups_change_nothing() -> None:
    states = []
    for groups in (1, 2):
        cell = cell_of(host_spec({**vars(SPEC), "groups": groups}))
        states.append(cell.chunk(cell.start(jax.random.key(1)))[0])
    np.testing.assert_array_equal(states[0].actions, states[1].actions)
    for a, b in zip(*(jax.tree.leaves(s.learner.params) for s in states), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_real_atari_runs_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("ale_py", reason="needs the extra atari")
    params = {"suite": "atari", "game": "Pong", "n_envs": 2, "n_ro": 8, "steps": 32, "points": 2,
              "network": "small", "epochs": 1, "num_minibatches": 1}  # fmt: skip
    task = Task("atari/pong", params, (0,))

    def run(folder: Path, stops: int) -> Any:
        stop, done = StopFlag(), [0]

        def report(event: dict[str, Any]) -> None:
            done[0] += event["event"] == "progress"
            if done[0] == stops:
                stop.set()

        engine = TaskRun(None, task, RunFolder(folder), report, stop, checkpoint_chunks=1)
        return host.run_host_task(task, engine)

    whole = run(tmp_path / "whole", 99)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", 1)
    resumed = run(tmp_path / "cut", 99)
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)
        assert len(values) == 1, "seeds first"
    assert whole["film"].shape == (1, 6, 42, 42)
    np.testing.assert_array_equal(whole["steps"], [[16, 32]])
    assert np.isnan(whole["curve"]).all(), "no game of Pong ends within 16 decisions"
    assert {"feature_rank", "ess", "weight_norm", "dormant_eps1e-5"} <= whole.keys()


# Learning in blocks -------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ppo", "pqn"])
def test_gradients_summed_over_blocks_are_the_gradient(algorithm: Any) -> None:
    spec = BatchSpec(4, 16, 1, 1)
    net = networks.make("mlp", (3,), 2, hidden=(8,), algorithm=algorithm)
    keys = jax.random.split(jax.random.key(0), 8)
    shape = (16, 4)
    rollout = train.Rollout(
        jax.random.normal(keys[0], (*shape, 3)),
        jax.random.randint(keys[1], shape, 0, 2),
        -jax.random.uniform(keys[2], shape),
        jax.random.normal(keys[3], shape),
        jax.random.normal(keys[4], shape),
        jax.random.bernoulli(keys[5], 0.1, shape),
        jnp.zeros(shape, bool),
        jnp.zeros(shape, jnp.float32),
    )
    last, hp = jax.random.normal(keys[6], (4, 3)), train.hyper(10.0, lr=1e-2)
    results = []
    for learner in (
        train.make_learner(algorithm, net, spec),
        host_learner.make_learner(algorithm, net, spec, rows=8),
    ):
        state = learner.init(jax.random.key(1))
        results.append(jax.jit(learner.learn)(state, rollout, last, keys[7], hp))
    assert "grad_norm" in results[0][1], "Adam's first step does not see a gradient's size"
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_networks_for_pixels_have_the_literatures_sizes() -> None:
    # Nature: 4*8*8*32 + 32*4*4*64 + 64*3*3*64 + 3136*512 weights, biases, and the heads.
    sizes = {
        "nature": 8192 + 32 + 32768 + 64 + 36864 + 64 + 1605632 + 512 + 513 * 7,
        "small": 4096 + 16 + 8192 + 32 + 2592 * 256 + 256 + 257 * 7,
    }
    for kind, size in sizes.items():
        net = pixels(kind, (21, 21, 64), 6)
        params = jax.eval_shape(net.init, jax.random.key(0))
        assert sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params)) == size
    body = impala((64, 64, 3))
    params = jax.eval_shape(body.init, jax.random.key(0))
    assert params["dense"]["w"].shape == (8 * 8 * 32, 256)
    features = jax.eval_shape(body.apply, params, jnp.zeros((2, 64, 64, 3), jnp.uint8))
    assert features.shape == (2, 256)
    with pytest.raises(ValueError, match="nature, small or impala; got 'resnet'"):
        pixels("resnet", (21, 21, 64), 6)


# The other suites ---------------------------------------------------------------------------------


def test_bad_runs_are_refused() -> None:
    base = {"suite": "atari", "game": "pong", "n_envs": 8, "n_ro": 128, "steps": 10_000}
    bad = {
        "Did you mean atari": {"suite": "atary"},
        "n-envs must be at least 1; got 0": {"n_envs": 0},
        "points must be at least 1; got 0": {"points": 0},
        "is more than the 1000 steps": {"steps": 1000},
        "must divide": {"num_minibatches": 3},
        "algorithm must be ppo, pqn, rnd; got 'dqn'": {"algorithm": "dqn"},
        "rnd is for suite atari": {"suite": "procgen", "algorithm": "rnd"},
        "has none to take": {"suite": "continuous", "algorithm": "pqn"},
    }
    for sentence, change in bad.items():
        with pytest.raises(ValueError, match=sentence):
            host_spec({**base, **change})
    with pytest.raises(BadInput, match="3 groups must divide 8"):
        _ = host_spec({**base, "groups": 3}).env_groups
    with pytest.raises(BadInput, match="n-envs must be at least 1; got 0"):
        host_envs.make("atari", "pong", 0, 0)
    with pytest.raises(BadInput, match="did you mean bigfish"):
        procgen.game_id("BigFich")
    with pytest.raises(BadInput, match="did you mean Humanoid-v5"):
        continuous.task_name("humanoids")
    assert procgen.game_id("StarPilot") == "StarpilotEasy-v0"
    assert continuous.task_name("half_cheetah") == "HalfCheetah-v5"


def test_a_runs_plan() -> None:
    spec = host_spec({"suite": "atari", "game": "pong", "n_envs": 16, "n_ro": 64, "steps": 10_500,
                      "points": 4, "network": "auto", "dummy": True})  # fmt: skip
    assert spec.iterations == 10 and spec.chunks == (2, 5, 8, 10)
    assert spec.network == "nature" and spec.autoreset == "legacy_envpool_dummy"
    assert spec.env_groups == 2
    params = {"suite": "procgen", "game": "bigfish", "n_envs": 64, "n_ro": 256, "steps": 10**6}
    assert host_spec(params).lr == 5e-4 and host_spec(params).gamma == 0.999
    assert host_spec({**params, "lr": 1e-3}).lr == 1e-3
    assert cpu_seconds(params) > cpu_seconds({**params, "epochs": 1})


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(MissingExtra, match=r"^Procgen needs the library envpool: uv sync --extra"):
        host_envs.make("procgen", "bigfish", 1, 0)


def test_procgen_says_when_the_systems_libraries_are_missing() -> None:
    pytest.importorskip("envpool", reason="needs the extra procgen")
    try:
        envs = host_envs.make("procgen", "bigfish", 2, 0)
    except MissingExtra as error:
        assert "Qt5" in str(error)
    else:
        assert envs.facts.obs_shape == (64, 64, 3)


def test_envpools_reset_is_brought_into_the_same_step() -> None:
    pytest.importorskip("envpool", reason="needs the extra procgen")
    # Atari's Breakout under EnvPool's rules: Procgen's libraries may not be there.
    envs = procgen.SameStep("Breakout-v5", 2, 0, gamma=None)
    bare = procgen.envpool_of_one("Breakout-v5", 0)
    assert envs.facts.obs_shape == (84, 84, 4)
    shown, known = envs.reset(), bare.reset()[0]
    ends = 0
    for t in range(250):
        np.testing.assert_array_equal(shown[0], np.moveaxis(known[0], 0, -1))
        actions = np.random.default_rng(t).integers(4, size=2)
        envs.send(actions)
        step = envs.recv()
        known, reward, terminated, truncated, _ = bare.step(actions[:1].astype(np.int32))
        assert step.rewards[0] == reward[0] and step.terminated[0] == terminated[0]
        final = np.moveaxis(known[0], 0, -1)
        np.testing.assert_array_equal(step.final_obs[0], final)
        if terminated[0] or truncated[0]:
            ends += 1
            known, reward, *_ = bare.step(np.zeros(1, np.int32))
            assert reward[0] == 0 and step.over[0]
            assert (final != np.moveaxis(known[0], 0, -1)).any()
        shown = step.obs
    assert ends >= 1
    envs.close()


def test_rewards_are_scaled_by_their_discounted_sums() -> None:
    scale, rng = procgen.RewardScale(3, 0.9), np.random.default_rng(0)
    sums, seen = np.zeros(3), []
    rewards = found = np.zeros(3)
    for _ in range(400):
        rewards, ended = rng.normal(2, 5, 3), rng.random(3) < 0.1
        sums = 0.9 * sums + rewards
        seen.append(sums.copy())
        found = scale(rewards, ended)
        sums[ended] = 0
    expected = np.clip(rewards / np.sqrt(np.var(seen)), -10, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_mujocos_limit_is_a_truncation() -> None:
    envs = host_envs.make("continuous", "InvertedPendulum", 2, 0)
    assert envs.facts.action_size == 1 and envs.facts.action_dtype == np.float32
    envs.reset()
    ended = []
    for _ in range(60):
        envs.send(np.full((2, 1), 5.0, np.float32))
        step = envs.recv()
        ended += step.scores[step.over].tolist()
        if step.over.any():
            assert (step.final_obs[step.over] != step.obs[step.over]).any()
            assert step.terminated[step.over].all() and not step.truncated.any()
    assert len(ended) >= 2 and all(score == int(score) and score > 0 for score in ended)
    envs.close()
    swimmer = continuous.MujocoEnvs("Swimmer", 1, 0)
    swimmer.reset()
    for t in range(1000):
        swimmer.send(np.zeros((1, 2), np.float32))
        step = swimmer.recv()
        assert step.truncated[0] == (t == 999) and not step.terminated[0]


def test_a_gaussian_loss_is_ppos_with_a_density() -> None:
    import scipy.stats

    rng = np.random.default_rng(0)
    mean, log_std, actions = rng.normal(size=(3, 6, 2)).astype(np.float32)
    value, old, values, advantages, returns = rng.normal(size=(5, 6)).astype(np.float32)
    heads = GaussianHeads(*map(jnp.asarray, (mean, log_std, value, mean, mean)))
    law: Any = scipy.stats.norm(mean, np.exp(log_std))
    density = law.logpdf(actions).sum(axis=1)
    found = continuous.log_probs(heads, jnp.asarray(actions))
    np.testing.assert_allclose(found, density, rtol=1e-4)
    spread = law.entropy().sum(axis=1).mean()
    np.testing.assert_allclose(continuous.entropy(heads), spread, rtol=1e-5)

    # A categorical law whose ratio is the same gives the same loss but for the entropy.
    old = (density + 0.3 * old).astype(np.float32)
    batch = PPOBatch(*map(jnp.asarray, (actions, old, values, advantages, returns)))
    loss, logs = continuous.gaussian_ppo_loss(heads, batch, 0.2, 0.5, 0.0)
    new = np.log(0.5) * np.ones(6)
    twin = batch._replace(actions=jnp.zeros(6, jnp.int32),
                          log_probs=jnp.asarray(new - (density - old), jnp.float32))  # fmt: skip
    reference, aux = ppo_loss(jnp.zeros((6, 2)), heads.value, twin, 0.2, 0.5, 0.0, False)
    np.testing.assert_allclose(loss, reference, rtol=1e-4)
    np.testing.assert_allclose(logs["k3"], aux.k3, rtol=1e-3)
    np.testing.assert_allclose(logs["clip_fraction"], aux.clip_fraction)
