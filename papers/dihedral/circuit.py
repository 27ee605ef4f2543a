"""One trained network taken apart: everything that the claims and figures need, as arrays.

`measures` is what becomes of a network in a run's outcome. Entries by irrep have the order of
`Subject.reps`; NaN stands where a network has no such cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from papers.dihedral import cycles, method
from papers.dihedral.method import Cayley, Energies, Labels
from papers.dihedral.subject import Subject

Array = np.ndarray
LIVE_RULES = (0.01, 0.02, 0.05)  # thresholds of `label_neurons`
SHARE_RULES = (0.0, 0.5, 0.9)  # least share of energy on the irrep
SIZE_RULES = (1, 3)  # least number of neurons
MOST_CLUSTERS = 7  # up to which every subset is tried
SUBSETS = 2**MOST_CLUSTERS - 1
_CLUSTER = ("answer", "weight", "without", "alone", "passes", "half", "half_within",
            "half_correlation", "even_left", "even_right")  # fmt: skip


class View(NamedTuple):
    """A network on all pairs: its first and last hidden layers and what follows.

    Attributes:
        first, last: pre-activations. first_out: the weights that read the first layer.
        out: last hidden layer to logits. rest: logits that do not pass through it.
        tables: the two parts of an additive first layer, else None.
    """

    first: Float[Array, "G G H1"]
    last: Float[Array, "G G H"]
    first_out: Float[Array, "H1 any"]
    out: Float[Array, "H G"]
    rest: Float[Array, "... G"]
    tables: tuple[Array, Array] | None

    @property
    def post(self) -> Float[Array, "G G H"]:
        return np.maximum(self.last, 0)

    @property
    def logits(self) -> Float[Array, "G G G"]:
        return self.post @ self.out + self.rest


def view_of(net: method.Net) -> View:
    """A network with one hidden layer."""
    pre = method.pre_activations(net)
    return View(pre, pre, net.out, net.out, net.out_bias, (net.left, net.right))


def first_labels(view: View, who: Subject, live: float = method.LIVE) -> tuple[Energies, Labels]:
    """Irreps of the first hidden layer's neurons."""
    if view.tables is None:
        energies = method.grid_energies(view.first, who.reps)
    else:
        energies = method.table_energies(*view.tables, who.reps)
    peak = np.maximum(view.first, 0).max((0, 1))
    out = as_functions(view.first_out, who)
    return energies, method.label_neurons(energies, peak, out, who.reps, live)


def as_functions(out: Float[Array, "H any"], who: Subject) -> Float[Array, "H G"]:
    """Rows of weights as functions on the group, as `label_neurons` wants them.

    Into a further hidden layer they are none: then they are replaced by others of the same size,
    and what the labels say about the output means nothing.
    """
    if out.shape[1] == who.group.order:
        return out
    return np.linalg.norm(out, axis=1)[:, None] * np.eye(1, who.group.order)


def last_labels(view: View, who: Subject, live: float = method.LIVE) -> Labels:
    """Irreps of the last hidden layer's neurons."""
    if view.last is view.first:
        return first_labels(view, who, live)[1]
    energies = method.grid_energies(view.last, who.reps)
    return method.label_neurons(energies, view.post.max((0, 1)), view.out, who.reps, live)


def placed(labels: Labels, who: Subject) -> Int[Array, " H"]:
    """The irrep whose cluster each neuron is in, -1 where it is in none."""
    inside = labels.live & (labels.share >= who.least_share)
    return np.where(inside, labels.irrep, -1)


def measures(view: View, who: Subject, seed: int) -> dict[str, Array]:
    """All numbers of one network. `seed` draws the random clusters of the control."""
    first = first_labels(view, who)[1]
    last = last_labels(view, who)
    found = method.clusters(last, who.reps, who.least_share)
    parts = method.contributions(view.post, view.out, found)
    whole = view.logits
    own = whole - whole.mean((0, 1))
    left_over = own - (parts.sum(0) - parts.sum(0).mean((0, 1)))
    kept = [i for i, rho in enumerate(who.reps) if rho.name in found]
    reps = [who.reps[i] for i in kept]
    ideal, weights = method.ideal_logits(parts, reps, who.table)
    numbers = {
        "accuracy": method.accuracy(whole, who.table),
        "margin": method.margin(whole, who.table),
        "clusters_only": method.accuracy(parts.sum(0) + view.rest, who.table) if kept else 0.0,
        "ideal": method.accuracy(ideal, who.table) if kept else 0.0,
        "explained": _explained(ideal, whole) if kept else 0.0,
        "rest": float((left_over**2).mean() / max(float((own**2).mean()), 1e-300)),
        "identity": _identity_error(view, found, parts),
        "count": float(len(kept)),
        "count_2d": float(sum(rho.dim > 1 for rho in reps)),
        **_neuron_numbers(first, "first_"),
        **_neuron_numbers(last, "last_"),
        **activity(view, first, who),
    }
    out = {name: np.asarray(value, float) for name, value in numbers.items()}
    out |= _by_irrep(parts, found, kept, weights, whole, who)
    out["counts"] = sensitivity(view, who)
    out["ablation"] = _ablation(parts, [rho.kernel for rho in reps], who)
    out["random"] = random_clusters(view, last, found, who, seed)
    out["passed"] = cayley_passes(out, who)
    return out


