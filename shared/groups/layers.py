"""Small parts that all networks on group tables share.

Products are written so that XLA's matrix product on a CPU runs at its best: logits come class by
class, [classes, pairs], and the readout is held as [classes, width].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

ACTIVATIONS = ("relu", "quadratic")
Edit = Callable[[int, Array], Array]
"""(layer, pre-activations) -> the pre-activations to use in their place."""


def activate(pre: Array, act: str) -> Array:
    """ReLU, whose slope at 0 is 0, or the square."""
    return pre * pre if act == "quadratic" else _relu(pre)


@jax.custom_vjp
def _relu(pre: Array) -> Array:
    return jnp.where(pre > 0, pre, jnp.zeros_like(pre))


def _relu_forward(pre: Array) -> tuple[Array, Array]:
    post = _relu(pre)
    return post, post


def _relu_backward(post: Array, g: Array) -> tuple[Array]:
    # Asked of `post`, which is in memory; XLA would compute `pre` a second time to ask it.
    return (jnp.where(post > 0, g, jnp.zeros_like(g)),)


_relu.defvjp(_relu_forward, _relu_backward)


@dataclass(frozen=True)
class Normal:
    """An array to be drawn: independent N(0, variance); zeros where the variance is 0."""

    shape: tuple[int, ...]
    variance: float = 0.0


def draw(key: Key[Array, ""], layout: Any) -> Any:
    """The layout with its `Normal` leaves drawn in one go: many draws compile for seconds."""
    leaves, structure = jax.tree.flatten(layout)
    sizes = [math.prod(leaf.shape) if leaf.variance else 0 for leaf in leaves]
    numbers = jax.random.normal(key, (sum(sizes),), jnp.float32)
    ends = np.cumsum(sizes)
    drawn = [
        numbers[end - size : end].reshape(leaf.shape) * jnp.float32(math.sqrt(leaf.variance))
        if size
        else jnp.zeros(leaf.shape, jnp.float32)
        for leaf, size, end in zip(leaves, sizes, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def hidden_layout(width: int, depth: int, variance: float) -> tuple[Any, ...]:
    """Hidden layers 2 .. depth: {W [m, m], b [m]} each."""
    layer = {"W": Normal((width, width), variance), "b": Normal((width,))}
    return (layer,) * (depth - 1)


def hidden_layers(
    pre: Float[Array, "*batch m"],
    hidden: tuple[Any, ...],
    act: str,
    edit: Edit | None = None,
    first: int = 0,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """From the pre-activations of the first hidden layer to pre- and post-activations of all.

    Layers are numbered from `first`; `edit` may replace each layer's pre-activations.
    """
    pres, posts = [], []
    for layer in range(len(hidden) + 1):
        if layer > 0:
            pre = posts[-1] @ hidden[layer - 1]["W"] + hidden[layer - 1]["b"]
        if edit is not None:
            pre = edit(first + layer, pre)
        pres.append(pre)
        posts.append(activate(pre, act))
    return tuple(pres), tuple(posts)


@jax.custom_vjp
def class_major(
    readout: Float[Array, "classes m"], post: Float[Array, "pairs m"]
) -> Float[Array, "classes pairs"]:
    """readout post^T."""
    return _contract(readout, post, 1, 1)


def _class_major_forward(readout: Array, post: Array) -> tuple[Array, tuple[Array, Array]]:
    return class_major(readout, post), (readout, post)


def _class_major_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    # Written out, because the products that JAX derives have layouts that take twice as long.
    readout, post = saved
    return _contract(g, post, 1, 0), _contract(g, readout, 0, 0)


class_major.defvjp(_class_major_forward, _class_major_backward)


@jax.custom_vjp
def mix(
    w_0: Float[Array, "q n heads"],
    w_1: Float[Array, "q n heads"],
    of_a: Float[Array, "q heads m"],
    of_b: Float[Array, "n heads m"],
) -> Float[Array, "q n m"]:
    """sum_h w_0[a, b, h] of_a[a, h] + w_1[a, b, h] of_b[b, h].

    As products, a batch over a and a batch over b: a fused sum would be computed anew wherever it
    is used, and its gradients would be reductions along m, which XLA does number by number.
    """
    from_b = _batched(jnp.swapaxes(w_1, 0, 1), of_b, 2, 1)
    return _batched(w_0, of_a, 2, 1) + jnp.swapaxes(from_b, 0, 1)


def _mix_forward(*parts: Array) -> tuple[Array, tuple[Array, ...]]:
    return mix(*parts), parts


def _mix_backward(parts: tuple[Array, ...], g: Array) -> tuple[Array, ...]:
    w_0, w_1, of_a, of_b = parts
    g_b = jnp.swapaxes(g, 0, 1)
    d_w_1 = jnp.swapaxes(_batched(g_b, of_b, 2, 2), 0, 1)
    d_of_b = _batched(jnp.swapaxes(w_1, 0, 1), g_b, 1, 1)
    return _batched(g, of_a, 2, 2), d_w_1, _batched(w_0, g, 1, 1), d_of_b


mix.defvjp(_mix_forward, _mix_backward)


def _batched(x: Array, y: Array, i: int, j: int) -> Array:
    return jax.lax.dot_general(x, y, (((i,), (j,)), ((0,), (0,))))


def _contract(x: Array, y: Array, i: int, j: int) -> Array:
    return jax.lax.dot_general(x, y, (((i,), (j,)), ((), ())))
