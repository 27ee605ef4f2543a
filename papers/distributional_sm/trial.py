"""One training task: a model of a process under a policy, asked for rewards as it learns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.distributional_sm import baselines, truth
from papers.distributional_sm.config import Config
from papers.distributional_sm.method import (
    Loss,
    TrainerSpec,
    TrainerState,
    Transitions,
    imq_scales,
    make_trainer,
    median_scaled_loss,
    rq_kernel,
    sample_atoms,
    two_level_mmd2,
)
from papers.distributional_sm.processes import Process, process
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys, stack

SNAPSHOT = 64  # states of each atom kept for a picture
ROLL_OUTS = 500  # of a one-step model, per source


class Trial(NamedTuple):
    """One seed's run: the learner, its data, and the true returns that it is held to."""

    train: TrainerState
    data: Transitions
    returns: Float[Array, "sources rewards runs"]
    widths: Float[Array, " rewards"]


class Answer(NamedTuple):
    """What a model says: k predicted returns, their mean W1 over the range of returns, and states
    of each atom from the first source, for a picture."""

    returns: Float[Array, "sources rewards k"]
    error: Float[Array, ""]
    snapshot: Float[Array, "m states d"]


def trainer_spec(config: Config, model: str, obs_dim: int) -> tuple[TrainerSpec, Loss]:
    """What a task trains: `delta`, `ensemble` or `one-step`."""
    spec = TrainerSpec(
        obs_dim=obs_dim,
        gamma=config.gamma,
        atoms=config.atoms,
        samples=config.samples,
        horizon=config.horizon,
        hidden=(config.width,) * 3,
        learned_kernel=config.kernel == "learned",
        phi_width=config.width,
        phi_per_atom=model == "ensemble" and config.kernel == "learned",
        batch=config.batch_size,
        learning_rate=config.learning_rate,
        adam_eps=config.adam_eps,
        decay_steps=config.updates if config.decay else 0,
        ema=config.ema,
    )
    if model == "one-step":
        return baselines.one_step_spec(spec), _own(config.kernel)
    if model == "ensemble":
        return spec, _own(config.kernel)
    if config.kernel == "median":
        return spec, median_scaled_loss
    return spec, _two_level(config.kernel, config.bandwidth)


# The same objects for the same settings, so that tasks share their programs.


@functools.cache
def _two_level(kernel: str, bandwidth: float) -> Loss:
    inner = imq_scales if kernel == "scales" else rq_kernel
    return functools.partial(two_level_mmd2, inner=inner, bandwidth=bandwidth or "median")