def untrained(view: View, who: Subject) -> dict[str, Array]:
    """Control: an untrained network by the same tests."""
    first, last = first_labels(view, who)[1], last_labels(view, who)
    found = method.clusters(last, who.reps, who.least_share)
    parts = method.contributions(view.post, view.out, found)
    kept = [i for i, rho in enumerate(who.reps) if rho.name in found]
    rows = _by_irrep(parts, found, kept, np.zeros(len(kept)), view.logits, who)
    return {
        "untrained": cayley_passes(rows, who),
        "untrained_arcs": np.asarray(activity(view, first, who)["arcs"]),
        "untrained_agree": np.asarray(_neuron_numbers(first, "")["agree"]),
        "untrained_share": np.asarray(_neuron_numbers(first, "")["share"]),
        "untrained_pure": np.asarray(_neuron_numbers(first, "")["pure"]),
    }


def _explained(ideal: Array, whole: Array) -> float:
    """Squared correlation of two sets of logits, each centred over answers and over pairs."""
    centred = [part - part.mean(-1, keepdims=True) for part in (ideal, whole)]
    x, y = (part - part.mean((0, 1)) for part in centred)
    return float((x * y).sum() ** 2 / max(float((x**2).sum() * (y**2).sum()), 1e-300))


def _identity_error(view: View, found: dict[str, Array], parts: Array) -> float:
    """Largest difference of clusters + other neurons + rest from the logits, over their size."""
    inside = np.zeros(view.out.shape[0], bool)
    for neurons in found.values():
        inside[neurons] = True
    others = view.post[..., ~inside] @ view.out[~inside]
    whole = view.logits
    return float(np.abs(parts.sum(0) + others + view.rest - whole).max() / np.abs(whole).max())


def _neuron_numbers(labels: Labels, prefix: str) -> dict[str, float]:
    known = labels.irrep >= 0
    live = max(int(labels.live.sum()), 1)
    numbers = {
        "live": float(labels.live.sum()),
        "agree": float(labels.agree.sum() / live),
        "others": float((labels.live & (labels.share < 0.5)).sum() / live),
        "out_agree": float((labels.out_agree & known).sum() / live),
        "share": float(np.median(labels.share[known])) if known.any() else 0.0,
        "pure": float((labels.live & (labels.share >= 0.9)).sum() / live),
        "out_share": float(np.median(labels.out_share[known])) if known.any() else 0.0,
    }
    return {prefix + name: value for name, value in numbers.items()}


def _by_irrep(
    parts: Array, found: dict[str, Array], kept: list[int], weights: Array, whole: Array,
    who: Subject,
) -> dict[str, Array]:  # fmt: skip
    many = len(who.reps)
    size = np.zeros(many)
    rows = {name: np.full(many, np.nan) for name in (*_CLUSTER, *Cayley._fields)}
    for place, (i, neurons, part) in enumerate(zip(kept, found.values(), parts, strict=True)):
        rho = who.reps[i]
        means, rows["answer"][i] = method.class_means(part, who.table)
        test = cayley(means, rho, who)
        for name, value in test._asdict().items():
            rows[name][i] = value
        size[i] = len(neurons)
        rows["passes"][i] = float(test.passes())
        if rho.dim > 1 and rho.commutant == 1:
            rows["even_left"][i], rows["even_right"][i] = cycles.evenness(means, rho)
        if who.n is not None and rho.freq is not None:
            cycle = cycles.is_coset_cycle(means, rho.freq, who.n)
            rows["half"][i] = float(cycle.passes() and not test.passes())
            rows["half_within"][i] = cycle.within
            rows["half_correlation"][i] = cycle.correlation
        rows["weight"][i] = weights[place]
        rows["without"][i] = method.accuracy(whole - part, who.table)
        rows["alone"][i] = method.ablate(part[None], [rho.kernel], who.table).modulo[0]
    return {"size": size} | rows


