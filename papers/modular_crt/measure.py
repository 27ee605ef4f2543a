"""What a trained network has learned: every number of the paper that belongs to a single network.

Layer 1 of a transformer is that of its last token, from which it reads its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from papers.modular_crt import method
from papers.modular_crt.studies import Network
from papers.modular_crt.trial_names import R2_FILTERS, SHARE_FILTERS, SHIFTS
from shared.groups.circuits import cluster_logits, network_logits
from shared.groups.clusters import Clusters, count_table, find_clusters
from shared.groups.networks import ModelSpec, additive_parts, forward_grid, readout
from shared.groups.neurons import Neurons, cyclic_neurons, half_integer_fit

Array = np.ndarray
Pre = Any  # [n, n, m], or the pair (left, right) of [n, m] where it is a sum
Order = Literal[0, 1, 2]

NOISE_DRAWS = 3
HALF_GAIN = 0.1  # by how much a half-integer frequency must beat the best integer one


def first_layer(params: Any, spec: ModelSpec, alpha: float) -> Pre:
    """First-layer pre-activations on all pairs, as two parts where they are a sum."""
    if spec.additive:
        left, right, bias = (np.asarray(x, np.float64) for x in _parts(params, spec))
        return left + bias, right
    return np.asarray(_forward(params, spec, jnp.float32(alpha)).pre[0], np.float64)


_parts = jax.jit(additive_parts, static_argnums=1)
_forward = jax.jit(forward_grid, static_argnums=1)


def watch(params: Any, spec: ModelSpec, alpha: float) -> dict[str, float]:
    """What the learning curves show: clusters, mean R^2 and the energy that simple neurons hold."""
    neurons = cyclic_neurons(first_layer(params, spec, alpha))
    alive, energy = neurons.alive, neurons.variance * neurons.alive
    return {
        "count": float(_major(find_clusters(neurons))),
        "r2": float(neurons.first[alive].mean()) if alive.any() else 0.0,
        "energy_share": float((energy * neurons.first).sum() / max(energy.sum(), 1e-30)),
        "alive": float(alive.sum()),
    }


def _major(clusters: Clusters) -> int:
    return int(clusters.major.sum())


def measure(
    params: Any, spec: ModelSpec, network: Network, alpha: float, noise: Sequence[float], seed: int
) -> dict[str, Array]:
    """All numbers of one network, as arrays by name; `noise` empty leaves out the costly ones."""
    out = _forward(params, spec, jnp.float32(alpha))
    pres = [np.asarray(pre, np.float64) for pre in out.pre]
    logits = np.asarray(out.logits, np.float64)
    pre = first_layer(params, spec, alpha) if spec.additive else pres[0]
    neurons = cyclic_neurons(pre)
    clusters = find_clusters(neurons)
    accuracy, loss = method.score(logits)
    margin = method.margins(logits)
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "loss": loss,
        "margin": margin.mean(),
        "least_margin": margin.min(),
        **_neurons(neurons, clusters),
        **_substitutions(params, spec, alpha, neurons, pres, logits),
        **_fine_tuning(params, spec, pres[0], logits, neurons),
    }
    if isinstance(pre, tuple):
        found["half_integer"] = _half_integer(pre, neurons)
    else:
        found["half_integer"] = 0.0
    if noise:
        rest = _rest(params, spec, pres[-1], logits)
        found |= {
            **_equivariance(params, spec, pres[0], clusters),
            **_noise(params, spec, alpha, clusters, noise, seed),
            **_removal(params, spec, pres[0], rest, clusters, seed),
            **_embedding(params, network.modulus),
        }
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


# Neurons ------------------------------------------------------------------------------------------


def _neurons(neurons: Neurons, clusters: Clusters) -> dict[str, Any]:
    alive = neurons.alive
    table = count_table(neurons, r2=R2_FILTERS, shares=SHARE_FILTERS)
    sizes = np.zeros(neurons.order // 2)
    r2 = np.zeros(neurons.order // 2)
    sizes[clusters.label - 1], r2[clusters.label - 1] = clusters.size, clusters.r2
    simple = np.where(alive, neurons.first, np.nan)
    return {
        "alive": alive.sum(),
        "r2": np.nanmean(simple) if alive.any() else 0.0,
        "r2_median": np.nanmedian(simple) if alive.any() else 0.0,
        "second": neurons.second[alive].mean() if alive.any() else 0.0,
        "count": _major(clusters),
        "count_any": table.at(0.0, 0.0),
        "count_r2": table.at(0.5, 0.01),
        "count_5pc": table.at(0.0, 0.05),
        "counts": table.counts,
        "sizes": sizes,
        "cluster_r2": r2,
        "agree": (neurons.agree & alive).sum() / max(1, alive.sum()),
    }


def _half_integer(pre: tuple[Array, Array], neurons: Neurons) -> float:
    """How many alive neurons a half-integer frequency fits clearly better than any integer one."""
    return float(((half_integer_fit(pre).gain > HALF_GAIN) & neurons.alive).sum())


def _fine_tuning(
    params: Any, spec: ModelSpec, pre: Array, logits: Array, neurons: Neurons
) -> dict[str, Any]:
    """Neurons that mix harmonics, under stricter and looser rules, and the answer without them."""
    power = np.abs(np.fft.fft2(pre, axes=(0, 1))) ** 2
    tuned = method.is_fine_tuning(power) & neurons.alive
    variants = {
        "tuned_3pc": method.is_fine_tuning(power, share=0.03),
        "tuned_10pc": method.is_fine_tuning(power, share=0.10),
        "tuned_any": method.is_fine_tuning(power, harmonics=spec.order // 2),
    }
    found: dict[str, Any] = {"tuned": tuned.sum(), "without_tuned": method.score(logits)[0]}
    found |= {name: (mask & neurons.alive).sum() for name, mask in variants.items()}
    if tuned.any() and _single(spec):
        u = np.asarray(readout(params, spec)[0], np.float64)
        found["without_tuned"] = method.score(logits - cluster_logits(pre, u, tuned))[0]
    return found


def _single(spec: ModelSpec) -> bool:
    """Whether the logits are one ReLU layer, read out linearly, and a rest."""
    return spec.depth * spec.blocks == 1 and spec.act == "relu"


# Substitution of neurons by their fits ------------------------------------------------------------


def _substitutions(
    params: Any,
    spec: ModelSpec,
    alpha: float,
    neurons: Neurons,
    pres: Sequence[Array],
    logits: Array,
) -> dict[str, Any]:
    """Accuracy and loss with all neurons of all layers replaced, layer after layer.

    `simple`: by first-order fits in every layer. `both`: first order in layer 1, first and second
    order after it. `layer1_both`: first and second order everywhere. Later layers are fitted by all
    frequencies that any alive neuron of layer 1 has. `first_share`: of the alive neurons of layer
    2, those that a first-order fit explains better than a second-order one alone.
    """
    layers = len(pres)
    freqs = tuple(int(f) for f in np.unique(neurons.label[neurons.alive]) if f > 0)
    first: list[Order] = [1]
    second: list[Order] = [2]
    plans = {
        "simple": first * layers,
        "both": first + second * (layers - 1),
        "layer1_both": second * layers,
    }
    rest = _rest(params, spec, pres[-1], logits)
    found: dict[str, Any] = {}
    for name, orders in plans.items():
        if not freqs or (name == "both" and layers == 1):
            found[name], found[name + "_loss"] = np.nan, np.nan
        elif spec.blocks > 1 or spec.act != "relu":
            found[name], found[name + "_loss"] = substituted(params, spec, alpha, freqs, orders)
        else:
            found[name], found[name + "_loss"] = _substituted_mlp(
                params, spec, pres[0], rest, freqs, orders
            )
    found["first_share"] = found["layer2_simple"] = found["layer2_both"] = np.nan
    if layers > 1 and freqs:
        later = pres[1]
        alive = (later.max(axis=(0, 1)) > 0.01) & (later.var(axis=(0, 1)) > 1e-6)
        if alive.any():
            one = method.fit_simple(later[..., alive], 1, freqs).r2
            two = method.fit_simple(later[..., alive], 2, freqs).r2
            found["first_share"] = float((one >= two - one).mean())
            found["layer2_simple"], found["layer2_both"] = one.mean(), two.mean()
    return found


def substituted(
    params: Any,
    spec: ModelSpec,
    alpha: float,
    freqs: Sequence[int],
    orders: Sequence[Order],
) -> tuple[float, float]:
    """(accuracy, loss) of the network with layer i fitted to order `orders[i]`; 0 leaves it alone.

    Each layer is fitted as it is after the layers before it were replaced; in the first of two
    blocks both tokens' neurons are.
    """

    def edit(layer: int, pre: Any) -> Any:
        values = np.asarray(pre, np.float64)
        return jnp.asarray(_fitted(values, orders[layer], freqs if layer else None), jnp.float32)

    logits = forward_grid(params, spec, jnp.float32(alpha), edit).logits
    return method.score(np.asarray(logits, np.float64))


def _substituted_mlp(
    params: Any,
    spec: ModelSpec,
    pre: Array,
    rest: Array,
    freqs: Sequence[int],
    orders: Sequence[Order],
) -> tuple[float, float]:
    """`substituted` for a single block, in NumPy: from layer 1 on it is an MLP with a `rest`."""
    holder = params["blocks"][0] if spec.is_transformer else params
    pre = _fitted(pre, orders[0], None)
    for layer, order in zip(holder["hidden"], orders[1:], strict=True):
        pre = np.maximum(pre, 0.0) @ np.asarray(layer["W"], np.float64) + np.asarray(layer["b"])
        pre = _fitted(pre, order, freqs)
    u = np.asarray(readout(params, spec)[0], np.float64)
    return method.score(np.maximum(pre, 0.0) @ u + rest)


def _fitted(pre: Array, order: Order, freqs: Sequence[int] | None) -> Array:
    return pre if order == 0 else method.fit_simple(pre, order, freqs).pred


# Clusters in the logits, noise, removal (networks with one hidden layer) --------------------------


def _rest(params: Any, spec: ModelSpec, last: Array, logits: Array) -> Array:
    """Logits that do not pass through the last hidden layer."""
    u = np.asarray(readout(params, spec)[0], np.float64)
    return logits - np.maximum(last, 0.0) @ u


def _equivariance(params: Any, spec: ModelSpec, pre: Array, clusters: Clusters) -> dict[str, Any]:
    """Of the major clusters: mean equivariance error, and R^2 of their profile in k - a - b.

    The profile is the mean contribution at distance k - a - b; the ideal one is a cosine of the
    cluster's frequency.
    """
    u = np.asarray(readout(params, spec)[0], np.float64)
    errors, profiles = [], []
    for label, members in zip(clusters.label, clusters.members, strict=True):
        if len(members) < max(3, 0.01 * clusters.kept):
            continue
        part = cluster_logits(pre, u, members)
        if part.std() > 0:
            errors.append(method.equivariance_error(part))
            profiles.append(_cosine_share(profile(part), int(label)))
    if not errors:
        return {"equivariance": np.nan, "equivariance_best": np.nan, "profile": np.nan}
    return {
        "equivariance": np.mean(errors),
        "equivariance_best": np.min(errors),
        "profile": np.mean(profiles),
    }


def profile(part: Float[Array, "n n n"]) -> Float[Array, " n"]:
    """Mean over all pairs of the logit of a + b + k, for each k."""
    n = len(part)
    x = np.arange(n)
    k = (x[:, None, None] + x[:, None] + x) % n
    return np.take_along_axis(part, k, axis=2).mean(axis=(0, 1))


def _cosine_share(values: Float[Array, " n"], f: int) -> float:
    centred = values - values.mean()
    wave = np.cos(2 * np.pi * (f * np.arange(len(values)) % len(values)) / len(values))
    wave = wave - wave.mean()
    total = float(centred @ centred)
    return float((centred @ wave) ** 2 / (wave @ wave) / total) if total > 0 else 0.0


def _noise(
    params: Any,
    spec: ModelSpec,
    alpha: float,
    clusters: Clusters,
    noise: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """Accuracy and loss against sigma: noise on all neurons, and on the largest cluster's."""
    everything = np.ones(spec.width, bool)
    largest = np.zeros(spec.width, bool)
    if len(clusters):
        largest[clusters.members[0]] = True
    rng = np.random.default_rng([seed, 1])
    found: dict[str, Any] = {}
    for name, members in (("noise", everything), ("noise_one", largest)):
        rows = np.zeros((len(noise), 2))
        for i, sigma in enumerate(noise):
            for _ in range(NOISE_DRAWS if sigma > 0 else 1):
                moved = noisy(params, spec, members, sigma, rng)
                logits = _forward(moved, spec, jnp.float32(alpha)).logits
                rows[i] += method.score(np.asarray(logits, np.float64))
            rows[i] /= NOISE_DRAWS if sigma > 0 else 1
        found[name + "_accuracy"], found[name + "_loss"] = rows.T
    return found


