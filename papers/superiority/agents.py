"""DSUP(q), DAU+DSUP(q), QR-DQN and DAU: their networks, how they act, what they minimise.

    kind     network                                              acts by the largest
    dsup     torso_1 -> q [A] and psi [A, m];  torso_2 -> eta [m]  rho(psi[a] (+ shifted by q[a]))
    qrdqn    torso_1 -> zeta [A, m]                                rho(zeta[a])
    dau      torso_1 -> adv [A];  value_net -> v                   adv[a] + exploration noise

Torsos are two layers of 100, DAU's value net three of 128, all with leaky ReLU (slope 0.01). The
layers start from a truncated normal of variance 1/(inputs), the biases from 0.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from papers.superiority import method
from papers.superiority.method import CVaR, Distortion, Mean
from shared.experiment.errors import BadInput

OBSERVATION, ACTIONS = 2, 2
Params = Float[Array, " P"]
"""All weights in one vector: then Adam is one kernel, and so is the copy to the target network."""

TargetParams = Float[Array, " T"]
"""The weights at the end of the vector, which bootstrap targets are made of."""


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


class Layer(NamedTuple):
    """x -> x w + b."""

    w: Float[Array, "inputs outputs"]
    b: Float[Array, " outputs"]


Network = dict[str, list[Layer]]
"""Stacks of layers by name: `torso_1`, `psi` and so on."""


class DsupOutput(NamedTuple):
    """Raw advantages [..., A], raw superiorities [..., A, m], quantiles of the policy [..., m]."""

    q: Array
    psi: Array
    eta: Array


def _widths(agent: AgentSpec) -> dict[str, tuple[int, ...]]:
    """Widths of each stack of layers; the last two are those that bootstrap targets are made of."""
    torso, features, laws = (OBSERVATION, *agent.torso), agent.torso[-1], ACTIONS * agent.atoms
    if agent.kind == "qrdqn":
        return {"torso_1": torso, "zeta": (features, laws)}
    if agent.kind == "dau":
        value_net = (OBSERVATION, *agent.value_net)
        return {"torso_1": torso, "adv": (features, ACTIONS),
                "value_net": value_net, "v": (value_net[-1], 1)}  # fmt: skip
    return {"torso_1": torso, "q": (features, ACTIONS), "psi": (features, laws),
            "torso_2": torso, "eta": (features, agent.atoms)}  # fmt: skip


def _shapes(agent: AgentSpec, stacks: int = 0) -> list[tuple[str, int, int]]:
    """Name, inputs and outputs of each layer, of all stacks or of so many at the end."""
    chosen = list(_widths(agent).items())[-stacks:]
    return [(name, n, k) for name, widths in chosen for n, k in itertools.pairwise(widths)]


def _count(shapes: list[tuple[str, int, int]]) -> int:
    return sum((inputs + 1) * outputs for _, inputs, outputs in shapes)


TRUNCATED_STD = 0.87962566103423978  # standard deviation of a standard normal cut off at +-2


def init_params(key: Key[Array, ""], agent: AgentSpec) -> Params:
    """Fresh weights: normal, cut off at two of its own standard deviations and scaled to variance
    1/(inputs); biases zero. (LeCun's, as Flax has it.)
    """
    scale = np.concatenate(
        [
            np.repeat([1 / (TRUNCATED_STD * math.sqrt(inputs)), 0.0], [inputs * outputs, outputs])
            for _, inputs, outputs in _shapes(agent)
        ]
    )
    draws = jax.random.truncated_normal(key, -2.0, 2.0, scale.shape, jnp.float32)
    return draws * jnp.asarray(scale, jnp.float32)


def target_params(params: Params, agent: AgentSpec) -> TargetParams:
    """The part of the weights that the target network keeps a copy of."""
    return params[-_count(_shapes(agent, stacks=2)) :]


def network(params: Params | TargetParams, agent: AgentSpec) -> Network:
    """The layers of a weight vector, or of its end (`target_params`)."""
    shapes = _shapes(agent)
    if params.shape[0] != _count(shapes):
        shapes = _shapes(agent, stacks=2)
    sizes = [size for _, n, k in shapes for size in (n * k, k)]
    pieces = jnp.split(params, np.cumsum(sizes)[:-1])
    layers: Network = {name: [] for name, _, _ in shapes}
    for (name, n, k), w, b in zip(shapes, pieces[::2], pieces[1::2], strict=True):
        layers[name].append(Layer(w.reshape(n, k), b))
    return layers


def _linear(layers: list[Layer], x: Array) -> Array:
    (layer,) = layers
    return x @ layer.w + layer.b


def _torso(layers: list[Layer], x: Array) -> Array:
    for layer in layers:
        x = jax.nn.leaky_relu(x @ layer.w + layer.b, 0.01)
    return x


def _laws(layers: list[Layer], x: Array) -> Array:
    flat = _linear(layers, x)
    return flat.reshape(*x.shape[:-1], ACTIONS, flat.shape[-1] // ACTIONS)


def dsup_eta(net: Network, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch m"]:
    """Quantiles of the policy's own return."""
    return _linear(net["eta"], _torso(net["torso_2"], obs))


def dsup_network(net: Network, obs: Float[Array, "*batch obs"]) -> DsupOutput:
    """Raw advantages and superiorities from one torso, eta from the other."""
    features = _torso(net["torso_1"], obs)
    return DsupOutput(_linear(net["q"], features), _laws(net["psi"], features), dsup_eta(net, obs))


def qrdqn_network(net: Network, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch A m"]:
    """Quantiles of each action's return."""
    return _laws(net["zeta"], _torso(net["torso_1"], obs))


def dau_value(net: Network, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch"]:
    """Mean of the policy's own return."""
    return _linear(net["v"], _torso(net["value_net"], obs))[..., 0]


def dau_advantage(net: Network, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch A"]:
    """Raw advantage rates."""
    return _linear(net["adv"], _torso(net["torso_1"], obs))


# --- Acting ---------------------------------------------------------------------------------------


def decision_laws(
    params: Params, obs: Float[Array, " obs"], agent: AgentSpec
) -> Float[Array, "A m"]:
    """The quantiles by which the agent ranks its actions in one state.

    DSUP: psi_{h;q}, centred and, for DAU+DSUP, advantage-shifted. QR-DQN: zeta. DAU: m = 1.
    """
    return _decision_laws(network(params, agent), obs, agent)


def _decision_laws(
    net: Network, obs: Float[Array, " obs"], agent: AgentSpec
) -> Float[Array, "A m"]:
    if agent.kind == "qrdqn":
        return qrdqn_network(net, obs)
    if agent.kind == "dau":
        return dau_advantage(net, obs)[:, None]
    features = _torso(net["torso_1"], obs)
    q_raw, psi_raw = _linear(net["q"], features), _laws(net["psi"], features)
    q, psi, _ = method.centre(q_raw, psi_raw, agent.h, agent.q, agent.shift, agent.risk)
    return method.decision_quantiles(q, psi, agent.h, agent.q, agent.shift)


def acting_network(params: Params, agent: AgentSpec) -> Network:
    """The layers that acting takes.

    Where only the mean counts, each law is one number: the mean of a linear layer's outputs is the
    layer with the mean weights. That saves two thirds of the work of acting.
    """
    net = network(params, agent)
    if agent.risk == Mean():
        for name in {"psi", "zeta"} & set(net):
            (layer,) = net[name]
            w = layer.w.reshape(-1, ACTIONS, agent.atoms).mean(axis=-1)
            net[name] = [Layer(w, layer.b.reshape(ACTIONS, agent.atoms).mean(axis=-1))]
    return net


def greedy_actions(
    net: Network,
    obs: Float[Array, "n obs"],
    agent: AgentSpec,
    noise: Float[Array, " A"] | None = None,
) -> Int[Array, " n"]:
    """argmax_a rho(decision law of a) of an `acting_network`, in each state.

    `noise` is added to the values before the argmax (DAU's exploration).
    """
    laws = jax.vmap(_decision_laws, (None, 0, None))(net, obs, agent)
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


def batch_loss(
    params: Params, target: TargetParams, batch: Transition, agent: AgentSpec
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean loss over a batch, and the means of its parts (`q_loss`, `quantile_loss`).

    `target` (`target_params` of an older network) gets no gradient.
    """
    net, target_net = network(params, agent), network(target, agent)
    obs, next_obs = batch.obs, batch.next_obs
    taken = (batch.action, batch.reward, batch.mask)
    h, gamma, kappa = agent.h, agent.discount, agent.kappa
    if agent.kind == "dsup":

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.dsup_loss(*args, h=h, q=agent.q, gamma=gamma, kappa=kappa,
                                    shift=agent.shift, risk=agent.risk)  # fmt: skip

        outputs = (*dsup_network(net, obs), dsup_eta(target_net, next_obs))
    elif agent.kind == "qrdqn":

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.qrdqn_loss(*args, h=h, gamma=gamma, kappa=kappa, risk=agent.risk)

        outputs = (qrdqn_network(net, obs), qrdqn_network(target_net, next_obs))
    else:

        def loss(*args: Array) -> tuple[Array, dict[str, Array]]:
            return method.dau_loss(*args, h=h, gamma=gamma)

        outputs = (dau_advantage(net, obs), dau_value(net, obs), dau_value(target_net, next_obs))
    losses, parts = jax.vmap(loss)(*outputs, *taken)
    del parts["a_star"]
    return jnp.mean(losses), {name: jnp.mean(part) for name, part in parts.items()}
