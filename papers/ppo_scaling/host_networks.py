"""Networks for environments of the host: pixels of Atari and Procgen, vectors of MuJoCo.

    nature    convolutions 32 x 8/4, 64 x 4/2, 64 x 3/1, dense 512 (Mnih et al. 2015): the paper's
    small     convolutions 16 x 8/4, 32 x 4/2, dense 256 (Mnih et al. 2013): for a CPU
    impala    three residual stages of 16, 32, 32 channels, dense 256 (Espeholt et al. 2018)

Atari's come in as blocks of 4 x 4 pixels (`atari.layout`), on which 8/4 is 2/1 and 4/2 the same.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.ppo_scaling import networks
from papers.ppo_scaling.networks import Encoder, Net, Params

NATURE = (((32, 2, 1), (64, 4, 2), (64, 3, 1)), 512)
SMALL = (((16, 2, 1), (32, 4, 2)), 256)


def pixels(
    kind: str,
    obs_shape: tuple[int, ...],
    n_actions: int,
    *,
    encoder: Literal["shared", "separate"] = "shared",
    algorithm: Literal["ppo", "pqn"] = "ppo",
    convolution: networks.Convolution = "auto",
) -> Net:
    """A network on images [height, width, channels] of uint8; IMPALA's ignores `convolution`.

    Raises:
        ValueError: no such network.
    """
    norm = algorithm == "pqn"
    if kind in ("nature", "small"):
        layers, dense = NATURE if kind == "nature" else SMALL
        body = networks.conv_encoder(obs_shape, layers, dense, 1 / 255, norm, convolution)
    elif kind == "impala":
        body = impala(obs_shape, norm)
    else:
        raise ValueError(f"network must be nature, small or impala; got {kind!r}.")
    if algorithm == "pqn":
        return networks.q_network(body, n_actions)
    heads = networks.separate if encoder == "separate" else networks.shared
    return heads(body, n_actions)


# IMPALA's residual network ------------------------------------------------------------------------


def impala(
    obs_shape: tuple[int, ...],
    layer_norm: bool = False,
    channels: tuple[int, ...] = (16, 32, 32),
    dense: int = 256,
) -> Encoder:
    """Each stage: convolution, 3 x 3 maximum with stride 2, two residual blocks; then dense.

    With `layer_norm` the dense layer is normalised.
    """
    height, width, depth = obs_shape
    widths = (depth, *channels)
    for _ in channels:
        height, width = (height + 1) // 2, (width + 1) // 2
    flat = height * width * channels[-1]

    def init(key: Key[Array, ""]) -> Params:
        *keys, last = jax.random.split(key, len(channels) + 1)
        stages = []
        for k, i, o in zip(keys, widths[:-1], widths[1:], strict=True):
            sizes = (i, o, o, o, o)
            parts = jax.random.split(k, 5)
            stages.append([_conv(p, n, o) for p, n in zip(parts, sizes, strict=True)])
        return {"stages": stages, "dense": networks._layer(last, flat, dense, layer_norm)}

    def apply(params: Params, obs: Array) -> Array:
        x = obs.astype(jnp.float32) / 255
        for first, *rest in params["stages"]:
            x = _maximum(_same(first, x))
            for one, two in (rest[:2], rest[2:]):
                x = x + _same(two, jax.nn.relu(_same(one, jax.nn.relu(x))))
        x = jax.nn.relu(x).reshape(x.shape[0], -1)
        head = params["dense"]
        return jax.nn.relu(networks._normed(head, networks._linear(head, x)))

    return Encoder(init, apply, dense)


def _conv(key: Key[Array, ""], inputs: int, outputs: int) -> Params:
    weights = jax.nn.initializers.orthogonal(math.sqrt(2))(key, (9 * inputs, outputs), jnp.float32)
    return {"w": weights, "b": jnp.zeros(outputs, jnp.float32)}


def _same(layer: Params, x: Float[Array, "B h w c"]) -> Float[Array, "B h w o"]:
    """3 x 3 with zeros around, so that the image keeps its size."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return networks.patches_product(layer, padded, 3, 1)


def _maximum(x: Float[Array, "B h w c"]) -> Float[Array, "B i j c"]:
    """3 x 3 maxima with stride 2; borders count as minus infinity."""
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")


# Gaussian policies --------------------------------------------------------------------------------


class GaussianHeads(NamedTuple):
    """What a network says of B states where actions are vectors.

    Attributes:
        mean, log_std: of the actions, independent ones; the deviation is the same in all states.
    """

    mean: Float[Array, "B d"]
    log_std: Float[Array, "B d"]
    value: Float[Array, " B"]
    features: Float[Array, "B f"]
    critic_features: Float[Array, "B f"]


def gaussian(
    inputs: int,
    action_size: int,
    *,
    hidden: tuple[int, ...] = (64, 64),
    encoder: Literal["shared", "separate"] = "separate",
) -> Net:
    """tanh layers, a linear mean (gain 0.01), and one log standard deviation for each action."""
    body = networks.mlp(inputs, hidden, "tanh")

    def init(key: Key[Array, ""]) -> Params:
        one, two, actor, critic = jax.random.split(key, 4)
        params = {
            "encoder": body.init(one),
            "actor": networks._dense(actor, body.width, action_size, 0.01),
            "critic": networks._dense(critic, body.width, 1, 1.0),
            "log_std": jnp.zeros(action_size, jnp.float32),
        }
        return params | ({"critic_encoder": body.init(two)} if encoder == "separate" else {})

    def apply(params: Params, obs: Array) -> Any:
        features = body.apply(params["encoder"], obs)
        other = params.get("critic_encoder")
        critic_features = features if other is None else body.apply(other, obs)
        mean = networks._linear(params["actor"], features)
        value = networks._linear(params["critic"], critic_features)[:, 0]
        log_std = jnp.broadcast_to(params["log_std"], mean.shape)
        return GaussianHeads(mean, log_std, value, features, critic_features)

    return Net(init, apply)