@functools.cache
def _own(kernel: str) -> Loss:
    inner = imq_scales if kernel == "scales" else rq_kernel
    return functools.partial(baselines.ensemble_loss, inner=inner)


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds of the task.

    Returns:
        `curve` [seed, evaluation]: mean W1 between predicted and true returns over sources and
        rewards, each over its reward's range of possible returns. Of the final model:
        `returns` [seed, source, reward, m], sorted; `w1` [seed, source, reward], in units of the
        return; `ks`, `cvm` alike; `snapshot` [seed, m, 64, d], states of each atom from the first
        source.
    """
    params = task.params
    config = replace(config, ablations=(), ablation_updates=config.updates)  # shares programs
    place = process(params["process"])
    spec, loss = trainer_spec(config, params["model"], place.obs_dim)
    real, widths = truth.simulated(config, params["process"], params["policy"])
    programs = _programs(spec, loss, place, config, params["model"] == "one-step")
    data = [
        place.collect(params["policy"], seed, config.episodes, config.episode_steps, spec.horizon)
        for seed in task.seeds
    ]
    true = jnp.asarray(real), jnp.asarray(widths, jnp.float32)
    start = programs.start(seed_keys(task.seeds, "distributional_sm"), *_even(data), *true)

    def chunk(trial: Trial) -> tuple[Trial, dict[str, Array]]:
        trial, metrics = programs.train(trial)
        return trial, metrics | {"w1": programs.answer(trial).error}

    final, history = run.loop(
        start,
        chunk,
        config.evaluations,
        unit="updates",
        per_chunk=config.updates_per_evaluation,
    )
    answer = programs.answer(final)
    returns = np.sort(np.asarray(answer.returns), axis=-1)
    ks, cvm = zip(
        *(truth.cdf_distances(seed_returns, real) for seed_returns in returns), strict=True
    )
    return {
        "curve": np.moveaxis(history["w1"], 0, -1),
        "returns": _midpoints(returns, config.atoms),
        "w1": np.stack([truth.w1(seed_returns, real) for seed_returns in returns]),
        "ks": np.stack(ks),
        "cvm": np.stack(cvm),
        "snapshot": np.asarray(answer.snapshot),
    }


def _midpoints(returns: np.ndarray, count: int) -> np.ndarray:
    """Sorted returns as at most `count` equally likely ones, their quantile midpoints."""
    if returns.shape[-1] <= count:
        return returns
    levels = (np.arange(count) + 0.5) / count
    return np.moveaxis(np.quantile(returns, levels, axis=-1), 0, -1)


def _even(data: list[Transitions]) -> tuple[Transitions]:
    """Streams of all seeds as one tree; window starts are cut to as many as the fewest."""
    fewest = min(len(stream.starts) for stream in data)
    return (stack([stream._replace(starts=stream.starts[:fewest]) for stream in data]),)


Step = Callable[[Trial], tuple[Trial, dict[str, Array]]]


class Programs(NamedTuple):
    """The compiled programs of one kind of trial, each over stacked seeds."""

    start: Callable[[Array, Transitions, Array, Array], Trial]
    train: Step
    answer: Callable[[Trial], Answer]


@functools.lru_cache(maxsize=8)
def _programs(
    spec: TrainerSpec, loss: Loss, place: Process, config: Config, one_step: bool
) -> Programs:
    init, step = make_trainer(spec, loss)
    sources = jnp.asarray(place.sources, jnp.float32)
    predict = _rolled_out if one_step else _generated

    def start(keys: Array, data: Transitions, returns: Array, widths: Array) -> Trial:
        def one(key: Array, data: Transitions) -> Trial:
            return Trial(init(key), data, returns, widths)

        return jax.vmap(one)(keys, data)

    def train(trial: Trial) -> tuple[Trial, dict[str, Array]]:
        def body(state: TrainerState, _: None) -> tuple[TrainerState, Array]:
            state, metrics = step(state, trial.data)
            return state, metrics["loss"]

        state, losses = jax.lax.scan(body, trial.train, length=config.updates_per_evaluation)
        return trial._replace(train=state), {"loss": losses.mean()}

    def answer(trial: Trial) -> Answer:
        k_picture, *keys = jax.random.split(
            jax.random.fold_in(trial.train.key, 1), len(sources) + 1
        )
        returns = jax.lax.map(
            lambda at: predict(trial, at[0], at[1], place, config), (jnp.stack(keys), sources)
        )
        apart = truth.w1_jax(returns, trial.returns) / trial.widths
        picture = sample_atoms(trial.train.atoms, k_picture, sources[0], SNAPSHOT)
        return Answer(returns, apart.mean(), picture)

    return Programs(
        jax.jit(start),
        over_seeds_fitted(train),
        jax.jit(lambda trial: jax.lax.map(answer, trial)),
    )


def _generated(
    trial: Trial, key: Array, x: Array, place: Process, config: Config
) -> Float[Array, "rewards m"]:
    """Predicted returns of a model of whole futures: `return_atoms`, the same states for all."""
    states = sample_atoms(trial.train.atoms, key, x, config.eval_samples)
    means = [jax.vmap(reward)(states).mean(axis=1) for reward in place.rewards.values()]
    return jnp.stack(means) / (1 - config.gamma)


def _rolled_out(
    trial: Trial, key: Array, x: Array, place: Process, config: Config
) -> Float[Array, "rewards runs"]:
    """Predicted returns of a one-step model, rolled out as long as the truth, within the data."""
    weights = jnp.asarray(config.gamma ** np.arange(config.truth_steps), jnp.float32)
    obs = trial.data.obs
    paths = baselines.roll_out(
        trial.train.atoms, key, x, _roll_outs(config), config.truth_steps, obs.min(0), obs.max(0)
    )
    return jnp.stack([jax.vmap(reward)(paths) @ weights for reward in place.rewards.values()])


def _roll_outs(config: Config) -> int:
    """Roll-outs per source: a divisor of the number of true runs, so that W1 is exact."""
    return next(k for k in range(min(ROLL_OUTS, config.runs_of_truth), 0, -1)
                if config.runs_of_truth % k == 0)  # fmt: skip
