"""What clusters of neurons do to the logits: contributions, ablations, substitutions.

    symbol        here
    logits        logits[a, b, c] = rest[a, b, c] + sum_j relu(pre_j(a, b)) out[j, c]
    out           [m, n]: output weights; of a transformer W_out W_U
    rest          what does not go through these neurons (output bias, residual stream): anything
                  that broadcasts to [n, n, n]
    C_k           contribution of cluster k; sum_k C_k + rest = logits
    margin        logit of a b minus the largest other logit

`pre` is a grid or additive parts, as in `preactivations`; rows a are worked off a few at a time.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from shared.experiment.errors import BadInput
from shared.groups.clusters import Clusters
from shared.groups.preactivations import Pre, blocks, select, shape_of

Array = np.ndarray
Rest = float | Real[Array, "..."]


class Score(NamedTuple):
    """How well logits answer. accuracy: share of pairs with a positive margin (a tie is wrong).

    loss: mean cross-entropy, nats. margin, least_margin: mean and minimum over the pairs.
    """

    accuracy: float
    loss: float
    margin: float
    least_margin: float


def network_logits(
    pre: Pre,
    out: Real[Array, "..."],
    rest: Rest = 0.0,
    neurons: Shaped[Array, "..."] | None = None,
) -> Float[Array, "n n n"]:
    """The logits on all pairs; with `neurons` (a mask or indices), only these stay."""
    n, m = shape_of(pre)
    _weights(out, n, m)
    if neurons is not None:
        if neurons.dtype != bool and not np.issubdtype(neurons.dtype, np.integer):
            raise BadInput(f"Neurons are given by a mask or by indices; got {neurons.dtype}.")
        pre, out = select(pre, neurons), out[neurons]
    logits = np.empty((n, n, n))
    logits[:] = _broadcast(rest, n)
    if len(out):
        weights = out.astype(float)
        for rows, block in blocks(pre):
            logits[rows] += np.maximum(block, 0.0) @ weights
    return logits


def cluster_logits(
    pre: Pre, out: Real[Array, "..."], members: Shaped[Array, "..."]
) -> Float[Array, "n n n"]:
    """C_k: what these neurons (indices or mask) alone add to the logits."""
    return network_logits(pre, out, neurons=members)


def contributions(pre: Pre, out: Real[Array, "..."], clusters: Clusters) -> Float[Array, "k n n n"]:
    """C_k of every cluster, then that of all other neurons: k + 1 in all.

    Their sum plus `rest` is the logits.
    """
    n, m = shape_of(pre)
    found = np.zeros((len(clusters) + 1, n, n, n))
    others = np.ones(m, bool)
    for k, members in enumerate(clusters.members):
        others[members] = False
        found[k] = cluster_logits(pre, out, members)
    found[-1] = cluster_logits(pre, out, others)
    return found


# Scores -------------------------------------------------------------------------------------------


def margins(logits: Real[Array, "n n c"], table: Int[Array, "n n"]) -> Float[Array, "n n"]:
    """Logit of the correct class minus the largest of the others, for every pair."""
    correct = np.take_along_axis(logits, table[..., None], 2)
    others = logits.astype(float)
    np.put_along_axis(others, table[..., None], -np.inf, 2)
    return correct[..., 0] - others.max(axis=2)


def score(
    logits: Real[Array, "n n c"],
    table: Int[Array, "n n"],
    mask: Bool[Array, "n n"] | None = None,
) -> Score:
    """Accuracy, loss and margins over all pairs, or over those in `mask`."""
    if mask is not None and not mask.any():
        raise BadInput("There is no pair to score: the mask is empty.")
    pairs = np.ones(table.shape, bool) if mask is None else mask
    gap = margins(logits, table)[pairs]
    correct = np.take_along_axis(logits, table[..., None], 2)
    relative = (logits - correct).astype(float)
    top = relative.max(axis=2)
    loss = top + np.log(np.exp(relative - top[..., None]).sum(axis=2))
    return Score(float((gap > 0).mean()), float(loss[pairs].mean()), float(gap.mean()),
                 float(gap.min()))  # fmt: skip


def class_means(values: Real[Array, "n n ..."], table: Int[Array, "n n"]) -> Float[Array, "n ..."]:
    """Mean over all pairs with product c, for every c: M(c) = mean over a b = c of values(a, b)."""
    n = len(table)
    order = np.argsort(table, axis=1)  # order[a, c] = b with a b = c
    found = np.zeros(values.shape[1:])
    for a in range(n):
        found += values[a][order[a]]
    return found / n


# Interventions ------------------------------------------------------------------------------------


class Ablations(NamedTuple):
    """Scores with and without each part; the columns are those of `Score`.

    without: all but part k. alone: `rest` and part k only. The last part is the other neurons.
    """

    full: Score
    without: Float[Array, "k 4"]
    alone: Float[Array, "k 4"]


def ablations(
    parts: Float[Array, "k n n n"], table: Int[Array, "n n"], rest: Rest = 0.0
) -> Ablations:
    """Take each contribution away, and leave each alone. `parts` are from `contributions`."""
    bare = _broadcast(rest, len(table))
    logits = parts.sum(axis=0) + bare
    without = np.array([score(logits - part, table) for part in parts])
    alone = np.array([score(bare + part, table) for part in parts])
    return Ablations(score(logits, table), without, alone)


def ablate_neurons(
    pre: Pre,
    out: Real[Array, "..."],
    table: Int[Array, "n n"],
    remove: Bool[Array, "r m"],
    rest: Rest = 0.0,
) -> Float[Array, "r 4"]:
    """Scores after each of r removals of neurons; columns as in `Score`."""
    return np.array([score(network_logits(pre, out, rest, ~gone), table) for gone in remove])


def substitute(
    pre: Pre,
    fit: Pre,
    out: Real[Array, "..."],
    table: Int[Array, "n n"],
    rest: Rest = 0.0,
    neurons: Bool[Array, " m"] | None = None,
) -> Score:
    """Score of the network whose neurons (those in the mask, default all) are replaced by `fit`."""
    if shape_of(pre) != shape_of(fit):
        raise BadInput(
            f"The fit is of {shape_of(fit)} elements and neurons, not of {shape_of(pre)}."
        )
    if neurons is None:
        return score(network_logits(fit, out, rest), table)
    replaced = network_logits(fit, out, rest, neurons)
    return score(replaced + network_logits(pre, out, neurons=~neurons), table)


def _weights(out: Array, n: int, m: int) -> None:
    if out.shape != (m, n):
        raise BadInput(
            f"Output weights of {m} neurons are [{m}, {n}]; these are {list(out.shape)}."
        )


def _broadcast(rest: Rest, n: int) -> Float[Array, "n n n"]:
    try:
        return np.broadcast_to(np.asarray(rest, float), (n, n, n))
    except ValueError:
        raise BadInput(
            f"`rest` must broadcast to [{n}, {n}, {n}]; it is {list(np.shape(rest))}."
        ) from None
