"""TD7's networks: an encoder of states and actions, and actor and critics that see its embeddings.

    zs(s) = AvgL1Norm(MLP(s)),   zsa(s, a) = MLP([zs, a])          Fujimoto et al. 2023, section 4.1
    actor    tanh MLP([AvgL1Norm(W s), zs])
    critic   MLP([AvgL1Norm(W [s, a]), zsa, zs])

The encoder is trained to predict the next state's embedding, zsa(s, a) ~ zs(s'), by nothing else.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from shared.rl.networks import ACTIVATIONS, MLP, Dense, Params, check_net, dense, draw_layers


def avg_l1_norm(x: Float[Array, "*batch n"], eps: float = 1e-6) -> Float[Array, "*batch n"]:
    """x / mean |x|, and 0 for 0."""
    return x / jnp.maximum(jnp.mean(jnp.abs(x), axis=-1, keepdims=True), eps)


class EncoderParams(NamedTuple):
    """Those of zs and those of zsa."""

    state: tuple[Dense, ...]
    pair: tuple[Dense, ...]


@dataclass(frozen=True)
class Encoder:
    """zs and zsa, each with two hidden layers."""

    obs: int
    action: int
    embedding: int = 256
    hidden: int = 256
    activation: str = "elu"
    scheme: str = "lecun"

    def __post_init__(self) -> None:
        check_net(self, ("obs", "action", "embedding"))

    def _mlp(self, inputs: int) -> MLP:
        sizes = (inputs, self.hidden, self.hidden, self.embedding)
        return MLP(sizes, self.activation, self.scheme)

    def init(self, key: Key[Array, ""]) -> EncoderParams:
        """Fresh parameters."""
        k_state, k_pair = jax.random.split(key)
        pair = self._mlp(self.embedding + self.action).init(k_pair)
        return EncoderParams(self._mlp(self.obs).init(k_state), pair)

    def state(
        self, params: EncoderParams, obs: Float[Array, "*batch o"]
    ) -> Float[Array, "*batch z"]:
        """zs(s)."""
        return avg_l1_norm(self._mlp(self.obs)(params.state, obs))

    def pair(
        self, params: EncoderParams, zs: Float[Array, "*batch z"], action: Float[Array, "*batch a"]
    ) -> Float[Array, "*batch z"]:
        """zsa(s, a), given zs(s)."""
        x = jnp.concatenate([zs, action], axis=-1)
        return self._mlp(self.embedding + self.action)(params.pair, x)


class EncodedParams(NamedTuple):
    """A first layer, normalised by AvgL1Norm, and the MLP that follows."""

    first: Dense
    rest: tuple[Dense, ...]


def _encoded_init(key: Array, shapes: list[tuple[int, int]], scheme: str) -> EncodedParams:
    first, *rest = draw_layers(key, shapes, scheme)
    return EncodedParams(first, tuple(rest))


def _encoded(params: EncodedParams, x: Array, embeddings: list[Array], activation: str) -> Array:
    act = ACTIVATIONS[activation]
    x = jnp.concatenate([avg_l1_norm(dense(params.first, x)), *embeddings], axis=-1)
    for layer in params.rest[:-1]:
        x = act(dense(layer, x))
    return dense(params.rest[-1], x)


@dataclass(frozen=True)
class EncodedActor:
    """TD7's deterministic policy. (Its authors' code has relu here and elu in the critic.)"""

    obs: int
    action: int
    embedding: int = 256
    hidden: int = 256
    activation: str = "relu"
    scheme: str = "lecun"

    def __post_init__(self) -> None:
        check_net(self, ("obs", "action", "embedding"))

    def init(self, key: Key[Array, ""]) -> EncodedParams:
        """Fresh parameters."""
        h, wide = self.hidden, self.hidden + self.embedding
        shapes = [(self.obs, h), (wide, h), (h, h), (h, self.action)]
        return _encoded_init(key, shapes, self.scheme)

    def __call__(
        self, params: EncodedParams, obs: Float[Array, "*batch o"], zs: Float[Array, "*batch z"]
    ) -> Float[Array, "*batch a"]:
        """Actions in [-1, 1]."""
        return jnp.tanh(_encoded(params, obs, [zs], self.activation))


@dataclass(frozen=True)
class EncodedCritic:
    """TD7's critics, an ensemble; `out` as in `networks.Critic`."""

    obs: int
    action: int
    out: int = 1
    embedding: int = 256
    hidden: int = 256
    activation: str = "elu"
    scheme: str = "lecun"
    members: int = 2

    def __post_init__(self) -> None:
        check_net(self, ("obs", "action", "out", "embedding", "members"))

    def init(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters, members first."""
        h, wide = self.hidden, self.hidden + 2 * self.embedding
        shapes = [(self.obs + self.action, h), (wide, h), (h, h), (h, self.out)]
        keys = jax.random.split(key, self.members)
        return jax.vmap(lambda k: _encoded_init(k, shapes, self.scheme))(keys)

    def __call__(
        self,
        params: Params,
        obs: Float[Array, "*batch o"],
        action: Float[Array, "*batch a"],
        zsa: Float[Array, "*batch z"],
        zs: Float[Array, "*batch z"],
    ) -> Float[Array, "members *batch out"]:
        """What each member predicts."""
        x = jnp.concatenate([obs, action], axis=-1)
        return jax.vmap(lambda p: _encoded(p, x, [zsa, zs], self.activation))(params)
