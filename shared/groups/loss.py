"""Cross-entropy over the whole table and its gradient, block by block of rows.

The grid [n, n, m] of activations is the only thing here that is large. Rows of it (values of a) go
through forward and backward pass together, a few at a time, so that on a CPU they stay in its
cache; gradients of what the rows share are summed over the blocks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from shared.groups.networks import ModelSpec, forward_pairs, grid_rows, tables

Params = dict[str, Any]
BLOCK_FLOATS = 310_000  # activations of a block on a CPU: about the second-level cache of a core


class Terms(NamedTuple):
    """Of each pair: its loss, its margin (right logit less the largest wrong one), and the gradient
    of its loss in the logits."""

    loss: Float[Array, " pairs"]
    margin: Float[Array, " pairs"]
    gradient: Float[Array, "classes pairs"]


class Sums(NamedTuple):
    """Over the pairs: losses times train and test weights, how many are right, margins."""

    train_loss: Float[Array, ""]
    test_loss: Float[Array, ""]
    train_right: Int[Array, ""]
    test_right: Int[Array, ""]
    margin: Float[Array, ""]
    least_margin: Float[Array, ""]


def cross_entropy(logits: Float[Array, "classes pairs"], labels: Int[Array, " pairs"]) -> Terms:
    """-log softmax at the labels, accurate however small it is.

    With z the right logit, M the largest of all and s = sum of e^(logit - M) over the wrong ones,
    the loss is (M - z) + log(e^(z - M) + s). In float32, 1 + s rounds to 1 for s < 6e-8 and the
    loss of a well-learned pair to 0, its gradient 1 - p likewise, which lets Adam's steps blow up.
    Here 1 is never added: log1p(expm1(z - M) + s), and p - 1 is -s over the sum.
    """
    classes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0)
    is_right = classes == labels
    right = jnp.sum(jnp.where(is_right, logits, 0), axis=0)
    wrong = jnp.max(jnp.where(is_right, -jnp.inf, logits), axis=0)
    largest = jnp.maximum(right, wrong)
    below = right - largest
    exps = jnp.where(is_right, 0, jnp.exp(logits - largest))
    s = jnp.sum(exps, axis=0)
    inverse = 1 / (jnp.exp(below) + s)
    gradient = jnp.where(is_right, -s, exps) * inverse
    return Terms(jnp.log1p(jnp.expm1(below) + s) - below, right - wrong, gradient)


def test_mask(mask: Bool[Array, "n n"]) -> Bool[Array, "n n"]:
    """Pairs that are not trained on; all, where none is kept back."""
    return ~mask | jnp.all(mask)


test_mask.__test__ = False  # not a test for pytest


def grid_loss(
    params: Params,
    spec: ModelSpec,
    labels: Int[Array, "n n"],
    mask: Bool[Array, "n n"],
    alpha: Float[Array, ""] | None = None,
    rows_per_block: int | None = None,
) -> tuple[Params, Sums]:
    """The gradient of the mean cross-entropy over the pairs in `mask`, and sums over all pairs.

    Args:
        rows_per_block: values of a at once; None for what suits the device.
    """
    (rows, shared), pull = jax.vjp(lambda p: tables(p, spec, alpha), params)
    blocks = _Blocks(rows, labels, mask, spec, rows_per_block)

    def block(total: tuple[Any, Sums], part: Any) -> tuple[tuple[Any, Sums], Any]:
        gradient, sums = total
        some, labels, weights = part
        logits, pull_block = jax.vjp(lambda r, s: grid_rows(r, s, spec)[2], some, shared)
        terms = cross_entropy(_flat(logits), labels)
        of_rows, of_shared = pull_block((terms.gradient * weights[0]).reshape(logits.shape))
        gradient = jax.tree.map(jnp.add, gradient, of_shared)
        return (gradient, _add(sums, _sums(terms, weights))), of_rows

    start = (jax.tree.map(jnp.zeros_like, shared), _no_sums())
    (of_shared, sums), of_rows = blocks.scan(block, start)
    (gradient,) = pull((blocks.joined(of_rows), of_shared))
    return gradient, sums


def grid_sums(
    params: Params,
    spec: ModelSpec,
    labels: Int[Array, "n n"],
    mask: Bool[Array, "n n"],
    alpha: Float[Array, ""] | None = None,
    rows_per_block: int | None = None,
) -> Sums:
    """The sums of `grid_loss` without its gradient."""
    rows, shared = tables(params, spec, alpha)
    blocks = _Blocks(rows, labels, mask, spec, rows_per_block)

    def block(sums: Sums, part: Any) -> tuple[Sums, None]:
        some, labels, weights = part
        terms = cross_entropy(_flat(grid_rows(some, shared, spec)[2]), labels)
        return _add(sums, _sums(terms, weights)), None

    return blocks.scan(block, _no_sums())[0]


def pairs_gradient(
    params: Params,
    spec: ModelSpec,
    ab: Int[Array, "pairs 2"],
    labels: Int[Array, " pairs"],
    alpha: Float[Array, ""] | None = None,
) -> Params:
    """The gradient of the mean cross-entropy over the pairs `ab`, computed pair by pair."""
    logits, pull = jax.vjp(lambda p: forward_pairs(p, spec, ab, alpha).T, params)
    (gradient,) = pull(cross_entropy(logits, labels).gradient / jnp.float32(len(ab)))
    return gradient


# Blocks of rows -----------------------------------------------------------------------------------


class _Blocks:
    """The rows of the grid in equal blocks; the last is filled up with rows of weight 0."""

    def __init__(
        self,
        rows: Any,
        labels: Array,
        mask: Array,
        spec: ModelSpec,
        rows_per_block: int | None,
    ) -> None:
        self.order = n = spec.order
        wanted = rows_per_block or _suitable_rows(spec)
        self.count = -(-n // wanted)
        self.rows = -(-n // self.count)
        test = test_mask(mask)
        weights = jnp.stack([_weights(mask), _weights(test)], axis=1)
        some = jax.tree.map(self._split, rows)
        weights = self._split(weights).swapaxes(1, 2).reshape(self.count, 2, -1)
        self.parts = (some, self._split(labels).reshape(self.count, -1), weights)

    def _split(self, leaf: Array) -> Array:
        spare = self.count * self.rows - self.order
        padded = jnp.pad(leaf, ((0, spare), *((0, 0) for _ in leaf.shape[1:])))
        return padded.reshape(self.count, self.rows, *leaf.shape[1:])

    def scan(self, block: Any, start: Any) -> tuple[Any, Any]:
        if self.count == 1:  # no loop, where all go at once
            total, out = block(start, jax.tree.map(lambda leaf: leaf[0], self.parts))
            return total, jax.tree.map(lambda leaf: leaf[None], out)
        return jax.lax.scan(block, start, self.parts)

    def joined(self, of_rows: Any) -> Any:
        """What blocks returned for their rows, in one piece."""
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: self.order], of_rows)


def _suitable_rows(spec: ModelSpec) -> int:
    """All rows on an accelerator; on a CPU what its cache holds."""
    if jax.default_backend() != "cpu":
        return spec.order
    return max(1, min(spec.order, round(BLOCK_FLOATS / (spec.order * spec.width))))


def _weights(mask: Bool[Array, "n n"]) -> Float[Array, "n n"]:
    chosen = mask.astype(jnp.float32)
    return chosen / jnp.sum(chosen)


def _flat(logits: Float[Array, "n q n"]) -> Float[Array, "n pairs"]:
    return logits.reshape(logits.shape[0], -1)


def _no_sums() -> Sums:
    zero, none = jnp.float32(0), jnp.int32(0)
    return Sums(zero, zero, none, none, zero, jnp.float32(jnp.inf))


def _sums(terms: Terms, weights: Float[Array, "2 pairs"]) -> Sums:
    train, test = weights > 0
    right = terms.margin > 0
    counted = train | test  # rows that only fill up are not
    return Sums(
        jnp.sum(terms.loss * weights[0]),
        jnp.sum(terms.loss * weights[1]),
        _count(right & train),
        _count(right & test),
        jnp.sum(jnp.where(counted, terms.margin, 0)),
        jnp.min(jnp.where(counted, terms.margin, jnp.inf)),
    )


def _count(events: Bool[Array, " pairs"]) -> Int[Array, ""]:
    return jnp.sum(events.astype(jnp.int32))


def _add(x: Sums, y: Sums) -> Sums:
    total = jax.tree.map(jnp.add, x, y)
    return total._replace(least_margin=jnp.minimum(x.least_margin, y.least_margin))
