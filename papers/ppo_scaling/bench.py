"""How fast acting and learning are, beside the loops that such code usually is.

    CartPole   the compiled loop against PyTorch (`yardstick`) and Stable-Baselines3, 4 environments
               x 128 steps, two networks of 64-64, 4 epochs of 4 minibatches everywhere
    MinAtar    convolutions as matrix products against XLA's own, on CPUs
    Atari      acting against the bare environments; acting and learning against PyTorch, both on
               ale-py's vector environment with the Nature network, 8 x 128

The entry of Stable-Baselines3 is left out where it is not installed (`uv sync --group bench` does
that).
"""

from __future__ import annotations

import functools
import importlib.util
import time
from typing import Any

from shared.bench import Contest, Entry, Work

SECONDS = 1.2  # of work in one repeat


def _sized(train: Any, multiple: int = 1, seconds: float = SECONDS) -> Work:
    """`train` for about so many seconds, found by trying once."""
    start = time.perf_counter()
    train(multiple)
    count = round(seconds / (time.perf_counter() - start))
    return functools.partial(train, multiple * max(1, count))


# Inside the program -------------------------------------------------------------------------------


def _compiled(game: str, net: Any, spec: Any, clip: float, chunk: int) -> tuple[Any, float]:
    """A function of a number of iterations (a multiple of `chunk`); and compile time."""
    import jax

    from papers.ppo_scaling import envs, train
    from shared.gpu.devices import CPU_COMPILER_OPTIONS

    init, update = train.make_ppo(envs.make(game), net, spec, train.hyper(1e9, clip=clip))

    def iterate(state: Any) -> Any:
        return jax.lax.scan(lambda s, _: (update(s)[0], None), state, None, length=chunk)[0]

    state = jax.jit(init)(jax.random.key(0))
    start = time.perf_counter()
    program = jax.jit(iterate).lower(state).compile(CPU_COMPILER_OPTIONS)
    compiled = time.perf_counter() - start
    held = [state]

    def run(iterations: int) -> float:
        for _ in range(iterations // chunk):
            held[0] = program(held[0])
        jax.block_until_ready(held[0])
        return float(iterations * spec.batch_size)

    run(chunk)
    return run, compiled


def _cartpole() -> tuple[Work, float]:
    from papers.ppo_scaling import networks
    from papers.ppo_scaling.method import BatchSpec

    net = networks.make("mlp", (4,), 2, encoder="separate", activation="tanh")
    run, compiled = _compiled("cartpole", net, BatchSpec(4, 128), 0.2, 20)
    return _sized(run, 20), compiled


def cartpole_torch() -> Contest:
    """Against PyTorch, driven by Python."""
    from papers.ppo_scaling import yardstick
    from papers.ppo_scaling.method import BatchSpec

    yardstick.check_equal(0.2)
    run, compiled = _cartpole()
    agent = yardstick.Vectors(4, 2)
    settings = yardstick.Settings(0.2)
    loop = yardstick.TorchLoop(yardstick.CartPoles(4), agent, BatchSpec(4, 128), settings)
    loop.train(1)
    return Contest(run, _sized(loop.train), compiled)


def cartpole_sb3() -> Contest:
    """Against Stable-Baselines3."""
    # In the dependency group `bench`, which checks of types do without.
    import stable_baselines3  # pyright: ignore[reportMissingImports]
    import torch
    from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
        make_vec_env,
    )

    torch.set_num_threads(1)
    run, compiled = _cartpole()
    vec = make_vec_env("CartPole-v1", 4, seed=0)
    model = stable_baselines3.PPO(
        "MlpPolicy", vec, learning_rate=2.5e-4, n_steps=128, batch_size=128, n_epochs=4,
        clip_range=0.2, clip_range_vf=0.2, ent_coef=0.01, device="cpu", seed=0,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
    )  # fmt: skip
    _check_sb3(model)

    def train(iterations: int) -> float:
        model.learn(512 * iterations, reset_num_timesteps=False)
        return float(512 * iterations)

    train(1)
    return Contest(run, _sized(train), compiled)


def _check_sb3(model: Any) -> None:
    """Assert that its advantages are ours, on a frozen rollout."""
    import jax.numpy as jnp
    import numpy as np
    import torch

    from papers.ppo_scaling import method

    buffer, rng = model.rollout_buffer, np.random.default_rng(0)
    buffer.reset()
    buffer.rewards[:], buffer.values[:] = rng.normal(size=(2, 128, 4))
    starts = rng.random((129, 4)) < 0.1
    buffer.episode_starts[:] = starts[:128]
    last = rng.normal(size=4).astype(np.float32)
    buffer.compute_returns_and_advantage(torch.as_tensor(last), starts[128])
    ours, _ = method.gae(jnp.asarray(buffer.rewards), jnp.asarray(buffer.values),
                         jnp.asarray(starts[1:]), jnp.asarray(last), 0.99, 0.95)  # fmt: skip
    np.testing.assert_allclose(ours, buffer.advantages, rtol=1e-4, atol=1e-4)
    buffer.reset()