def noisy(
    params: Any,
    spec: ModelSpec,
    members: Bool[Array, " m"],
    sigma: float,
    rng: np.random.Generator,
) -> Any:
    """The network with every weight into and out of these hidden neurons times exp(N(0, sigma))."""

    def scaled(weight: Any, axis: int) -> Any:
        weight = np.asarray(weight)
        shape = [1] * weight.ndim
        shape[axis] = len(members)
        factor = np.exp(sigma * rng.standard_normal(weight.shape))
        return (weight * np.where(members.reshape(shape), factor, 1.0)).astype(np.float32)

    if spec.is_transformer:
        block = params["blocks"][0]
        changed = {name: scaled(block[name], -1) for name in ("W_in", "b_in")}
        changed["W_out"] = scaled(block["W_out"], 0)
        return {**params, "blocks": ({**block, **changed}, *params["blocks"][1:])}
    into = [name for name in ("W_a", "W_b", "W", "b") if name in params]
    return {**params, **{x: scaled(params[x], -1) for x in into}, "U": scaled(params["U"], 0)}


def _removal(
    params: Any, spec: ModelSpec, pre: Array, rest: Array, clusters: Clusters, seed: int
) -> dict[str, Any]:
    """Accuracy after removing a random share of the largest cluster."""
    u = np.asarray(readout(params, spec)[0], np.float64)
    rng = np.random.default_rng([seed, 2])
    members = clusters.members[0] if len(clusters) else np.array([], int)
    order = rng.permutation(members)
    rows = []
    for share in SHIFTS:
        keep = np.ones(spec.width, bool)
        keep[order[: round(share * len(order))]] = False
        rows.append(method.score(network_logits(pre, u, rest, keep))[0])
    return {"removal": np.array(rows)}


