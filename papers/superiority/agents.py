"""DSUP(q), DAU+DSUP(q), QR-DQN and DAU: their networks, how they act, what they minimise.

    kind     network                                              acts by the largest
    dsup     torso_1 -> q [A] and psi [A, m];  torso_2 -> eta [m]  rho(psi[a] (+ shifted by q[a]))
    qrdqn    torso_1 -> zeta [A, m]                                rho(zeta[a])
    dau      torso_1 -> adv [A];  value_net -> v                   adv[a] + exploration noise

Torsos are two layers of 100, DAU's value net three of 128, all with leaky ReLU (slope 0.01). The
layers start from a truncated normal of variance 1/(inputs), the biases from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from papers.superiority import method
from papers.superiority.method import CVaR, Distortion, Mean
from shared.experiment.errors import BadInput

OBSERVATION, ACTIONS = 2, 2
Params = dict[str, Any]
"""Layers by name; a torso is a list of layers, a layer holds `w` [inputs, outputs] and `b`."""


@dataclass(frozen=True)
class AgentSpec:
    """One agent with all its settings; hashable, so that one program is compiled for each.

    Attributes:
        kind: "dsup", "qrdqn" or "dau".
        frequency: omega, decisions per day.
        q, shift: exponent of DSUP's rescaling; `shift` ranks by the advantage-shifted superiority.
        kappa, atoms: of the quantile Huber loss; number of quantiles m.
        risk: what a law is ranked by (`method.Mean`, `CVaR` or `Distortion`); DAU knows no laws.
        discount: gamma per day.
        learning_rate, batch_size, replay_capacity, target_period: Adam's step size, transitions per
            gradient step, transitions kept, gradient steps between copies to the target network.
        epsilon_final, epsilon_updates: exploration rate, linear from 1 over so many gradient steps.
        noise_stiffness, noise_scale: of DAU's Ornstein-Uhlenbeck exploration noise.
        torso, value_net: widths of the hidden layers.
    """

    kind: Literal["dsup", "qrdqn", "dau"]
    frequency: int = 1
    q: float = 0.5
    shift: bool = False
    kappa: float = 1.0
    atoms: int = 100
    risk: Mean | CVaR | Distortion = Mean()  # noqa: RUF009 - frozen, without state
    discount: float = 0.999
    learning_rate: float = 1e-4
    batch_size: int = 32
    replay_capacity: int = 20_000
    target_period: int = 1000
    epsilon_final: float = 0.02
    epsilon_updates: int = 20_000
    noise_stiffness: float = 0.75
    noise_scale: float = 0.5
    torso: tuple[int, ...] = (100, 100)
    value_net: tuple[int, ...] = (128, 128, 128)

    def __post_init__(self) -> None:
        if self.kind not in ("dsup", "qrdqn", "dau"):
            raise BadInput(f"kind must be 'dsup', 'qrdqn' or 'dau', not {self.kind!r}.")
        for name in ("frequency", "atoms", "batch_size", "replay_capacity", "target_period",
                     "epsilon_updates"):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise BadInput(f"{name} must be a whole number of at least 1, not {value!r}.")
        for name, holds, allowed in (
            ("kappa", self.kappa >= 0, "at least 0"),
            ("discount", 0 < self.discount <= 1, "in (0, 1]"),
            ("learning_rate", self.learning_rate > 0, "positive"),
            ("epsilon_final", 0 <= self.epsilon_final <= 1, "in [0, 1]"),
        ):
            if not holds:
                raise BadInput(f"{name} must be {allowed}, not {getattr(self, name)}.")
        if self.kind == "dau" and self.risk != Mean():
            raise BadInput("DAU learns means only, so its risk must be Mean().")

    @property
    def h(self) -> float:
        """Days between two decisions."""
        return 1.0 / self.frequency


_DSUP = re.compile(r"(DAU\+)?DSUP\((\d+(?:\.\d+)?|\d+/[1-9]\d*)\)")


def agent(name: str, **settings: Any) -> AgentSpec:
    """The agent of that name: QR-DQN, DAU, DSUP(q) or DAU+DSUP(q), q as in 1/2, 0.3 or 1.

    Raises BadInput on another name or a setting outside its range.
    """
    if name == "QR-DQN":
        return AgentSpec("qrdqn", **settings)
    if name == "DAU":
        return AgentSpec("dau", **settings)
    match = _DSUP.fullmatch(name)
    if match is None:
        raise BadInput(f"No agent {name!r}: there are QR-DQN, DAU, DSUP(q) and DAU+DSUP(q).")
    return AgentSpec("dsup", q=float(Fraction(match[2])), shift=bool(match[1]), **settings)


# --- Networks -------------------------------------------------------------------------------------


class DsupOutput(NamedTuple):
    """Raw advantages [..., A], raw superiorities [..., A, m], quantiles of the policy [..., m]."""

    q: Array
    psi: Array
    eta: Array


def init_params(key: Key[Array, ""], agent: AgentSpec) -> Params:
    """Fresh parameters of all of the agent's networks."""
    torso = (OBSERVATION, *agent.torso)
    features = agent.torso[-1]
    shapes: dict[str, Any]
    if agent.kind == "dsup":
        shapes = {"torso_1": torso, "q": (features, ACTIONS),
                  "psi": (features, ACTIONS * agent.atoms),
                  "torso_2": torso, "eta": (features, agent.atoms)}  # fmt: skip
    elif agent.kind == "qrdqn":
        shapes = {"torso_1": torso, "zeta": (features, ACTIONS * agent.atoms)}
    else:
        shapes = {"torso_1": torso, "adv": (features, ACTIONS),
                  "value_net": (OBSERVATION, *agent.value_net),
                  "v": (agent.value_net[-1], 1)}  # fmt: skip
    keys = jax.random.split(key, len(shapes))
    pairs = zip(keys, shapes.items(), strict=True)
    return {name: _init_layers(k, sizes) for k, (name, sizes) in pairs}


