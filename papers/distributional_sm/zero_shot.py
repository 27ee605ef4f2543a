"""A model as its user meets it: trained on transitions, then asked for any reward at any state.

model = fit(spec, transitions(obs, terminated, truncated, spec.horizon), updates=5000)
save_model(model, "model.safetensors"); model = load_model("model.safetensors")
answer = evaluate(model, state, lambda s: -s[:, 0] ** 2)
answer.mean, answer.cvar(0.1), answer.quantile(0.5), answer.returns
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.distributional_sm.method import (
    Loss,
    Params,
    TrainerSpec,
    TrainerState,
    Transitions,
    make_trainer,
    return_atoms,
    two_level_mmd2,
)
from papers.distributional_sm.tabular import cvar

_FORMAT = "distributional_sm delta-model 1"


@dataclass(frozen=True)
class Model:
    """The atoms of a delta-model, and what they were trained for.

    Attributes:
        atoms: as `method.init_atoms` lays them out. gamma: the discount of every answer.
        obs_dim: numbers in a state. note: free text, such as task and policy.
    """

    atoms: Params
    gamma: float
    obs_dim: int
    note: str = ""


@dataclass(frozen=True)
class Prediction:
    """The return's law: m equally likely values, in increasing order."""

    returns: Float[np.ndarray, " m"]

    @property
    def mean(self) -> float:
        """Expected return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation; see `evaluate` on what `samples` adds to it."""
        return float(self.returns.std())

    def cvar(self, tau: float) -> float:
        """Mean of the worst share `tau` in (0, 1]."""
        return float(cvar(self.returns, tau))

    def quantile(self, level: float | Float[np.ndarray, " k"]) -> Any:
        """Smallest return with at least `level` of the mass at or below it."""
        return np.quantile(self.returns, level, method="inverted_cdf")


def fit(
    spec: TrainerSpec,
    data: Transitions,
    updates: int,
    seed: int = 0,
    loss: Loss = two_level_mmd2,
    note: str = "",
) -> Model:
    """Train a delta-model on transitions; no reward is needed.

    Raises:
        ValueError: the states of `data` are not those of `spec`; the training diverged.
    """
    if updates < 1:
        raise ValueError(f"updates must be at least 1, got {updates}.")
    if data.obs.shape[1] != spec.obs_dim:
        raise ValueError(
            f"The data's states have {data.obs.shape[1]} numbers, obs_dim is {spec.obs_dim}."
        )
    init, step = make_trainer(spec, loss)

    @jax.jit
    def train(data: Transitions) -> TrainerState:
        start = init(jax.random.key(seed))
        return jax.lax.scan(lambda state, _: (step(state, data)[0], None), start, length=updates)[0]

    atoms = train(data).atoms
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(atoms)):
        raise ValueError("The training diverged: take a smaller learning_rate or ema.")
    return Model(atoms, spec.gamma, spec.obs_dim, note)


def evaluate(
    model: Model,
    state: Float[Array | np.ndarray, " d"],
    reward_fn: Callable[[Array], Array],
    samples: int = 4096,
    seed: int = 0,
) -> Prediction:
    """The law of the return from `state` under a reward.

    Each of the m values averages `samples` states, which adds Var_i(r) / (samples (1 - gamma)^2) to
    its variance, Var_i(r) that of the reward under atom i.

    Args:
        reward_fn: states [n, d] -> rewards [n], written with jax.numpy.
    """
    x = jnp.asarray(state, jnp.float32)
    if x.shape != (model.obs_dim,):
        raise ValueError(f"A state has the shape {(model.obs_dim,)}, got {x.shape}.")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    found = return_atoms(model.atoms, jax.random.key(seed), x, reward_fn, model.gamma, samples)
    return Prediction(np.sort(np.asarray(found, np.float64)))


def rank(
    models: Mapping[str, Model],
    state: Float[Array | np.ndarray, " d"],
    reward_fn: Callable[[Array], Array],
    tau: float = 1.0,
    samples: int = 4096,
) -> list[tuple[str, float]]:
    """Policies from best to worst by the CVaR at `tau` of their returns (1: by the mean)."""
    values = {
        name: evaluate(model, state, reward_fn, samples).cvar(tau) for name, model in models.items()
    }
    return sorted(values.items(), key=lambda item: -item[1])


def save_model(model: Model, path: Path | str) -> None:
    """Write a model to one .safetensors file."""
    from safetensors.numpy import save_file

    arrays = {
        f"{name}.{i}": np.ascontiguousarray(layer[name])
        for i, layer in enumerate(model.atoms)
        for name in ("w", "b")
    }
    about = {"gamma": model.gamma, "obs_dim": model.obs_dim, "note": model.note}
    save_file(arrays, path, {"format": _FORMAT, "about": json.dumps(about)})


def load_model(path: Path | str) -> Model:
    """Read a model that `save_model` wrote.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about, found = (
                file.metadata() or {},
                {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            )
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable model file: {error}.") from None
    if about.get("format") != _FORMAT:
        raise ValueError(f"{path} holds no delta-model of this paper (format {_FORMAT!r}).")
    fields = json.loads(about["about"])
    layers = len(found) // 2
    names = {f"{name}.{i}" for i in range(layers) for name in ("w", "b")}
    if set(found) != names:
        raise ValueError(f"{path} holds another architecture: its arrays are {sorted(found)}.")
    atoms = [
        {name: jnp.asarray(found[f"{name}.{i}"]) for name in ("w", "b")} for i in range(layers)
    ]
    if any(a["w"].shape[2] != b["w"].shape[1] for a, b in itertools.pairwise(atoms)):
        raise ValueError(f"{path} holds another architecture: its layers do not fit together.")
    if atoms[-1]["w"].shape[2] != fields["obs_dim"]:
        raise ValueError(
            f"{path} generates {atoms[-1]['w'].shape[2]} numbers, not the {fields['obs_dim']} of "
            "a state."
        )
    return Model(atoms, fields["gamma"], fields["obs_dim"], fields["note"])
