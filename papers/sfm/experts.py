"""`python -m papers.sfm.experts TASK`: train an expert on the task's reward, record demonstrations.

The learner is TD3 or TD7 of this room with critics of one number. The best policy of all
evaluations is rolled out without noise, and the returns of *these* episodes are what the files say.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.sfm import train
from papers.sfm.config import PRESETS, SMALL_TASKS, Config, check_task
from papers.sfm.demos import Demo, save_demo
from papers.sfm.hosted import Hosted
from papers.sfm.train import Kept, Trial
from papers.sfm.trial import _exploit, learner_of, plan_of
from papers.sfm.worlds import MujocoWorld, start_numbers, world
from shared.gpu.seeds import seed_keys


def train_expert(
    task: str,
    config: Config,
    rules: str = "td3",
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> tuple[Kept, float, MujocoWorld]:
    """The best policy of a run over its evaluations, and its mean reward a step."""
    here = world(task)
    assert isinstance(here, MujocoWorld), "the point mass has an exact expert"
    learner = learner_of(config, f"task-{rules}", here.length)
    plan = plan_of(config, learner, here.length)
    every = max(1, config.steps // (here.length * config.evaluations))
    hosted = Hosted(learner, plan, here, every, _exploit(learner))
    keys = seed_keys((config.first_seed,), f"sfm/expert/{task}")
    start = jax.jit(
        jax.vmap(lambda key: train.init(learner, plan, here.obs_dim, here.act_dim, key))
    )
    trial = Trial(start(keys), jnp.zeros((1, 1, 3, here.obs_dim), jnp.float32))
    best, score = trial.train.kept, -1.0
    for number in range(config.evaluations):
        trial, metrics = hosted.step(trial)
        reached = float(metrics["newest"][0])
        say(f"{(number + 1) * every * here.length:8d} steps: mean reward {reached:.3f}")
        if reached > score:
            best, score = jax.tree.map(jnp.copy, train.newest_policy(trial.train)), reached
    return best, score, here


def record(
    task: str, config: Config, policy: Kept, here: MujocoWorld, count: int, rules: str = "td3"
) -> list[Demo]:
    """Episodes of the policy without noise, from starts of their own."""
    import mujoco

    act: Any = jax.jit(_exploit(learner_of(config, f"task-{rules}", here.length)))
    key = seed_keys((config.first_seed,), f"sfm/demonstrations/{task}")[0]
    one = jax.tree.map(lambda leaf: leaf[0], policy)
    episodes, films = here.filmed(
        lambda obs, step: np.asarray(act(one, jnp.asarray(obs), key)),
        start_numbers(jax.random.split(key, count)),
    )
    source = f"{rules.upper()} of this repository, {config.steps} steps on the task's reward"
    return [
        Demo(obs, action, reward, task, source, mujoco.__version__, float(reward.sum()), film)
        for obs, action, reward, film in zip(*episodes, films, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; prints each file with its checksum and return."""
    parser = argparse.ArgumentParser(prog="python -m papers.sfm.experts", description=__doc__)
    parser.add_argument("task", help=f"a task of DeepMind Control, such as {SMALL_TASKS[0]}")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps")
    parser.add_argument("--optimiser", choices=("td3", "td7"), default="td3")
    parser.add_argument("--hidden", type=int, default=128, help="units of a layer")
    parser.add_argument("--batch", type=int, default=256, help="transitions of an update")
    parser.add_argument("--count", type=int, default=3, help="demonstrations to record")
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the files")
    options = parser.parse_args(argv)
    try:
        check_task(options.task)
        config = _config(options)
    except ValueError as error:
        parser.error(str(error))
    policy, score, here = train_expert(options.task, config, options.optimiser)
    print(f"best mean reward {score:.3f}")
    demos = record(options.task, config, policy, here, options.count, options.optimiser)
    options.out.mkdir(parents=True, exist_ok=True)
    for index, demo in enumerate(demos):
        path = options.out / f"{options.task}-{index}.npz"
        print(f"{path} return {demo.recorded_return:.1f} sha256 {save_demo(path, demo)}")
    return 0


def _config(options: argparse.Namespace) -> Config:
    from dataclasses import replace

    return replace(
        PRESETS["cpu"],
        steps=options.steps,
        replay_steps=options.steps,
        random_steps=5_000,
        evaluations=options.evaluations,
        evaluation_episodes=5,
        average_last=1,
        hidden=options.hidden,
        batch=options.batch,
        rate_td3=1e-3,
        rate_td7=5e-4,
        gamma_td7=0.99,
        first_seed=options.seed,
    )


if __name__ == "__main__":
    raise SystemExit(main())
