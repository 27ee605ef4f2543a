"""Makes the demonstrations that ship with this room: `python -m papers.icrl.experts TASK`.

An expert is the room's own soft actor-critic on the reward minus 10 for each step beyond the wall,
which it is told. Of its evaluations the best without a violation is kept, tried on 50 further
episodes, and recorded: ten episodes with the mode of the policy, ten with its noise, all whole and
none of which violates. A second file holds twenty episodes of an agent trained as long without the
constraint, for sub-optimal mixtures. Each file has a data card with its seed, steps, returns and
hash.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from papers.icrl import demos, method, train
from papers.icrl.demos import Demonstrations
from papers.icrl.envs import Task, task
from papers.icrl.method import SACConfig
from papers.icrl.train import Demos, Episodes, Plan

EPOCHS = {"blocked_point": 15, "biased_cartpole": 60}  # of 1000 steps
EPISODES, PENALTY, SEEDS = 20, 10.0, 4


def plan(world: Task) -> Plan:
    """The learner of the small tasks, with twins proper, and twenty episodes an evaluation."""
    sac = SACConfig(hidden=(64, 64), twin_init="independent")
    return Plan(world, sac, "known", evaluations=20)


def best_actor(world: Task, penalty: float, epochs: int) -> tuple[method.Mlp, dict]:
    """The best evaluated policy over all seeds and epochs; with a penalty, one that obeys."""
    made, numbers = plan(world), train.knobs(lam=penalty)
    no_demos = Demos(
        jnp.zeros((1, world.obs_dim), jnp.float32), jnp.zeros((1, world.act_dim), jnp.float32)
    )
    trial = train.start(jax.random.split(jax.random.key(0), SEEDS), made, numbers.lam)
    found: list[tuple[float, int, int, method.Mlp]] = []
    for step in range(epochs):
        trial, _ = train.advance(trial, numbers, no_demos, made, 1)
        keys = jax.random.split(jax.random.key(1000 + step), SEEDS)
        seen = train.final_episodes(trial, keys, made, 50)
        for seed in range(SEEDS):
            one = jax.tree.map(lambda x, seed=seed: x[seed], seen)
            score = float(jnp.where(one.mask, one.rew, 0).sum() / 50)
            broken = bool(((one.cost > 0) & one.mask).any())
            if not (penalty and broken):
                actor = jax.tree.map(lambda x, seed=seed: x[seed], trial.learners.sac.actor)
                found.append((score, seed, step + 1, actor))
    score, seed, step, actor = max(found, key=lambda item: item[0])
    return actor, {"seed": seed, "steps": step * made.steps, "mean_return_of_50": round(score, 3)}


def record(world: Task, actor: method.Mlp, obey: bool) -> Demonstrations:
    """Half of the episodes with the policy's mode, half with its noise; whole and feasible ones."""
    parts = []
    for noise in (0.0, 1.0):
        seen = train.roll(
            world,
            lambda obs, draw, noise=noise: method.policy(actor, obs, noise * draw)[0],
            jax.random.key(7 + int(noise)),
            200,
        )
        parts.append(_pick(seen, EPISODES // 2, obey))
    return demos.join(parts)


def _pick(seen: Episodes, count: int, obey: bool) -> Demonstrations:
    broken = np.asarray(((seen.cost > 0) & seen.mask).any(axis=0))
    whole = np.asarray(seen.mask.all(axis=0))  # none that fell
    chosen = np.flatnonzero(whole & ~broken if obey else whole)[:count]
    if len(chosen) < count:
        raise SystemExit(f"Only {len(chosen)} of {count} episodes obey the constraint.")
    lengths = np.asarray(seen.mask.sum(axis=0))[chosen].astype(np.int32)
    columns = [np.asarray(x) for x in (seen.obs, seen.act, seen.rew)]
    rows = [np.concatenate([x[:n, i] for i, n in zip(chosen, lengths, strict=True)])
            for x in columns]  # fmt: skip
    return Demonstrations(rows[0], rows[1], rows[2], lengths)


def main(name: str, folder: Path = demos.FOLDER) -> None:
    """Train, record and write both files of a task."""
    world = task(name)
    folder.mkdir(exist_ok=True)
    for kind, penalty in (("expert", PENALTY), ("unconstrained", 0.0)):
        actor, facts = best_actor(world, penalty, EPOCHS[name])
        found = record(world, actor, kind == "expert")
        path = folder / f"{name}_{kind}.npz"
        demos.save(path, found)
        returns = found.returns()
        inside = np.asarray(world.violated(jnp.asarray(found.obs)))
        facts |= {
            "task": name,
            "kind": kind,
            "made_by": f"python -m papers.icrl.experts {name}",
            "penalty_per_violating_step": penalty,
            "episodes": len(returns),
            "transitions": len(found.obs),
            "mean_return": round(float(returns.mean()), 4),
            "lowest_return": round(float(returns.min()), 4),
            "highest_return": round(float(returns.max()), 4),
            "share_of_steps_beyond_the_wall": round(float(inside.mean()), 4),
            "actions": "in [-1, 1]",
            "sha256": demos.sha256(path),
        }
        path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
        print(json.dumps(facts))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or list(EPOCHS):
        main(chosen)
