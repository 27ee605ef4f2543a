"""icrl/method.py: numbers by hand, gradients, the learner's traps by name, bad input."""

import dataclasses
import inspect
import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from papers.icrl import method
from papers.icrl.method import Batch, SACConfig

KEY = jax.random.key(0)
OBS, ACT = 3, 2
SMALL = SACConfig(hidden=(8, 8))


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, jnp.float32)


def pairs(seed, n=16, shift=0.0):
    return normal(seed, n, OBS) + jnp.float32(shift), jnp.tanh(normal(seed + 50, n, ACT))


def flags(seed, n, bound):
    return (normal(seed, n) > bound).astype(jnp.float32)


def batch(seed=0, n=16):
    obs, act = pairs(seed, n)
    return Batch(
        obs, act, normal(seed + 1, n), normal(seed + 2, n, OBS), flags(seed + 3, n, 1),
        flags(seed + 4, n, 0),
    )  # fmt: skip


def live_cost(seed=3, batch_norm=False):
    return method.cost_init(jax.random.key(seed), OBS, ACT, (8, 8), False, batch_norm)


def logit_table(values):
    """A cost network that is linear in a one-hot observation: a table of costs."""
    w = jnp.concatenate([jnp.asarray(values, jnp.float32), jnp.zeros(1, jnp.float32)])
    return method.CostParams((method.Layer(w[:, None], jnp.zeros(1, jnp.float32)),))


def table_pairs(counts):
    rows = np.repeat(np.arange(len(counts)), counts)
    return jnp.eye(len(counts), dtype=jnp.float32)[rows], jnp.zeros((len(rows), 1), jnp.float32)


def close(value, expected, **tolerances):
    np.testing.assert_allclose(
        np.asarray(value), expected, **{"rtol": 1e-5, "atol": 1e-6, **tolerances}
    )


def test_layers_start_uniform_in_their_bounds():
    layers = method.mlp_init(KEY, (4, 100, 25, 1))
    for layer, (m, n) in zip(layers, ((4, 100), (100, 25), (25, 1)), strict=True):
        assert layer.w.shape == (m, n)
        assert layer.b.shape == (n,)
        bound = m**-0.5
        assert 0.8 * bound < np.abs(layer.w).max() < bound
    close(np.concatenate([layers[1].w.ravel()]).std(), 0.1 / math.sqrt(3), rtol=0.1)
    assert np.abs(layers[0].w[0, :25] - layers[1].w[0] * 5).max() > 0.1  # no draw twice


# --- The cost network -----------------------------------------------------------------------------


def test_zero_init_costs_nothing_and_moves_its_last_layer_only():  # V6, T5
    params = method.cost_init(KEY, OBS, ACT)
    assert not np.any(method.cost_apply(params, *pairs(0)))
    (loss, _), gradient = jax.value_and_grad(method.cost_loss, has_aux=True)(
        params, pairs(0), pairs(1, shift=1.0)
    )
    assert float(loss) == 0
    *hidden, last = gradient.layers
    assert not any(np.any(x) for x in jax.tree.leaves(hidden))
    assert np.any(last.w)


def test_leaky_relu_has_torchs_slope_at_zero():  # T4
    slope = jax.grad(lambda z: method.cost_output(z, "leaky_relu"))
    close([slope(jnp.float32(z)) for z in (-2.0, 0.0, 2.0)], [0.01, 0.01, 1.0])
    close(method.cost_output(jnp.float32([-2, 0, 3]), "leaky_relu"), [-0.02, 0, 3])


def test_clipped_costs_have_no_gradient_outside():  # T7
    z = jnp.float32([-1.0, 5.0, 25.0])
    close(method.cost_output(z, "linear_clip", (0.0, 20.0)), [0, 5, 20])
    gradient = jax.grad(lambda z: method.cost_output(z, "linear_clip", (0.0, 20.0)).sum())(z)
    close(gradient, [0, 1, 0])


def test_sigmoid_costs_are_one_minus_feasibility():  # V11
    params = live_cost()
    obs, act = pairs(0)
    cost = method.cost_apply(params, obs, act, "sigmoid")
    close(cost, 1 - method.feasibility(params, obs, act))
    huge = method.cost_output(jnp.float32([-50, 0, 50]), "sigmoid")
    close(huge, [1, 0.5, 0])
    close(method.cost_output(jnp.float32(0), "neg_log_sigmoid"), math.log(2))