def minatar_convolution() -> Contest:
    """Convolutions as matrix products of patches against XLA's convolutions."""
    import jax
    import numpy as np

    from papers.ppo_scaling import envs, networks
    from papers.ppo_scaling.method import BatchSpec

    env = envs.make("breakout")
    make = functools.partial(networks.make, "minatar", env.obs_shape, env.n_actions)
    product, plain = make(convolution="im2col"), make(convolution="conv")
    params = product.init(jax.random.key(0))
    obs = jax.random.uniform(jax.random.key(1), (32, *env.obs_shape))
    for a, b in zip(product.apply(params, obs), plain.apply(params, obs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    ours, compiled = _compiled("breakout", product, BatchSpec(128, 8), 0.2, 2)
    theirs, _ = _compiled("breakout", plain, BatchSpec(128, 8), 0.2, 1)
    return Contest(_sized(ours, 2), _sized(theirs), compiled)


# Atari --------------------------------------------------------------------------------------------


def _atari_cell(game: str) -> tuple[Any, Any, float]:
    """A cell of the host at its start, its first state, and what compiling took."""
    import jax

    from papers.ppo_scaling.host import make_cell
    from papers.ppo_scaling.host_spec import host_spec

    params = {"suite": "atari", "game": game, "n_envs": 8, "n_ro": 128, "steps": 2_000_000}
    cell = make_cell(host_spec(params), 0)
    state = cell.start(jax.random.key(0))
    start = time.perf_counter()
    state, _, _ = cell.iterate(state)
    return cell, state, time.perf_counter() - start


def atari_acting() -> Contest:
    """A rollout with the policy's actions against bare environments with given ones."""
    import jax
    import numpy as np

    from papers.ppo_scaling import atari, yardstick

    yardstick.check_equal_pixels()
    game = "breakout"
    cell, state, compiled = _atari_cell(game)
    log = np.zeros((128, 8), np.uint8)

    def act(rollouts: int) -> float:
        for _ in range(rollouts):
            cell.world.collect(cell.programs, state.learner, jax.random.key(1), 0, log)
        return float(rollouts * 1024)

    bare = atari.AtariEnvs(game, 8, 0)
    bare.reset()
    choices = bare.facts.n_actions
    actions = np.random.default_rng(0).integers(choices, size=(128, 8)).astype(np.int32)

    def play(rollouts: int) -> float:
        for _ in range(rollouts):
            for chosen in actions:
                bare.send(chosen)
                bare.recv()
        return float(rollouts * 1024)

    return Contest(_sized(act), _sized(play), compiled)


def atari_learning() -> Contest:
    """Acting and learning against PyTorch."""
    from papers.ppo_scaling import atari, yardstick
    from papers.ppo_scaling.method import BatchSpec

    yardstick.check_equal()
    yardstick.check_equal_pixels()
    game = "pong"
    cell, state, compiled = _atari_cell(game)
    held = [state]

    def run(iterations: int) -> float:
        for _ in range(iterations):
            held[0], _, _ = cell.iterate(held[0])
        return float(iterations * 1024)

    envs = yardstick.Host(atari.AtariEnvs(game, 8, 0))
    agent = yardstick.Pixels(envs.n_actions)
    loop = yardstick.TorchLoop(envs, agent, BatchSpec(8, 128), yardstick.Settings(0.1))
    return Contest(_sized(run), _sized(loop.train), compiled)


_STEPS = "environment steps"
_SB3 = Entry("CartPole, 4 x 128", "Stable-Baselines3's PPO", _STEPS, 25.0, cartpole_sb3)
ENTRIES = (
    Entry("CartPole, 4 x 128, one seed", "PyTorch loop in CleanRL's manner, one thread", _STEPS,
          25.0, cartpole_torch),
    *([_SB3] if importlib.util.find_spec("stable_baselines3") else []),
    Entry("MinAtar Breakout, 128 x 8, convolution", "the same with XLA's convolution", _STEPS, 4.0,
          minatar_convolution),
    Entry("Atari Breakout, 8 x 128, acting", "the bare vector environment", _STEPS, 0.6,
          atari_acting),
    # Both sides learn at more than half of what a core can multiply at all: there is no factor.
    Entry("Atari Pong, 8 x 128, acting and learning", "PyTorch loop, the same environments",
          _STEPS, 1.0, atari_learning),
)  # fmt: skip