def _init_layers(key: Key[Array, ""], sizes: tuple[int, ...]) -> list[dict[str, Array]]:
    lecun = jax.nn.initializers.lecun_normal()
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": lecun(k, (n_in, n_out), jnp.float32), "b": jnp.zeros(n_out, jnp.float32)}
        for k, n_in, n_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _linear(layers: list[dict[str, Array]], x: Array) -> Array:
    (layer,) = layers
    return x @ layer["w"] + layer["b"]


def _torso(layers: list[dict[str, Array]], x: Array) -> Array:
    for layer in layers:
        x = jax.nn.leaky_relu(x @ layer["w"] + layer["b"], 0.01)
    return x


def _quantiles(layers: list[dict[str, Array]], x: Array) -> Array:
    flat = _linear(layers, x)
    return flat.reshape(*x.shape[:-1], ACTIONS, flat.shape[-1] // ACTIONS)


def dsup_eta(params: Params, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch m"]:
    """Quantiles of the policy's own return."""
    return _linear(params["eta"], _torso(params["torso_2"], obs))


def dsup_network(params: Params, obs: Float[Array, "*batch obs"]) -> DsupOutput:
    """Raw advantages and superiorities from one torso, eta from the other."""
    features = _torso(params["torso_1"], obs)
    q, psi = _linear(params["q"], features), _quantiles(params["psi"], features)
    return DsupOutput(q, psi, dsup_eta(params, obs))


def qrdqn_network(params: Params, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch A m"]:
    """Quantiles of each action's return."""
    return _quantiles(params["zeta"], _torso(params["torso_1"], obs))


def dau_value(params: Params, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch"]:
    """Mean of the policy's own return."""
    return _linear(params["v"], _torso(params["value_net"], obs))[..., 0]


def dau_advantage(params: Params, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch A"]:
    """Raw advantage rates."""
    return _linear(params["adv"], _torso(params["torso_1"], obs))


# --- Acting ---------------------------------------------------------------------------------------


def decision_laws(
    params: Params, obs: Float[Array, " obs"], agent: AgentSpec
) -> Float[Array, "A m"]:
    """The quantiles by which the agent ranks its actions in one state.

    DSUP: psi_{h;q}, centred and, for DAU+DSUP, advantage-shifted. QR-DQN: zeta. DAU: m = 1.
    """
    if agent.kind == "qrdqn":
        return qrdqn_network(params, obs)
    if agent.kind == "dau":
        return dau_advantage(params, obs)[:, None]
    features = _torso(params["torso_1"], obs)
    q_raw, psi_raw = _linear(params["q"], features), _quantiles(params["psi"], features)
    q, psi, _ = method.centre(q_raw, psi_raw, agent.h, agent.q, agent.shift, agent.risk)
    return method.decision_quantiles(q, psi, agent.h, agent.q, agent.shift)


def greedy_actions(
    params: Params,
    obs: Float[Array, "n obs"],
    agent: AgentSpec,
    noise: Float[Array, " A"] | None = None,
) -> Int[Array, " n"]:
    """argmax_a rho(decision law of a), `noise` added before the argmax (DAU's exploration)."""
    laws = jax.vmap(decision_laws, (None, 0, None))(params, obs, agent)
    values = agent.risk(laws)
    return jnp.argmax(values if noise is None else values + noise, axis=-1)


# --- Learning -------------------------------------------------------------------------------------


class Transition(NamedTuple):
    """Transitions; `mask` is 0 where the next observation is terminal, else 1."""

    obs: Float[Array, "*batch obs"]
    action: Int[Array, "*batch"]
    reward: Float[Array, "*batch"]
    mask: Float[Array, "*batch"]
    next_obs: Float[Array, "*batch obs"]


def target_params(params: Params, agent: AgentSpec) -> Params:
    """The part of the parameters that bootstrap targets are made of."""
    names = {"dsup": ("torso_2", "eta"), "qrdqn": ("torso_1", "zeta"), "dau": ("value_net", "v")}
    return {name: params[name] for name in names[agent.kind]}


def batch_loss(
    params: Params, target: Params, batch: Transition, agent: AgentSpec
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean loss over a batch, and the means of its parts (`q_loss`, `quantile_loss`).

    `target` (`target_params` of an older network) gets no gradient.
    """
    obs, next_obs = batch.obs, batch.next_obs
    taken = (batch.action, batch.reward, batch.mask)
    h, gamma, kappa = agent.h, agent.discount, agent.kappa
    if agent.kind == "dsup":

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.dsup_loss(*args, h=h, q=agent.q, gamma=gamma, kappa=kappa,
                                    shift=agent.shift, risk=agent.risk)  # fmt: skip

        outputs = (*dsup_network(params, obs), dsup_eta(target, next_obs))
    elif agent.kind == "qrdqn":

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.qrdqn_loss(*args, h=h, gamma=gamma, kappa=kappa, risk=agent.risk)

        outputs = (qrdqn_network(params, obs), qrdqn_network(target, next_obs))
    else:

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.dau_loss(*args, h=h, gamma=gamma)

        outputs = (dau_advantage(params, obs), dau_value(params, obs), dau_value(target, next_obs))
    losses, parts = jax.vmap(loss)(*outputs, *taken)
    del parts["a_star"]
    return jnp.mean(losses), {name: jnp.mean(part) for name, part in parts.items()}