def test_batch_normalisation_trains_on_the_batch_and_acts_on_the_running_statistics():
    params = live_cost(batch_norm=True)
    obs, act = pairs(0, 64, 2.0)
    close(method.cost_logits(params, obs, act, True).mean(), method.cost_logits(
        params, obs + 0, act, True).mean())  # fmt: skip
    zero = jax.tree.map(jnp.zeros_like, params)
    adam = method.adam_init(params)
    moved, _ = method.cost_step(params, adam, zero, 0.0, ((obs, act),), 0.0)
    x = np.concatenate([obs, act], axis=1) @ np.asarray(params.layers[0].w)
    x = x + np.asarray(params.layers[0].b)
    close(moved.norms[0].mean, 0.1 * x.mean(axis=0), rtol=1e-4)
    close(moved.norms[0].var, 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-4)
    many = moved
    for _ in range(200):
        many, adam = method.cost_step(many, adam, zero, 0.0, ((obs, act),), 0.0)
    close(method.cost_logits(many, obs, act), method.cost_logits(params, obs, act, True),
          rtol=0.1, atol=0.05)  # fmt: skip


# --- Losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reg", "penalty"),
    [("none", 0.0), ("l2_expert", (4 + 1) / 2), ("l2", (4 + 1 + 9) / 3), ("l1", (2 + 1 + 3) / 3)],
)
def test_cost_loss_by_hand(reg, penalty):
    params = logit_table([2.0, 1.0, 3.0])
    loss, aux = method.cost_loss(params, table_pairs([1, 1, 0]), table_pairs([0, 0, 1]), 0.1, reg)
    close(loss, 1.5 - 3 + 0.1 * penalty)
    close([aux["c_E"], aux["c_L"], aux["gap"]], [1.5, 3, 1.5])


def test_past_learner_samples_stay_dear():
    params = logit_table([2.0, 1.0, 3.0])
    loss, _ = method.cost_loss(
        params, table_pairs([1, 1, 0]), table_pairs([0, 0, 1]), 0.5, "prior_learner",
        prior=table_pairs([0, 1, 1]),
    )  # fmt: skip
    close(loss, 1.5 - 3 - 0.5 * 2)


@pytest.mark.parametrize(
    ("w_expert", "w_learner", "best"), [(0.4, 0.6, 2.5), (0.1, 0.9, 40.0), (0.5, 0.5, 0.0)]
)
def test_gradient_descent_finds_the_l2_optimum(w_expert, w_learner, best):  # V3
    counts = [round(100 * w_expert), 100 - round(100 * w_expert)]
    others = [round(100 * w_learner), 100 - round(100 * w_learner)]
    expert, learner = table_pairs(counts), table_pairs(others)
    gradient = jax.grad(
        lambda c: method.cost_loss(logit_table(c), expert, learner, out="linear_clip",
                                   clip=(-100.0, 100.0))[0]
    )  # fmt: skip
    c = jnp.zeros(2, jnp.float32)
    step = jax.jit(lambda c: c - 5.0 * gradient(c))
    for _ in range(400):
        c = step(c)
    close(c[0], best, rtol=1e-3, atol=1e-3)
    close(c[0], (w_learner / w_expert - 1) / 0.2, rtol=1e-3, atol=1e-3)


def test_one_step_makes_the_learner_dearer():  # V7
    params, expert, learner = live_cost(), pairs(0), pairs(1, shift=1.0)

    def gap(p):
        return method.cost_loss(p, expert, learner, 0.0, "none")[1]["gap"]

    gradient = jax.grad(lambda p: method.cost_loss(p, expert, learner, 0.0, "none")[0])(params)
    moved = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
    assert float(gap(moved)) > float(gap(params))
    stepped, _ = method.cost_step(params, method.adam_init(params), gradient, 1e-3)
    assert float(gap(stepped)) > float(gap(params))
    same = jax.grad(lambda p: method.cost_loss(p, expert, expert, 0.0)[0])(params)
    assert not any(np.any(x) for x in jax.tree.leaves(same))


