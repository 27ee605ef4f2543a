"""The networks of the two policy optimisers, TD3 and TD7, with critics of d outputs.

Both have the same face: an actor, twin critics whose parameters are stacked, and an encoder, which
is empty for TD3. Successor features need d outputs, a scalar value one.

    TD3   actor   s -> 256 -> 256 -> tanh A          critic  [s, a] -> 256 -> 256 -> d      relu
          all kernels orthogonal

    TD7   encoder zs(s):       s -> 256 -> 256 -> 256, AvgL1Norm                           elu
                  zsa(zs, a):  [zs, a] -> 256 -> 256 -> 256                                elu
          actor   [AvgL1Norm(dense s), zs] -> 256 -> 256 -> tanh A                         elu
          critic  [AvgL1Norm(dense [s, a]), zs, zsa] -> 256 -> 256 -> d                    elu
          all kernels LeCun normal

TD7's encoder learns on its own to predict the next state's embedding (Fujimoto et al., 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.sfm.method import Params, avg_l1_norm, mlp, mlp_init


class Nets(NamedTuple):
    """Parameters of an actor, of stacked twin critics and of an encoder ({} for TD3)."""

    actor: Params
    critic: Params
    encoder: Params


@runtime_checkable
class Networks(Protocol):
    """What a learner needs of an optimiser's networks."""

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Nets: ...
    def act(self, actor: Params, encoder: Params, s: Float[Array, "*B s"]) -> Array: ...
    def evaluate(
        self, critic: Params, encoder: Params, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]: ...


@dataclass(frozen=True)
class TD3Networks:
    """Plain networks. out: d, numbers that a critic returns. hidden: width (paper: 256)."""

    out: int
    hidden: int = 256

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Nets:
        """Fresh parameters; biases are zero."""
        k_actor, k_critic = jax.random.split(key)
        inner = (self.hidden, self.hidden)
        sizes = (obs_dim + act_dim, *inner, self.out)
        critic = jax.vmap(lambda k: mlp_init(k, sizes))(jax.random.split(k_critic))
        return Nets(mlp_init(k_actor, (obs_dim, *inner, act_dim)), critic, {})

    def act(self, actor: Params, encoder: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
        """The policy's action, in [-1, 1]."""
        return jnp.tanh(mlp(actor, s))

    def evaluate(
        self, critic: Params, encoder: Params, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]:
        """Both critics at (s, a)."""
        inputs = jnp.concatenate([s, a], axis=-1)
        return jax.vmap(lambda layers: mlp(layers, inputs))(critic)


@dataclass(frozen=True)
class TD7Networks:
    """Networks over learned embeddings of states and actions. out, hidden: as in `TD3Networks`."""

    out: int
    hidden: int = 256

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Nets:
        """Fresh parameters; biases are zero."""
        k_actor, k_critic, k_zs, k_zsa = jax.random.split(key, 4)
        h = self.hidden

        def head(key: Key[Array, ""], inputs: int, embedded: int, outputs: int) -> Params:
            k_first, k_rest = jax.random.split(key)
            first = mlp_init(k_first, (inputs, h), "lecun")
            return {
                "first": first,
                "rest": mlp_init(k_rest, (h + embedded, h, h, outputs), "lecun"),
            }

        def critic(key: Key[Array, ""]) -> Params:
            return head(key, obs_dim + act_dim, 2 * h, self.out)

        encoder = {
            "zs": mlp_init(k_zs, (obs_dim, h, h, h), "lecun"),
            "zsa": mlp_init(k_zsa, (h + act_dim, h, h, h), "lecun"),
        }
        twins = jax.vmap(critic)(jax.random.split(k_critic))
        return Nets(head(k_actor, obs_dim, h, act_dim), twins, encoder)

    def embed(self, encoder: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B h"]:
        """zs(s)."""
        return avg_l1_norm(mlp(encoder["zs"], s, jax.nn.elu))

    def predict(
        self, encoder: Params, zs: Float[Array, "*B h"], a: Float[Array, "*B a"]
    ) -> Float[Array, "*B h"]:
        """zsa, which is trained to be the next state's zs."""
        return mlp(encoder["zsa"], jnp.concatenate([zs, a], axis=-1), jax.nn.elu)

    def act(self, actor: Params, encoder: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
        """The policy's action, in [-1, 1]."""
        zs = self.embed(encoder, s)
        inputs = jnp.concatenate([avg_l1_norm(mlp(actor["first"], s)), zs], axis=-1)
        return jnp.tanh(mlp(actor["rest"], inputs, jax.nn.elu))

    def evaluate(
        self, critic: Params, encoder: Params, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]:
        """Both critics at (s, a)."""
        zs = self.embed(encoder, s)
        embedded = jnp.concatenate([zs, self.predict(encoder, zs, a)], axis=-1)
        both = jnp.concatenate([s, a], axis=-1)

        def one(params: Params) -> Array:
            inputs = jnp.concatenate([avg_l1_norm(mlp(params["first"], both)), embedded], axis=-1)
            return mlp(params["rest"], inputs, jax.nn.elu)

        return jax.vmap(one)(critic)

    def encoder_loss(
        self,
        encoder: Params,
        s: Float[Array, "B s"],
        a: Float[Array, "B a"],
        s_next: Float[Array, "B s"],
    ) -> Float[Array, ""]:
        """Mean squared error of zsa(zs(s), a) against zs(s'), the latter constant."""
        following = jax.lax.stop_gradient(self.embed(encoder, s_next))
        return jnp.mean((self.predict(encoder, self.embed(encoder, s), a) - following) ** 2)


def parameter_count(params: Params) -> int:
    """How many numbers a pytree of parameters holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
