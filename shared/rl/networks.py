"""Networks of continuous-control learners: each a frozen dataclass of sizes, its parameters apart.

    net = Critic(obs=17, action=6, out=1)
    params = net.init(key)                  # a pytree of arrays
    q = net(params, obs, action)            # [members, ..., out]

All take any leading axes. A network is hashable and equal to another of the same sizes, so it can
be a static argument of a compiled function. Weights are [inputs, outputs]; an ensemble's parameters
carry its members as first axis. TD7's networks, which see embeddings, are in `encoders.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from shared.experiment.errors import BadInput

Params = Any
ACTIVATIONS = {"relu": jax.nn.relu, "elu": jax.nn.elu, "tanh": jnp.tanh}
SCHEMES = ("lecun", "orthogonal", "torch")


class Dense(NamedTuple):
    """x -> x @ w + b."""

    w: Float[Array, "*members inputs outputs"]
    b: Float[Array, "*members outputs"]


def dense(layer: Dense, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    """One affine layer."""
    return x @ layer.w + layer.b


def draw_layers(
    key: Key[Array, ""], shapes: Sequence[tuple[int, int]], scheme: str
) -> tuple[Dense, ...]:
    """Fresh layers (inputs, outputs), all from one random draw, which compiles faster than many.

    "lecun": normal truncated at two deviations, variance 1 / inputs, biases 0 (flax's default).
    "orthogonal": orthonormal rows or columns, whichever are fewer, biases 0. "torch": weights and
    biases uniform within +- 1 / sqrt(inputs) (PyTorch's default).
    """
    counts = [inputs * outputs + outputs for inputs, outputs in shapes]
    total = (sum(counts),)
    if scheme == "lecun":
        # 0.8796 is the deviation of a standard normal truncated at +-2.
        numbers = jax.random.truncated_normal(key, -2.0, 2.0, total, jnp.float32) / 0.87962566
    elif scheme == "orthogonal":
        numbers = jax.random.normal(key, total, jnp.float32)
    else:
        numbers = jax.random.uniform(key, total, jnp.float32, -1.0, 1.0)
    parts = jnp.split(numbers, np.cumsum(counts)[:-1])
    return tuple(_layer(*each, scheme) for each in zip(parts, shapes, strict=True))


def _layer(numbers: Array, shape: tuple[int, int], scheme: str) -> Dense:
    inputs, outputs = shape
    w = numbers[: inputs * outputs].reshape(shape)
    if scheme == "torch":
        return Dense(w / math.sqrt(inputs), numbers[inputs * outputs :] / math.sqrt(inputs))
    w = w / math.sqrt(inputs) if scheme == "lecun" else _orthogonal(w)
    return Dense(w, jnp.zeros(outputs, jnp.float32))


def _orthogonal(normal: Float[Array, "inputs outputs"]) -> Float[Array, "inputs outputs"]:
    tall = normal.shape[0] >= normal.shape[1]
    q, r = jnp.linalg.qr(normal if tall else normal.T)
    q = q * jnp.sign(jnp.diagonal(r))  # without it the law would not be uniform
    return q if tall else q.T


def parameter_count(net: Any) -> int:
    """How many numbers a network learns."""
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def check_net(net: Any, sizes: Sequence[str] = ("obs", "action")) -> None:
    """Refuse sizes below 1 and unknown names, each in a sentence."""
    kind = type(net).__name__
    widths = {name: getattr(net, name) for name in sizes}
    hidden = getattr(net, "hidden", ())
    for i, width in enumerate(hidden if isinstance(hidden, tuple) else (hidden,)):
        widths[f"hidden layer {i + 1}"] = width
    for name, width in widths.items():
        if width < 1:
            raise BadInput(f"{name} of a {kind} is at least 1, not {width}.")
    for name, allowed in (("activation", tuple(ACTIVATIONS)), ("scheme", SCHEMES)):
        given = getattr(net, name)
        if given not in allowed:
            raise BadInput(f"{name} {given!r} is not known; allowed are {', '.join(allowed)}.")


@dataclass(frozen=True)
class MLP:
    """Layers of these widths, inputs first and outputs last, an activation after all but the last.

    Attributes:
        sizes: at least two. activation: "relu", "elu" or "tanh". scheme: see `draw_layers`.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    scheme: str = "lecun"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise BadInput(f"sizes of an MLP are two or more widths above 0, not {self.sizes}.")
        check_net(self, ())

    def init(self, key: Key[Array, ""]) -> tuple[Dense, ...]:
        """Fresh parameters."""
        return draw_layers(key, list(zip(self.sizes, self.sizes[1:], strict=False)), self.scheme)

    def __call__(
        self, params: tuple[Dense, ...], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch outputs"]:
        """Outputs."""
        act = ACTIVATIONS[self.activation]
        for layer in params[:-1]:
            x = act(dense(layer, x))
        return dense(params[-1], x)


@dataclass(frozen=True)
class Critic:
    """An ensemble of MLPs on (observation, action), drawn independently; twins by default.

    Attributes:
        obs, action: widths of the inputs. out: width of the output: 1 for a return, d for successor
            features. members: of the ensemble.
    """

    obs: int
    action: int
    out: int = 1
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    scheme: str = "lecun"
    members: int = 2

    def __post_init__(self) -> None:
        check_net(self, ("obs", "action", "out", "members"))

    @property
    def mlp(self) -> MLP:
        """One member."""
        sizes = (self.obs + self.action, *self.hidden, self.out)
        return MLP(sizes, self.activation, self.scheme)

    def init(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters, members first."""
        return jax.vmap(self.mlp.init)(jax.random.split(key, self.members))

    def __call__(
        self, params: Params, obs: Float[Array, "*batch o"], action: Float[Array, "*batch a"]
    ) -> Float[Array, "members *batch out"]:
        """What each member predicts."""
        x = jnp.concatenate([obs, action], axis=-1)
        return jax.vmap(self.mlp, (0, None))(params, x)


@dataclass(frozen=True)
class TanhActor:
    """A deterministic policy: an MLP, then tanh, so that actions lie in [-1, 1]."""

    obs: int
    action: int
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    scheme: str = "lecun"

    def __post_init__(self) -> None:
        check_net(self)

    @property
    def mlp(self) -> MLP:
        """The network below the tanh."""
        return MLP((self.obs, *self.hidden, self.action), self.activation, self.scheme)

    def init(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters."""
        return self.mlp.init(key)

    def __call__(self, params: Params, obs: Float[Array, "*batch o"]) -> Float[Array, "*batch a"]:
        """Actions."""
        return jnp.tanh(self.mlp(params, obs))


class Gaussian(NamedTuple):
    """A diagonal normal law of pre-actions u; the action is tanh(u)."""

    mean: Float[Array, "*batch a"]
    log_std: Float[Array, "*batch a"]


@dataclass(frozen=True)
class GaussianActor:
    """A stochastic policy: a normal law whose mean and deviation depend on the state, then tanh.

    The last layer's first half is the mean, its second half the logarithm of the deviation, clipped
    to [low, high].
    """

    obs: int
    action: int
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    scheme: str = "lecun"
    low: float = field(default=-20.0, kw_only=True)
    high: float = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        check_net(self)
        if not self.low < self.high:
            raise BadInput(f"low = {self.low} of the log deviation is below high = {self.high}.")

    @property
    def mlp(self) -> MLP:
        """The network."""
        return MLP((self.obs, *self.hidden, 2 * self.action), self.activation, self.scheme)

    def init(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters."""
        return self.mlp.init(key)

    def __call__(self, params: Params, obs: Float[Array, "*batch o"]) -> Gaussian:
        """The law of pre-actions."""
        mean, log_std = jnp.split(self.mlp(params, obs), 2, axis=-1)
        return Gaussian(mean, jnp.clip(log_std, self.low, self.high))

    def sample(
        self, params: Params, obs: Float[Array, "*batch o"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "*batch a"], Float[Array, "*batch"]]:
        """An action for each observation and the logarithm of its density, differentiable."""
        law = self(params, obs)
        noise = jax.random.normal(key, law.mean.shape, jnp.float32)
        u = law.mean + jnp.exp(law.log_std) * noise
        return jnp.tanh(u), squashed_log_prob(law, u)

    def mode(self, params: Params, obs: Float[Array, "*batch o"]) -> Float[Array, "*batch a"]:
        """tanh of the mean: what the policy does without noise."""
        return jnp.tanh(self(params, obs).mean)


def squashed_log_prob(law: Gaussian, u: Float[Array, "*batch a"]) -> Float[Array, "*batch"]:
    """log density of the action tanh(u): sum_i [log N(u_i) - log(1 - tanh(u_i)^2)].

    The second term is 2 (log 2 - u - softplus(-2u)), which neither under- nor overflows.
    """
    z = (u - law.mean) * jnp.exp(-law.log_std)
    normal = -0.5 * z**2 - law.log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))
    return jnp.sum(normal - squash, axis=-1)
