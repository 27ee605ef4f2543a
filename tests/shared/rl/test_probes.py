"""Every learner solves every probe: all probes and two seeds of each in one compiled program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from shared.gpu.seeds import seed_keys, stack
from shared.rl import sac, td3, td7
from shared.rl.loop import Plan, Setup, init, train, warm_up
from shared.rl.probe import probes, truth
from shared.rl.replay import Layout, Prioritised, Uniform

PROBES = probes()
GAMMA = 0.5
LAYOUT = Layout(obs=1, action=1, capacity=2048)
PLAN = Plan(envs=4, steps=1, updates=4, batch=32)
SEEDS = (0, 1)
OBS = jnp.array([[-1.0], [0.0], [1.0]], jnp.float32)


def trained(learner, store, hyper, iterations, plan=PLAN):
    """Final learner states, [probes x seeds] first."""
    setup = Setup(learner, store, plan)
    envs = stack([probe for probe in PROBES.values() for _ in SEEDS])
    keys = jnp.tile(seed_keys(SEEDS, "train"), len(PROBES))

    def run(key, env):
        state = warm_up(init(key, env, setup), env, setup, steps=64)
        return train(state, env, hyper, setup, iterations)[0].learner

    return jax.jit(jax.vmap(run))(keys, envs)


def check(states, q, act, tolerance=0.1):
    """Values at the best actions, and actions, against the exact ones wherever they matter."""
    runs = [(name, probe) for name, probe in PROBES.items() for _ in SEEDS]
    answers = [truth(probe, GAMMA) for _, probe in runs]
    obs = jnp.stack([probe.obs[:, None] for _, probe in runs])
    best = jnp.asarray(np.stack([answer.action for answer in answers])[..., None], jnp.float32)
    values, actions = jax.jit(jax.vmap(lambda s, o, a: (q(s, o, a)[0, :, 0], act(s, o)[:, 0])))(
        states, obs, best
    )
    for i, ((name, _), answer) in enumerate(zip(runs, answers, strict=True)):
        error = np.abs(values[i] - answer.value)[answer.visited]
        assert error.max() < tolerance, (name, values[i], answer.value)
        wrong = np.abs(actions[i] - answer.action)[answer.matters]
        assert wrong.max(initial=0) < 2 * tolerance, (name, actions[i], answer.action)


def test_truth_by_hand():
    answers = {name: truth(probe, GAMMA) for name, probe in PROBES.items()}
    np.testing.assert_allclose(answers["constant"].value[0], 1)
    np.testing.assert_allclose(answers["truncated"].value[0], 2)  # 1 / (1 - gamma)
    np.testing.assert_allclose(answers["delayed"].value, [0.5, 1])
    np.testing.assert_allclose(answers["observed"].value, [-1, 1])
    np.testing.assert_allclose(answers["observed_action"].action, [0.5, -0.5])
    assert answers["delayed"].visited.tolist() == [True, True]
    assert answers["constant"].visited.tolist() == [True, False]
    assert answers["action"].matters.tolist() == [True, False]


def test_td3():
    spec = td3.Spec.of(1, 1, hidden=(16,))
    hyper = td3.Hyper(gamma=GAMMA, actor_lr=3e-3, critic_lr=1e-2, tau=0.05, smoothing=0.05)
    states = trained(td3.learner(spec), Uniform(LAYOUT), hyper, 500)
    check(
        states,
        lambda s, obs, action: spec.critic(s.critic.params, obs, action),
        functools.partial(td3.act, spec=spec),
    )


def test_sac():
    """With a temperature so small and fixed that entropy hardly counts."""
    small = sac.Spec.of(1, 1, hidden=(16,))
    spec = sac.Spec(small.actor, small.critic, alpha=0.01)
    hyper = sac.Hyper(gamma=GAMMA, actor_lr=3e-3, critic_lr=1e-2, alpha_lr=0.0, tau=0.05)
    states = trained(sac.learner(spec), Uniform(LAYOUT), hyper, 500)
    check(
        states,
        lambda s, obs, action: spec.critic(s.critic.params, obs, action),
        functools.partial(sac.act, spec=spec),
    )


def test_td7():
    spec = td7.Spec.of(1, 1, width=16)
    hyper = td7.Hyper(
        gamma=GAMMA, actor_lr=3e-3, critic_lr=1e-2, encoder_lr=1e-3, copy_every=50, smoothing=0.05
    )
    states = trained(td7.learner(spec), Prioritised(LAYOUT, renew=50), hyper, 500)
    check(
        states,
        lambda s, obs, a: td7.critics(spec, s.critic.params, s.encoder.target, obs, a),
        functools.partial(td7.act, spec=spec),
    )