def test_losses_of_the_rival_games_by_hand():
    z = np.array([1.0, -2.0, 0.5])
    params = logit_table(z)
    expert, learner = table_pairs([1, 1, 0]), table_pairs([0, 1, 1])
    zeta = 1 / (1 + np.exp(-z))
    w = np.float32([0.5, 1.5])
    loss, aux = method.mecl_loss(params, expert, learner, jnp.asarray(w), 0.6)
    log = np.log(zeta + 1e-5)
    expected = -log[:2].mean() + (w * log[1:]).mean()
    expected += 0.6 * ((1 - zeta[:2]).mean() + (1 - zeta[1:]).mean())
    close(loss, expected)
    close(aux["gap"], (1 - zeta[1:]).mean() - (1 - zeta[:2]).mean())
    loss, _ = method.trilevel_loss(params, expert, learner)
    both = np.concatenate([1 - zeta[:2], 1 - zeta[1:]])
    close(loss, log[1:].mean() - log[:2].mean() + 0.5 * (both**2).mean())
    loss, _ = method.gacl_loss(params, expert, learner)
    close(loss, -np.log(zeta[:2]).mean() - np.log(1 - zeta[1:]).mean())


@pytest.mark.parametrize("name", ["irl", "l2", "l1", "mecl", "gacl", "trilevel"])
def test_gradients_against_finite_differences(name):
    expert, learner = pairs(0), pairs(1, shift=0.5)
    losses = {
        "irl": lambda p, *s: method.cost_loss(p, *s)[0],
        "l2": lambda p, *s: method.cost_loss(p, *s, 0.3, "l2")[0],
        "l1": lambda p, *s: method.cost_loss(p, *s, 0.3, "l1")[0],
        "mecl": lambda p, *s: method.mecl_loss(p, *s, jnp.ones(16, jnp.float64), 0.5)[0],
        "gacl": lambda p, *s: method.gacl_loss(p, *s)[0],
        "trilevel": lambda p, *s: method.trilevel_loss(p, *s)[0],
    }
    with jax.enable_x64():
        params, expert, learner = jax.tree.map(
            lambda x: x.astype(jnp.float64), (live_cost(), expert, learner)
        )
        loss, (flat, back) = losses[name], jax.flatten_util.ravel_pytree(params)
        gradient, _ = jax.flatten_util.ravel_pytree(jax.grad(loss)(params, expert, learner))
        for i in range(0, len(flat), 23):
            e = jnp.zeros_like(flat).at[i].set(1e-6)
            up, down = (loss(back(flat + s * e), expert, learner) for s in (1.0, -1.0))
            close(gradient[i], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


def test_importance_weights():  # V10
    z = jax.nn.sigmoid(normal(0, 8))
    lengths = jnp.asarray([3, 5], jnp.int32)
    w, forward, backward = method.is_weights(z, z, lengths)
    close(w, np.ones(8))
    close([forward, backward], [0, 0])
    old = jnp.full(8, 0.3, jnp.float32)
    new = old.at[:4].multiply(2.0)
    w, forward, backward = method.is_weights(old, new, jnp.asarray([4, 4], jnp.int32), 0.0)
    close(w, [4 / 3] * 4 + [2 / 3] * 4)
    # Two episodes of odds 1 : 16, against one half each.
    p = np.array([16, 1]) / 17
    close(forward, (0.5 * np.log(0.5 / p)).sum())
    close(backward, (p * np.log(p / 0.5)).sum())


# --- The corrected reward and the metrics ---------------------------------------------------------


def test_running_norm():  # V13
    norm = method.norm_update(method.norm_init(), jnp.float32([1, 2, 3]))
    norm = method.norm_update(norm, jnp.float32([4, 5]))
    close([norm.mean, norm.var, norm.seen], [3, 2, 5])
    close(method.norm_apply(norm, jnp.float32([3, 5, 1e6])), [0, 2 / math.sqrt(2), 10])
    close(method.norm_apply(norm, jnp.float32(-1e6)), -10)


def test_corrected_reward():
    r, c = jnp.float32([1, 5]), jnp.float32([0, 2])
    close(method.corrected_reward(r, c, 1.5), [1, 2])
    close(method.corrected_reward(r, c, 0.0), [1, 5])
    norm = method.RunningNorm(jnp.float32(3), jnp.float32(4), jnp.float32(9))
    close(method.corrected_reward(r, c, 1.0, norm), [-1, -1])
    # Scaling the cost and its weight against each other changes nothing: a cone.
    close(method.corrected_reward(r, 4 * c, 0.25), method.corrected_reward(r, c, 1.0))


@pytest.mark.parametrize(
    ("cost", "mask", "expected", "violated"),
    [
        ([0, 0, 1, 0], [1, 1, 1, 1], 3, True),
        ([1, 0, 0, 0], [1, 1, 1, 1], 0, True),
        ([0, 0, 0, 0], [1, 1, 1, 1], 10, False),
        ([0, 0, 1, 0], [1, 1, 0, 0], 3, False),
        ([0, 1, 1, 0], [1, 1, 1, 0], 1, True),
    ],
)
def test_feasible_return(cost, mask, expected, violated):  # V5
    rew = jnp.float32([1, 2, 3, 4])[:, None]
    found = method.feasible_return(
        rew, jnp.float32(cost)[:, None], jnp.asarray(mask, bool)[:, None]
    )
    close(found[0], [expected])
    assert bool(found[1][0]) is violated


# --- The learner ----------------------------------------------------------------------------------


def test_the_policys_density_integrates_to_one():
    actor = jax.tree.map(lambda x: 0.3 * x, method.mlp_init(KEY, (1, 4, 2)))
    noise = jnp.linspace(-8, 8, 40001, dtype=jnp.float32)[:, None]
    act, log_pi = method.policy(actor, jnp.zeros((len(noise), 1), jnp.float32), noise)
    total = np.trapezoid(np.exp(np.asarray(log_pi, np.float64)), np.asarray(act[:, 0], np.float64))
    close(total, 1.0, rtol=1e-3)


def test_targets_by_hand():
    cfg = SACConfig(hidden=(8, 8), separate_critics=True, gamma=0.5)
    state, b, noise = method.sac_init(KEY, OBS, ACT, cfg), batch(), normal(9, 16, ACT)
    state = state._replace(log_alpha=jnp.float32(math.log(0.3)))
    cost = jnp.abs(normal(8, 16))
    act, log_pi = method.policy(state.actor, b.next_obs, noise)
    q = np.asarray(method.q_values(state.targets, b.next_obs, act))
    go_on, bonus = 0.5 * (1 - np.asarray(b.terminated)), -0.3 * np.asarray(log_pi)
    assert b.terminated.any()
    target = method.critic_targets(state, b, cost, 1.0, noise, cfg)
    close(target[0], b.rew + go_on * (q[:2].min(axis=0) + bonus), rtol=1e-4)
    close(target[2], cost + go_on * (q[2:].min(axis=0) + bonus), rtol=1e-4)
    for twin, reduce in (("max", np.max), ("mean", np.mean)):
        other = dataclasses.replace(cfg, cost_twin=twin, cost_entropy=False)
        found = method.critic_targets(state, b, cost, 1.0, noise, other)
        close(found[3], cost + go_on * reduce(q[2:], axis=0), rtol=1e-4)
    one = dataclasses.replace(cfg, separate_critics=False)
    plain = method.sac_init(KEY, OBS, ACT, one)._replace(log_alpha=state.log_alpha)
    act, log_pi = method.policy(plain.actor, b.next_obs, noise)
    q = np.asarray(method.q_values(plain.targets, b.next_obs, act)).min(axis=0)
    found = method.critic_targets(plain, b, cost, 2.0, noise, one)
    bonus = -0.3 * np.asarray(log_pi)
    close(found, np.tile(b.rew - 2 * cost + go_on * (q + bonus), (2, 1)), rtol=1e-4)


def test_entropies_cancel_in_the_actors_objective():  # T1
    """With lambda = 1 the bonus that Q_r and Q_c both carry leaves Q_r - Q_c as it was."""
    on = SACConfig(hidden=(8, 8), separate_critics=True, cost_entropy=True)
    state, b, noise = method.sac_init(KEY, OBS, ACT, on), batch(), normal(9, 16, ACT)
    louder = state._replace(log_alpha=jnp.float32(1.0))
    cost = jnp.zeros(16, jnp.float32)

    def advantage(s, cfg):
        target = method.critic_targets(s, b, cost, 1.0, noise, cfg)
        return target[0] - target[2]

    close(advantage(louder, on), advantage(state, on), rtol=1e-4, atol=1e-5)
    off = dataclasses.replace(on, cost_entropy=False)
    assert np.abs(advantage(louder, off) - advantage(state, off)).max() > 0.1


def test_without_a_cost_separate_critics_act_as_plain_ones():  # V6
    cfg = SACConfig(hidden=(8, 8), separate_critics=True, cost_entropy=False)
    state, b, noise = method.sac_init(KEY, OBS, ACT, cfg), batch(), normal(9, 16, ACT)
    silent = jnp.float32([1, 1, 0, 0])
    critics = tuple(
        method.Layer(x.w * silent[:, None, None], x.b * silent[:, None]) for x in state.critics
    )
    state = state._replace(targets=critics)
    target = method.critic_targets(state, b, jnp.zeros(16, jnp.float32), 1.0, noise, cfg)
    assert not np.any(target[2:])  # Q_c = 0 is its own target
    faithful = dataclasses.replace(cfg, cost_entropy=True)
    entropies = method.critic_targets(state, b, jnp.zeros(16, jnp.float32), 1.0, noise, faithful)[
        2:
    ]
    assert np.abs(entropies).max() > 0.1  # its fixed point is the discounted future entropy
    plain = dataclasses.replace(cfg, separate_critics=False)
    pair = jax.tree.map(lambda x: x[:2], critics)
    gradients = [
        jax.grad(method.actor_loss, has_aux=True)(state.actor, q, b.obs, noise, 0.2, 1.0, c)[0]
        for q, c in ((critics, cfg), (pair, plain))
    ]
    jax.tree.map(close, *gradients)


def test_the_actor_flees_the_cost():
    cfg = SACConfig(hidden=(8, 8), separate_critics=True)
    state, obs, noise = method.sac_init(KEY, OBS, ACT, cfg), normal(1, 16, OBS), normal(2, 16, ACT)
    loss = [
        float(method.actor_loss(state.actor, state.critics, obs, noise, 0.0, lam, cfg)[0])
        for lam in (0.0, 2.0)
    ]
    act, _ = method.policy(state.actor, obs, noise)
    q = method.q_values(state.critics, obs, act)
    close(loss[1] - loss[0], 2 * q[2:].min(axis=0).mean(), rtol=1e-4)


@pytest.mark.parametrize(("twin", "equal"), [("copy", True), ("independent", False)])
def test_copied_twins_stay_equal(twin, equal):  # V8, T2
    cfg = dataclasses.replace(SMALL, twin_init=twin)
    state, cost = method.sac_init(KEY, OBS, ACT, cfg), live_cost()
    update = jax.jit(lambda s, b: method.sac_update(s, b, cost, 1.0, cfg)[0])
    for i in range(100):
        state = update(state, batch(i % 5))
    w = state.critics[0].w
    assert bool((w[0] == w[1]).all()) is equal
    reset = method.reset_last_layers(jax.random.key(5), state, ("actor", "first_critic"))
    assert not bool((reset.critics[-1].w[0] == reset.critics[-1].w[1]).all())


def test_an_update_by_hand():
    """One step against a naive one: gradients by jax, Adam's first step by its definition."""
    cfg, b = SMALL, batch()
    state = method.sac_init(KEY, OBS, ACT, cfg)
    new, metrics = method.sac_update(state, b, None, 2.0, cfg)
    _, target_key, actor_key = jax.random.split(state.key, 3)
    target = method.critic_targets(
        state, b, b.cost, 2.0, jax.random.normal(target_key, b.act.shape, jnp.float32), cfg
    )

    def td(critics):
        return ((method.q_values(critics, b.obs, b.act) - target) ** 2).mean(axis=1).sum()

    def first_step(p, g, lr):
        return p - lr * g / (np.abs(g) + 1e-8)

    critics = jax.tree.map(lambda p, g: first_step(p, g, 1e-3), state.critics,
                           jax.grad(td)(state.critics))  # fmt: skip
    jax.tree.map(lambda x, y: close(x, y, atol=1e-5), new.critics, critics)
    close(metrics["critic_loss"], td(state.critics))
    jax.tree.map(
        lambda t, o, c: close(t, o + 0.005 * (c - o)), new.targets, state.targets, new.critics
    )
    noise = jax.random.normal(actor_key, b.act.shape, jnp.float32)
    gradient, log_pi = jax.grad(method.actor_loss, has_aux=True)(
        state.actor, new.critics, b.obs, noise, 1.0, 2.0, cfg
    )
    actor = jax.tree.map(lambda p, g: first_step(p, g, 1e-3), state.actor, gradient)
    jax.tree.map(lambda x, y: close(x, y, atol=1e-5), new.actor, actor)
    # Entropy above the target -2: the temperature falls.
    assert -float(log_pi) > -2
    close(new.log_alpha, -3e-4, rtol=1e-3)


def test_the_reward_is_normalised_over_all_batches_seen():
    cfg = dataclasses.replace(SMALL, normalise_reward=True)
    state = method.sac_init(KEY, OBS, ACT, cfg)
    for i in range(3):
        state, _ = method.sac_update(state, batch(i), None, 0.0, cfg)
    seen = np.concatenate([batch(i).rew for i in range(3)])
    close([state.norm.mean, state.norm.var, state.norm.seen], [seen.mean(), seen.var(), 48],
          rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("which", [("actor",), ("cost_critics",), ("actor", "cost_critics")])
def test_a_reset_touches_the_named_last_layers_only(which):  # V9, T8
    cfg = dataclasses.replace(SMALL, separate_critics=True)
    state = method.sac_init(KEY, OBS, ACT, cfg)
    state, _ = method.sac_update(state, batch(), None, 1.0, cfg)
    reset = method.reset_last_layers(jax.random.key(1), state, which)
    changed = {
        jax.tree_util.keystr(path)
        for (path, old), new in zip(
            jax.tree_util.tree_leaves_with_path(state._replace(key=KEY)),
            jax.tree.leaves(reset._replace(key=KEY)),
            strict=True,
        )
        if path[0].name != "key" and not np.array_equal(old, new)
    }
    expected = {f".{part}[2].{x}" for part in ("actor", "critics") for x in "wb"}
    parts = ["actor"] * ("actor" in which) + ["critics"] * ("cost_critics" in which)
    assert changed == {leaf for leaf in expected if leaf.split("[")[0][1:] in parts}
    if "cost_critics" in which:
        same = reset.critics[-1].w[:2] == state.critics[-1].w[:2]
        assert bool(same.all())
        assert not bool((reset.critics[-1].w[2:] == state.critics[-1].w[2:]).any())


def test_the_multiplier_rises_with_the_cost_and_stops_at_zero():
    lam, adam = jnp.float32(1), method.adam_init(jnp.float32(1))
    up, _ = method.multiplier_step(lam, adam, jnp.float32(5), 0.1)
    close(up, 1.1, rtol=1e-4)
    down, _ = method.multiplier_step(jnp.float32(0.05), adam, jnp.float32(-5), 0.1)
    assert float(down) == 0


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: method.cost_loss(live_cost(), pairs(0), pairs(1), -0.1), "beta .*-0.1"),
        (lambda: method.trilevel_loss(live_cost(), pairs(0), pairs(1), -1.0), "beta"),
        (
            lambda: unchecked(method.cost_loss)(live_cost(), pairs(0), pairs(1), 0.1, "l3"),
            "l2_expert",
        ),
        (lambda: method.cost_loss(live_cost(), pairs(0), pairs(1), 0.1, "prior_learner"), "prior"),
        (lambda: unchecked(method.cost_output)(jnp.float32(0), "tanh"), "leaky_relu"),
        (lambda: method.cost_output(jnp.float32(0), "linear_clip"), "clip"),
        (
            lambda: method.corrected_reward(jnp.zeros(1), jnp.zeros(1), -1.0),
            "lambda must not be negative; got -1",
        ),
        (lambda: method.sac_update(_fresh(), batch(), None, -1.0, SMALL), "lambda"),
        (lambda: method.reset_last_layers(KEY, _fresh(), ("critic",)), "which"),
        (lambda: method.reset_last_layers(KEY, _fresh(), ("cost_critics",)), "separate"),
    ],
)
def test_bad_input(call, words):  # V14
    with pytest.raises(ValueError, match=words):
        call()


def unchecked(function):
    """As outside of these tests, where no run-time type check comes first."""
    return inspect.unwrap(function)


def _fresh():
    return method.sac_init(KEY, OBS, ACT, SMALL)
