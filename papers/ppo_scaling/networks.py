"""Networks of actors and critics: plain pytrees of weights, and one function that applies them.

    mlp        dense layers on flat observations (CartPole; MinAtar where a CPU must be quick)
    minatar    3x3 convolution to 16 channels, then dense 128 (MinAtar)
    nature     the Nature DQN's three convolutions, then dense 512 (Atari)

Each as `shared` (one encoder, two linear heads) or `separate` (two whole encoders), with ReLU or,
for CartPole, tanh; PQN's networks normalise every layer (LayerNorm) and have one head, whose
outputs are Q(s, .). Weights are orthogonal: gain sqrt 2 in hidden layers, 0.01 for the policy, 1
for values (CleanRL). Networks take a batch, because matrix products should.

A convolution is computed as such ("conv"), or as one matrix product of its patches ("im2col"):
the same numbers, but XLA's convolutions are an order of magnitude slower on CPUs. "auto" takes
"im2col" there and "conv" elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Params = Any
Convolution = Literal["auto", "conv", "im2col"]


class Heads(NamedTuple):
    """What a network says of B states.

    Attributes:
        logits: of the policy; Q(s, .) with PQN. value: the critic's; max Q with PQN.
        features: the actor's (PQN: the only) penultimate layer after its activation.
        critic_features: the critic's, the same array where the encoder is shared.
    """

    logits: Float[Array, "B A"]
    value: Float[Array, " B"]
    features: Float[Array, "B d"]
    critic_features: Float[Array, "B d"]


class Net(NamedTuple):
    """init(key) -> params; apply(params, obs [B, ...]) -> Heads."""

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Array], Heads]


class Encoder(NamedTuple):
    """init(key) -> params; apply(params, obs [B, ...]) -> features [B, d]; d."""

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Array], Array]
    width: int


def make(
    kind: Literal["mlp", "minatar", "nature"],
    obs_shape: Sequence[int],
    n_actions: int,
    *,
    encoder: Literal["shared", "separate"] = "shared",
    algorithm: Literal["ppo", "pqn"] = "ppo",
    hidden: Sequence[int] = (64, 64),
    activation: Literal["relu", "tanh"] = "relu",
    convolution: Convolution = "auto",
) -> Net:
    """The network of an algorithm on observations of this shape; `hidden` is for "mlp" alone."""
    norm = algorithm == "pqn"
    if kind == "mlp":
        body = mlp(math.prod(obs_shape), hidden, activation, norm)
    elif kind == "minatar":
        body = conv_encoder(obs_shape, ((16, 3, 1),), 128, 1.0, norm, convolution)
    elif kind == "nature":
        layers = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
        body = conv_encoder(obs_shape, layers, 512, 1 / 255, norm, convolution)
    else:
        raise ValueError(f"network must be mlp, minatar or nature; got {kind!r}.")
    if algorithm == "pqn":
        return q_network(body, n_actions)
    return (separate if encoder == "separate" else shared)(body, n_actions)


# Heads --------------------------------------------------------------------------------------------


def shared(body: Encoder, n_actions: int) -> Net:
    """One encoder, a linear head for the policy and one for the value."""

    def init(key: Key[Array, ""]) -> Params:
        encoder, actor, critic = jax.random.split(key, 3)
        return {
            "encoder": body.init(encoder),
            "actor": _dense(actor, body.width, n_actions, 0.01),
            "critic": _dense(critic, body.width, 1, 1.0),
        }

    def apply(params: Params, obs: Array) -> Heads:
        features = body.apply(params["encoder"], obs)
        value = _linear(params["critic"], features)[:, 0]
        return Heads(_linear(params["actor"], features), value, features, features)

    return Net(init, apply)


def separate(body: Encoder, n_actions: int) -> Net:
    """Two complete networks, one for the actor and one for the critic."""

    def init(key: Key[Array, ""]) -> Params:
        encoder, actor, critic, second = jax.random.split(key, 4)
        return {
            "encoder": body.init(encoder),
            "critic_encoder": body.init(second),
            "actor": _dense(actor, body.width, n_actions, 0.01),
            "critic": _dense(critic, body.width, 1, 1.0),
        }

    def apply(params: Params, obs: Array) -> Heads:
        features = body.apply(params["encoder"], obs)
        critic_features = body.apply(params["critic_encoder"], obs)
        value = _linear(params["critic"], critic_features)[:, 0]
        return Heads(_linear(params["actor"], features), value, features, critic_features)

    return Net(init, apply)


def q_network(body: Encoder, n_actions: int) -> Net:
    """One head with Q(s, .); its maximum stands as the value."""

    def init(key: Key[Array, ""]) -> Params:
        encoder, head = jax.random.split(key)
        return {"encoder": body.init(encoder), "q": _dense(head, body.width, n_actions, 1.0)}

    def apply(params: Params, obs: Array) -> Heads:
        features = body.apply(params["encoder"], obs)
        q = _linear(params["q"], features)
        return Heads(q, q.max(axis=1), features, features)

    return Net(init, apply)


# Encoders -----------------------------------------------------------------------------------------


def mlp(
    inputs: int, hidden: Sequence[int], activation: str = "relu", layer_norm: bool = False
) -> Encoder:
    """Dense layers on the flattened observation."""
    act = jnp.tanh if activation == "tanh" else jax.nn.relu
    widths = (inputs, *hidden)

    def init(key: Key[Array, ""]) -> Params:
        keys = jax.random.split(key, len(hidden))
        pairs = zip(keys, widths[:-1], widths[1:], strict=True)
        return [_layer(k, i, o, layer_norm) for k, i, o in pairs]

    def apply(params: Params, obs: Array) -> Array:
        x = obs.reshape(obs.shape[0], -1).astype(jnp.float32)
        for layer in params:
            x = act(_normed(layer, _linear(layer, x)))
        return x

    return Encoder(init, apply, widths[-1])


def conv_encoder(
    obs_shape: Sequence[int],
    layers: Sequence[tuple[int, int, int]],
    dense: int,
    scale: float = 1.0,
    layer_norm: bool = False,
    convolution: Convolution = "auto",
) -> Encoder:
    """Convolutions (channels, kernel, stride) without padding, then a dense layer; ReLU each.

    `obs_shape` is (height, width, channels); observations are multiplied by `scale`.
    """
    height, width, channels = obs_shape
    sizes = []
    for out, kernel, stride in layers:
        sizes.append((kernel * kernel * channels, out))
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        channels = out
    flat = height * width * channels

    def init(key: Key[Array, ""]) -> Params:
        *keys, last = jax.random.split(key, len(layers) + 1)
        convs = [_layer(k, i, o, layer_norm) for k, (i, o) in zip(keys, sizes, strict=True)]
        return {"conv": convs, "dense": _layer(last, flat, dense, layer_norm)}

    def apply(params: Params, obs: Array) -> Array:
        convolve = patches_product if _as_product(convolution) else convolution_of_xla
        x = obs.astype(jnp.float32) * scale
        for layer, (_, kernel, stride) in zip(params["conv"], layers, strict=True):
            x = jax.nn.relu(_normed(layer, convolve(layer, x, kernel, stride)))
        x = x.reshape(x.shape[0], -1)
        return jax.nn.relu(_normed(params["dense"], _linear(params["dense"], x)))

    return Encoder(init, apply, dense)


def _as_product(convolution: Convolution) -> bool:
    cpu = jax.default_backend() == "cpu"
    return convolution == "im2col" or (convolution == "auto" and cpu)


def patches_product(
    layer: Params, x: Float[Array, "B h w c"], kernel: int, stride: int
) -> Float[Array, "B i j o"]:
    """A convolution as a matrix product: every patch a row, every output channel a column."""
    height = (x.shape[1] - kernel) // stride + 1
    width = (x.shape[2] - kernel) // stride + 1
    slices = [
        x[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
        for i in range(kernel)
        for j in range(kernel)
    ]
    patches = jnp.concatenate(slices, axis=-1)
    rows = _linear(layer, patches.reshape(-1, patches.shape[-1]))
    return rows.reshape(x.shape[0], height, width, -1)


def convolution_of_xla(
    layer: Params, x: Float[Array, "B h w c"], kernel: int, stride: int
) -> Float[Array, "B i j o"]:
    """The same by XLA's convolution."""
    weights = layer["w"].reshape(kernel, kernel, x.shape[-1], -1)
    out = jax.lax.conv_general_dilated(
        x, weights, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out + layer["b"]


# Layers -------------------------------------------------------------------------------------------


def _dense(key: Key[Array, ""], inputs: int, outputs: int, gain: float) -> Params:
    weights = jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs), jnp.float32)
    return {"w": weights, "b": jnp.zeros(outputs, jnp.float32)}


def _layer(key: Key[Array, ""], inputs: int, outputs: int, layer_norm: bool) -> Params:
    layer = _dense(key, inputs, outputs, math.sqrt(2))
    if layer_norm:
        ones, zeros = jnp.ones(outputs, jnp.float32), jnp.zeros(outputs, jnp.float32)
        layer = {**layer, "scale": ones, "shift": zeros}
    return layer


def _linear(layer: Params, x: Array) -> Array:
    return x @ layer["w"] + layer["b"]


def _normed(layer: Params, x: Array) -> Array:
    """LayerNorm over the last axis, where the layer has one."""
    if "scale" not in layer:
        return x
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["scale"] + layer["shift"]
