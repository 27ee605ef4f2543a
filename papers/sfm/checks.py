"""Two statements of the paper that no training run decides: state-only (C4) and compute (C7)."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.sfm import train
from papers.sfm.config import POINT_MASS, Config
from papers.sfm.demos import Demo, load_demo, save_demo, stack_states
from papers.sfm.pointmass import PointMass
from papers.sfm.replay import Episode, insert
from papers.sfm.trial import learner_of
from papers.sfm.worlds import demonstrations
from shared.experiment.spec import Outcome

BLOCKS = 25  # of updates in the comparison, two updates each


def state_only(config: Config) -> Outcome:
    """Train twice, the second time from a demonstration file whose actions are NaN.

    Returns:
        `difference`: largest absolute difference between any two numbers of both final states;
        `numbers`: how many were compared; `refused`: 1 if cloning refuses the second file.
    """
    small = dataclasses.replace(
        config, batch=32, hidden=16, feature_dim=8, feature_hidden=16, demo=None
    )
    env, learner = PointMass(), learner_of(small, "sfm-td3")
    plan = train.Plan(env.length, 1, None, capacity=2)
    demo, other = demonstrations(small, POINT_MASS, (0, 1))
    blank = dataclasses.replace(demo[0], act=np.full_like(demo[0].actions(), np.nan))
    read = [_through_a_file(each) for each in (demo[0], blank)]
    experience = Episode(
        obs=jnp.asarray(other[0].obs),
        action=jnp.asarray(other[0].actions()),
        reward=jnp.asarray(other[0].reward),
    )

    @jax.jit
    def run(states: Any) -> Any:
        start = train.init(learner, plan, env.obs_dim, env.act_dim, jax.random.key(0))
        replay = insert(start.replay, experience)

        def body(_: Any, carry: Any) -> Any:
            core, own = carry
            return learner.block(core, own, replay, states, start.key)[:2]

        return jax.lax.fori_loop(0, BLOCKS, body, (start.core, start.own))

    finals = [jax.tree.leaves(run(jnp.asarray(stack_states([each])))) for each in read]
    gaps = [_largest_gap(x, y) for x, y in zip(*finals, strict=True)]
    return {
        "difference": np.asarray(max(gaps)),
        "numbers": np.asarray(sum(leaf.size for leaf in finals[0])),
        "refused": np.asarray(float(_refuses(read[1]) and not _refuses(read[0]))),
    }


def _largest_gap(x: Any, y: Any) -> float:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return float(np.max(np.abs(x - y), initial=0.0))


def _through_a_file(demo: Demo) -> Demo:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.npz"
        save_demo(path, demo)
        return load_demo(path, PointMass().obs_dim)


def _refuses(demo: Demo) -> bool:
    try:
        demo.actions()
    except ValueError:
        return True
    return False


PAPER_SIZES = {"batch": 1024, "hidden": 256, "feature_dim": 128, "feature_hidden": 1024}
CHEETAH = (17, 6)  # widths of observations and actions


def compute(config: Config) -> Outcome:
    """Operations of the matrix products of an update at the paper's sizes, on cheetah.

    A mean over calls, so actor updates count half. `mm` is without its discriminator's steps, whose
    share is below a thousandth. `actor_critic` learns from a given reward.

    Returns:
        GFLOP a call, for each learner on TD7 and TD3, and SFM with frozen random features.
    """
    paper = dataclasses.replace(config, demo=None, features="fdm", **PAPER_SIZES)
    frozen = dataclasses.replace(paper, features="random")
    found = {}
    for rules in ("td7", "td3"):
        for name, settings, kind in (
            ("sfm", paper, "sfm"),
            ("sfm_random", frozen, "sfm"),
            ("mm", paper, "mm"),
            ("actor_critic", paper, "task"),
        ):
            learner = learner_of(settings, f"{kind}-{rules}")
            found[f"{rules}/{name}"] = np.asarray(round(gigaflops(learner), 4))
    return found


def gigaflops(learner: Any) -> float:
    """A mean over the calls of a block, of which only the last moves the actor."""
    obs_dim, act_dim = CHEETAH
    plan = train.Plan(1000, 1, None, capacity=2)
    state = jax.eval_shape(
        lambda key: train.init(learner, plan, obs_dim, act_dim, key), jax.random.key(0)
    )
    demos = jax.ShapeDtypeStruct((1, 1001, obs_dim), jnp.float32)
    block = jax.make_jaxpr(learner.block)(state.core, state.own, state.replay, demos, state.key)
    calls = learner.optimiser.rates.policy_delay
    with_actor, without = (product_flops(block.jaxpr, pick) / calls for pick in (max, min))
    return ((calls - 1) * without + with_actor) / calls / 1e9


def product_flops(jaxpr: Any, pick: Callable[[Iterable[int]], int] = max) -> int:
    """Operations of all matrix products in a program, loops unrolled; `pick` chooses the branch."""
    total = 0
    for equation in jaxpr.eqns:
        params = equation.params
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)
        elif equation.primitive.name == "cond":
            total += pick(product_flops(branch.jaxpr, pick) for branch in params["branches"])
        else:
            times = params["length"] if equation.primitive.name == "scan" else 1
            inner = [x for x in params.values() if hasattr(x, "eqns") or hasattr(x, "jaxpr")]
            bodies = (getattr(x, "jaxpr", x) for x in inner)
            total += times * sum(product_flops(body, pick) for body in bodies)
    return total