def _embedding(params: Mapping[str, Any], n: int) -> dict[str, Any]:
    """DFT of the principal components of the embedding along the tokens (App. G.1).

    `pc_peak`: mean share of the largest line over the components that hold 95 % of the variance.
    `pc_circular`: of neighbouring pairs of these, the share that have one frequency in common (a
    circle); the others draw Lissajous figures.
    """
    if "E" not in params:
        return {"pc_peak": np.nan, "pc_circular": np.nan, "pc_lissajous_peak": np.nan}
    peak, freq = principal_components(np.asarray(params["E"], np.float64))
    same = freq[1:] == freq[:-1]
    pure = np.minimum(peak[1:], peak[:-1])
    return {
        "pc_peak": peak.mean(),
        "pc_circular": same.mean() if len(same) else np.nan,
        "pc_lissajous_peak": pure[~same].mean() if (~same).any() else np.nan,
    }


def principal_components(
    embedding: Float[Array, "n d"], variance: float = 0.95
) -> tuple[Float[Array, " k"], Int[Array, " k"]]:
    """Share and frequency of the largest DFT line of each leading principal component."""
    centred = embedding - embedding.mean(axis=0)
    scores, size, _ = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(size**2) / (size**2).sum()
    scores = scores[:, : int(np.searchsorted(held, variance)) + 1]
    power = np.abs(np.fft.rfft(scores, axis=0)) ** 2
    n = len(embedding)
    power[1 : (n + 1) // 2] *= 2
    power = power[1:]
    return power.max(axis=0) / power.sum(axis=0), power.argmax(axis=0) + 1