def cayley(means: Array, rho: method.Irrep, who: Subject) -> Cayley:
    """The Cayley test of a cluster; on D_n the one with neighbours of the same type."""
    if rho.dim == 1:
        return method.cayley_test(means, who.table, rho)
    return method.cayley_test(means, who.table, rho, who.rotations, who.convention)


def sensitivity(view: View, who: Subject) -> Float[Array, "live share size"]:
    """Number of representations under each combination of thresholds."""
    counts = np.zeros((len(LIVE_RULES), len(SHARE_RULES), len(SIZE_RULES)))
    for i, live in enumerate(LIVE_RULES):
        labels = last_labels(view, who, live)
        for j, share in enumerate(SHARE_RULES):
            for k, size in enumerate(SIZE_RULES):
                counts[i, j, k] = len(method.clusters(labels, who.reps, share, size))
    return counts


def _ablation(parts: Array, kernels: list[Array], who: Subject) -> Float[Array, "subsets 4"]:
    """[predicted, accuracy, modulo the kernel, clusters kept] of each subset, NaN beyond."""
    rows = np.full((SUBSETS, 4), np.nan)
    if len(parts):
        done = method.ablate(parts, kernels, who.table, MOST_CLUSTERS)
        columns = (done.predicted, done.accuracy, done.modulo, done.kept.sum(1))
        found = np.stack([np.asarray(column, float) for column in columns], 1)
        rows[: len(found)] = found
    return rows


def activity(view: View, labels: Labels, who: Subject) -> dict[str, float]:
    """How often active sets are (approximate) cosets, over neurons, inputs and the other input.

    On D_n each half, rotations and reflections, has its set; `arcs` counts those that are neither
    empty nor full and are an approximate coset, `arcs_all` every one. On any group
    `kernel_sets` counts the sets that are unions of kernel cosets, of neurons whose irrep has a
    kernel (1 where none has).
    """
    good, some, every, unions, sets = 0, 0, 0, 0, 0
    for j in np.flatnonzero(placed(labels, who) >= 0):
        rho = who.reps[labels.irrep[j]]
        peak = view.first[..., j].max()
        active = np.concatenate([view.first[..., j].T, view.first[..., j]]) > method.ACTIVE * peak
        if len(rho.kernel) > 1:
            cosets = active[:, who.table[:, rho.kernel]]
            same = (cosets == cosets[..., :1]).all((1, 2))
            unions, sets = unions + int(same.sum()), sets + len(same)
        if who.n is not None and rho.freq is not None:
            halves = active.reshape(-1, who.n)
            arc, proper = method.is_arc(halves, rho.freq, who.n)
            good, some = good + int((arc & proper).sum()), some + int(proper.sum())
            every += int((~proper).sum())
    return {
        "arcs": good / max(some, 1),
        "arcs_all": (good + every) / max(some + every, 1),
        "proper_sets": some / max(some + every, 1),
        "kernel_sets": unions / sets if sets else 1.0,
    }


def random_clusters(
    view: View, labels: Labels, found: dict[str, Array], who: Subject, seed: int
) -> Float[Array, " 3"]:
    """Control: neurons dealt at random to clusters of the same sizes; as `cayley_passes`.

    Each is held against the irrep that its class means are closest to, of dimension above 1.
    """
    order = np.random.default_rng([seed, 77]).permutation(np.flatnonzero(placed(labels, who) >= 0))
    passed, half, tested, start = 0, 0, 0, 0
    for neurons in found.values():
        dealt = order[start : start + len(neurons)]
        start += len(neurons)
        part = view.post[..., dealt] @ view.out[dealt]
        means, _ = method.class_means(part, who.table)
        diagonal = np.diagonal(method.gft2(means, who.reps)).copy()
        diagonal[[rho.dim == 1 for rho in who.reps]] = -1
        rho = who.reps[int(diagonal.argmax())]
        if rho.dim > 1:
            passes = cayley(means, rho, who).passes()
            passed, tested = passed + int(passes), tested + 1
            if who.n is not None and rho.freq is not None and not passes:
                half += int(cycles.is_coset_cycle(means, rho.freq, who.n).passes())
    return np.array([passed, half, tested], float)


def cayley_passes(one: dict[str, Array], who: Subject) -> Float[Array, " 3"]:
    """[Cayley graphs, cycles of cosets, tested] of the clusters of irreps of dimension above 1."""
    wide = np.array([rho.dim > 1 for rho in who.reps]) & (one["size"] > 0)
    half = np.nan_to_num(one["half"][wide]).sum()
    return np.array([one["passes"][wide].sum(), half, wide.sum()], float)
