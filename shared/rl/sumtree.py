"""Drawing indices in proportion to weights that keep changing, among millions, inside one program.

A tree of sums with B = 128 children a node: leaves are the weights, each level above holds the sums
of B neighbours. A draw walks down, choosing at every node a child in proportion to its sum with a
fresh uniform number (one number for the whole way would be too coarse in float32); a change walks
up, summing afresh the nodes above it, so that nothing drifts. Both cost B numbers per level, and a
million weights are three levels.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

BRANCH = 128
Tree = tuple[Float[Array, " _"], ...]  # leaves first; every length a multiple of BRANCH


def level_sizes(capacity: int) -> list[int]:
    """Lengths of the levels of a tree with so many leaves, the leaves' first."""
    sizes = [math.ceil(capacity / BRANCH) * BRANCH]
    while sizes[-1] > BRANCH:
        sizes.append(math.ceil(sizes[-1] // BRANCH / BRANCH) * BRANCH)
    return sizes


def make_tree(capacity: int) -> Tree:
    """All weights 0."""
    return tuple(jnp.zeros(size, jnp.float32) for size in level_sizes(capacity))


def set_weights(tree: Tree, index: Int[Array, " n"], weight: Float[Array, " n"]) -> Tree:
    """New weights, at least 0, at these leaves. An index that appears twice gets the larger one."""
    level = tree[0].at[index].set(0).at[index].max(weight)
    levels = [level]
    for above in tree[1:]:
        index = index // BRANCH
        sums = jnp.sum(level.reshape(-1, BRANCH)[index], axis=1)
        level = above.at[index].set(sums)
        levels.append(level)
    return tuple(levels)


def total(tree: Tree) -> Float[Array, ""]:
    """The sum of all weights."""
    return jnp.sum(tree[-1])


def draw_indices(tree: Tree, key: Key[Array, ""], n: int) -> Int[Array, " n"]:
    """`n` leaves with replacement, in proportion to their weights, of which one is above 0."""
    uniforms = jax.random.uniform(key, (len(tree), n), jnp.float32)
    node = jnp.zeros(n, jnp.int32)
    for level, u in zip(reversed(tree), uniforms, strict=True):
        weights = level.reshape(-1, BRANCH)[node]
        sums = jnp.cumsum(weights, axis=1)
        # The first child whose running sum exceeds the draw: never one of weight 0.
        child = jnp.sum((sums <= u[:, None] * sums[:, -1:]).astype(jnp.int32), axis=1)
        # u * sum may round up to the sum itself; then the last child above 0.
        last = BRANCH - 1 - jnp.argmax((weights > 0)[:, ::-1], axis=1).astype(jnp.int32)
        node = node * BRANCH + jnp.minimum(child, last)
    return node
