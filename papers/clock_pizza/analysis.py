"""From networks to what claims and figures need: averages, intervals, distributions.

Circuit statistics are of the networks with 100 % test accuracy at the last step; how many there
were stands beside them. The unit is the network: clusters of one network are averaged first,
weighted by their size, and intervals resample networks (95 % percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from papers.clock_pizza import circuits, method
from papers.clock_pizza.config import Config
from papers.clock_pizza.trial import CLUSTER_COLUMNS, DEEP_COLUMNS
from shared import stats
from shared.experiment.spec import Estimate, Outcome, Results

Array = np.ndarray
Cell = tuple[float, float, float]
"""A mean with its interval; NaN where there is no network."""

HEADLINE = ("MLP-Concat", "MLP-Add", "Attention 0.0", "Attention 1.0")
BETTI_KINDS = ("disc", "circle", "torus", "other")
TRIPLES: dict[tuple[int, ...], int] = {(1, 0, 0): 0, (1, 1, 0): 1, (1, 2, 1): 2}
KAPPAS = (0.25, 1.0, 4.0)
NETWORK_COLUMNS = (
    *("perfect", "first_perfect", "spikes", "alive", "clusters", "r2", "r2_median", "second"),
    *("mixed", "irrelevance", "symmetricity", "sum_share", "coprime", "skipped"),
    *("accuracy", "accuracy_first", "accuracy_second", "accuracy_mixed"),
    *(f"{what}_{how}" for what in ("distance", "within2") for how in ("argmax", "raw", "centroid")),
    *("random_disc", "random_torus"),
)
SHOWN = ("test_accuracy", "clusters", "first", "second", "disc", "torus")


def header(config: Config) -> dict[str, Array]:
    """What the results are about."""
    return {
        "variants": np.asarray([v.name for v in config.variants]),
        "arch": np.asarray([v.arch for v in config.variants]),
        "alpha": np.asarray([v.alpha for v in config.variants]),
        "deep_variants": np.asarray([v.name for v in config.deep_variants]),
        "controls": np.asarray(config.controls),
        "ablations": np.asarray(config.ablations),
        "cheap_variants": np.asarray([v.name for v in config.variants if v.alpha == 0]),
        "modulus": np.asarray(config.modulus),
        "kappa": np.asarray(config.kappa),
        "steps": np.asarray(config.steps),
        "frame_steps": np.asarray((np.arange(config.frames) + 1) * config.frame_steps),
        "major_share": np.asarray(config.major_share),
        "topology": np.asarray(int(config.with_topology)),
        "topology_neurons": np.asarray(config.topology_neurons),
        "topology_r2": np.asarray(config.topology_r2),
        "r2_steps": np.asarray(circuits.R2_STEPS),
        "share_steps": np.asarray(circuits.SHARE_STEPS),
    }


def networks(nets: Sequence[Outcome]) -> dict[str, Array]:
    """`net/<name>` [variant, seed], NaN where a variant has fewer seeds; `counts` [variant, r2,
    share, 3], the mean number of clusters at every threshold with its interval."""
    most = max(len(net["perfect"]) for net in nets)
    found = {}
    for name in NETWORK_COLUMNS:
        table = np.full((len(nets), most), np.nan)
        for row, net in zip(table, nets, strict=True):
            row[: len(net[name])] = net[name]
        found[f"net/{name}"] = _short(table)
    found["counts"] = _short(np.array([_cells(net["counts"][_perfect(net)]) for net in nets]))
    return found


def clusters(nets: Sequence[Outcome]) -> dict[str, Array]:
    """All major clusters as one long table, `cluster/<name>` [clusters], with `variant` and `seed`;
    `table/<name>` [variant, 3]: weighted by size within networks; `plain/<name>` unweighted."""
    rows: dict[str, list[Array]] = {name: [] for name in ("variant", "seed", *CLUSTER_COLUMNS)}
    for variant, net in enumerate(nets):
        there = np.isfinite(net["cluster_f"])
        rows["variant"].append(np.full(there.sum(), float(variant)))
        rows["seed"].append(np.nonzero(there)[0].astype(float))
        for name in CLUSTER_COLUMNS:
            rows[name].append(net[f"cluster_{name}"][there])
    found = {f"cluster/{name}": _short(np.concatenate(parts), 3) for name, parts in rows.items()}
    for name in CLUSTER_COLUMNS:
        if name in ("f", "size"):
            continue
        for table, weighted in (("table", True), ("plain", False)):
            cells = [interval(per_network(net, name, weighted)) for net in nets]
            found[f"{table}/{name}"] = _short(np.array(cells))
    for where in ("pre", "logits"):
        shares = [betti_shares(net, where) for net in nets]
        found[f"betti/{where}"] = _short(np.array([_cells(share) for share in shares]))
        counts = [np.nansum([share_count(net, where)]) for net in nets]
        found[f"betti/{where}_clusters"] = np.array(counts)
    return found | frequencies(nets)


def per_network(net: Outcome, name: str, weighted: bool = True) -> Float[Array, " networks"]:
    """A cluster's number averaged over each perfect network that has it somewhere."""
    values = net[f"cluster_{name}"][_perfect(net)]
    weight = net["cluster_size"][_perfect(net)] if weighted else np.ones_like(values)
    there = np.isfinite(values) & np.isfinite(weight)
    total = np.where(there, weight, 0.0).sum(axis=1)
    sums = np.where(there, values * weight, 0.0).sum(axis=1)
    return sums[total > 0] / total[total > 0]


def betti_shares(net: Outcome, where: str) -> Float[Array, "networks kinds"]:
    """Share of each perfect network's examined clusters that is a disc, circle, torus or other."""
    rows = []
    for triples in _triples(net, where):
        kinds = [TRIPLES.get(tuple(int(b) for b in triple), 3) for triple in triples]
        if kinds:
            rows.append(np.bincount(kinds, minlength=4) / len(kinds))
    return np.array(rows).reshape(-1, 4)


def share_count(net: Outcome, where: str) -> float:
    """How many clusters of perfect networks topology has looked at."""
    return float(sum(len(triples) for triples in _triples(net, where)))


def _triples(net: Outcome, where: str) -> list[Float[Array, "clusters 3"]]:
    b = np.stack([net[f"cluster_{where}_b{dim}"][_perfect(net)] for dim in range(3)], axis=-1)
    return [row[np.isfinite(row).all(axis=-1)] for row in b]


def frequencies(nets: Sequence[Outcome]) -> dict[str, Array]:
    """`frequency/used` [variant, n // 2, 3]: share of perfect networks with a major cluster at each
    frequency, Wilson intervals; `frequency/number` [variant, n // 2 + 1]: networks by how many."""
    used, number = [], []
    for net in nets:
        f = net["cluster_f"][_perfect(net)]
        slots = f.shape[1]
        hits = np.array([np.sum(np.any(f == k, axis=1)) for k in range(1, slots + 1)])
        used.append([_wilson(int(hit), len(f)) for hit in hits])
        number.append(np.bincount(np.isfinite(f).sum(axis=1), minlength=slots + 1))
    return {"frequency/used": _short(np.array(used)), "frequency/number": np.array(number)}


def _wilson(hits: int, n: int) -> Cell:
    from scipy.stats import binomtest

    if n == 0:
        return np.nan, np.nan, np.nan
    limits = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return hits / n, float(limits.low), float(limits.high)


# --- Phase alignment ------------------------------------------------------------------------------


def alignment(nets: Sequence[Outcome], config: Config) -> dict[str, Array]:
    """Phase alignment distributions of perfect networks, and how far apart they are.

    Returns:
        `pad/distances_<estimator>` [variant, n // 2 + 1, 3], shares of neurons at each distance;
        `pad/argmax`, `pad/centroid` [pictured, n, n], neurons at each remapped position;
        `mmd/<estimator>` [variant, variant, 3], MMD with its jackknife interval, and
        `mmd/p_<estimator>`; for the four networks of the paper `mmd/kappa` [kappa, 4, 4], NaN
        where one is missing.
    """
    found: dict[str, Array] = {}
    for how in ("argmax", "raw", "centroid"):
        rows = []
        for net in nets:
            counts = net[f"distances_{how}"][_perfect(net)]
            counts = counts[counts.sum(axis=1) > 0]
            rows.append(_cells(counts / counts.sum(axis=1, keepdims=True)))
        found[f"pad/distances_{how}"] = _short(np.array(rows), 3)
    for how in ("argmax", "centroid"):
        rows = [nets[i][f"pad_{how}"][_perfect(nets[i])].sum(axis=0) for i in pictured(config)]
        square = (len(rows), config.modulus, config.modulus)
        found[f"pad/{how}"] = np.array(rows, dtype=np.int32).reshape(square)
        value, p = _mmd_matrix(nets, f"pad_{how}", config.kappa, config.permutations)
        found |= {f"mmd/{how}": _short(value), f"mmd/p_{how}": _short(p)}
    names = [v.name for v in config.variants]
    sweep = np.full((len(KAPPAS), 4, 4), np.nan)
    place = [(k, names.index(name)) for k, name in enumerate(HEADLINE) if name in names]
    few = [nets[i] for _, i in place]
    for row, kappa in zip(sweep, KAPPAS, strict=True):
        rows = [k for k, _ in place]
        row[np.ix_(rows, rows)] = _mmd_matrix(few, "pad_argmax", kappa, 1)[0][..., 0]
    return found | {"mmd/kappas": np.asarray(KAPPAS), "mmd/kappa": _short(sweep)}


def _mmd_matrix(
    nets: Sequence[Outcome], name: str, kappa: float, permutations: int
) -> tuple[Float[Array, "v v 3"], Float[Array, "v v"]]:
    """MMD between every two variants with intervals, and p-values; networks are the units."""
    groups = [[_points(h) for h in net[name][_perfect(net)] if h.sum() > 0] for net in nets]
    value = np.full((len(nets), len(nets), 3), np.nan)
    p = np.full((len(nets), len(nets)), np.nan)
    everyone = [group for side in groups for group in side]
    if not everyone:
        return value, p
    sums, counts = method.kernel_sums(everyone, kappa)
    owner = np.repeat(np.arange(len(nets)), [len(side) for side in groups])
    for i in range(len(nets)):
        for j in range(i):
            pick = np.concatenate([np.flatnonzero(owner == k) for k in (i, j)])
            first = len(groups[i])
            if not 0 < first < len(pick):
                continue
            part = sums[np.ix_(pick, pick)], counts[pick]
            rng = np.random.default_rng(0)
            square, p_value = method.permutation_test(*part, first, permutations, rng)
            half = 1.96 * _jackknife(*part, first)
            cell = np.sqrt(np.maximum([square, square - half, square + half], 0))
            value[i, j] = value[j, i] = cell
            p[i, j] = p[j, i] = p_value
    return value, p


def _points(histogram: Float[Array, "n n"]) -> Float[Array, "points 2"]:
    """Angles of the points that a histogram on the n x n torus counts."""
    cells = np.argwhere(histogram > 0)
    counts = histogram[cells[:, 0], cells[:, 1]].astype(int)
    return np.repeat(cells, counts, axis=0) * 2 * np.pi / len(histogram)


def _jackknife(sums: Float[Array, "g g"], counts: Float[Array, " g"], first: int) -> float:
    """Standard error of MMD^2 by leaving out one network at a time, on either side."""
    every, variance = len(counts), 0.0
    for side in (range(first), range(first, every)):
        if len(side) < 2:
            return np.inf
        left = []
        for out in side:
            keep = np.delete(np.arange(every), out)
            sides = (keep < first)[None]
            left.append(method.mmd2_of_sides(sums[np.ix_(keep, keep)], counts[keep], sides)[0])
        variance += (len(side) - 1) * float(np.var(left))
    return float(np.sqrt(variance))


# --- Pictures, training, depth, controls ----------------------------------------------------------


def pictured(config: Config) -> list[int]:
    """Rows of the paper's four architectures, as far as this run has them."""
    return [i for i, v in enumerate(config.variants) if v.name in HEADLINE]


def pictures(nets: Sequence[Outcome], config: Config) -> dict[str, Array]:
    """`profile` [variant, n // 2 + 1, 3]; and of the first perfect network of each of the paper's
    architectures, `pictured` [pictured] by name, its largest cluster: `heat` [pictured, n, n] in
    hundredths, points and persistence bars."""
    rows = pictured(config)
    found = {
        "profile": _short(np.array([_cells(_finite_rows(net, "profile")) for net in nets])),
        "pictured": np.asarray([config.variants[i].name for i in rows]),
    }
    if not rows:
        return found
    heat = np.stack([_first(nets[i], "heat") for i in rows])
    found["heat"] = np.rint(100 * np.nan_to_num(heat)).astype(np.int32)
    for name in ("example_sum", "example_pre", "example_logits", "bars_pre", "bars_logits"):
        found[name] = _short(np.stack([_first(nets[i], name) for i in rows]), 2)
    return found


def movie(nets: Sequence[Outcome]) -> dict[str, Array]:
    """`movie/<name>` [variant, frame, 3] of perfect networks; `movie/failed` [failed, 1 + frames],
    variant and test accuracy of every network that did not reach 100 %."""
    found = {
        f"movie/{name}": _short(
            np.array([_cells(_finite_rows(net, f"movie_{name}")) for net in nets])
        )
        for name in SHOWN
    }
    failed = [
        [float(variant), *curve]
        for variant, net in enumerate(nets)
        for curve in net["movie_test_accuracy"][~_perfect(net)]
    ]
    frames = nets[0]["movie_test_accuracy"].shape[1]
    return found | {"movie/failed": _short(np.array(failed).reshape(-1, 1 + frames))}


def deep(nets: Sequence[Outcome]) -> dict[str, Array]:
    """Deeper MLPs: `deep/betti` [variant, layer, kind, 3] and `deep/<name>` [variant, layer, 3],
    NaN beyond the last layer; `deep/perfect` [variant, 2], perfect networks and all."""
    layers = max(net["layer_f"].shape[1] for net in nets)
    betti = np.full((len(nets), layers, 4, 3), np.nan)
    table = {name: np.full((len(nets), layers, 3), np.nan) for name in DEEP_COLUMNS[1:7]}
    for v, net in enumerate(nets):
        good = _perfect(net)
        for layer in range(net["layer_f"].shape[1]):
            rows = []
            b = np.stack([net[f"layer_b{dim}"][good, layer] for dim in range(3)], axis=-1)
            for one in b:
                one = one[np.isfinite(one).all(axis=-1)]
                kinds = [TRIPLES.get(tuple(int(x) for x in triple), 3) for triple in one]
                rows += [np.bincount(kinds, minlength=4) / len(kinds)] if kinds else []
            betti[v, layer] = _cells(np.array(rows).reshape(-1, 4))
            for name, cells in table.items():
                values = net[f"layer_{name}"][good, layer]
                some = values[np.isfinite(values).any(axis=1)]
                cells[v, layer] = interval(np.nanmean(some, axis=1))
    counts = np.array([[_perfect(net).sum(), len(net["perfect"])] for net in nets])
    found = {f"deep/{name}": _short(cells) for name, cells in table.items()}
    return found | {"deep/betti": _short(betti), "deep/perfect": counts}


def control(name: str, nets: Sequence[Outcome]) -> dict[str, Array]:
    """`control/<name>/<number>` [variant, 3] over all networks of a negative control."""
    found = {}
    for column in ("pre_cka_disc", "pre_cka_torus", "logits_cka_circle", "r2"):
        rows = [per_network({**net, "perfect": np.ones(len(net["clusters"]))}, column)
                for net in nets]  # fmt: skip
        found[column] = np.array([interval(row) for row in rows])
    for column in ("clusters", "accuracy", "distance_argmax", "irrelevance"):
        found[column] = np.array([interval(net[column]) for net in nets])
    return {f"control/{name}/{key}": _short(value) for key, value in found.items()}


def ablations(changed: Sequence[Sequence[Outcome]]) -> dict[str, Array]:
    """`ablation/<number>` [change, variant, 3] of perfect networks with one setting changed;
    `ablation/perfect` [change, variant, 2], perfect networks and all."""
    found: dict[str, Array] = {}
    for column in ("pre_cka_disc", "pre_cka_torus", "logits_cka_circle", "r2"):
        found[column] = np.array([[interval(per_network(net, column)) for net in nets]
                                  for nets in changed])  # fmt: skip
    found["clusters"] = np.array([[interval(net["clusters"][_perfect(net)]) for net in nets]
                                  for nets in changed])  # fmt: skip
    counts = [[(_perfect(net).sum(), len(net["perfect"])) for net in nets] for nets in changed]
    found["perfect"] = np.array(counts, float)
    return {f"ablation/{name}": _short(value) for name, value in found.items()}


# --- For claims -----------------------------------------------------------------------------------


def place(results: Results, name: str) -> int | None:
    """Row of a variant, or None where this run has none or none of its networks is perfect."""
    names = [str(v) for v in results["variants"]]
    if name not in names or not np.nansum(results["net/perfect"][names.index(name)]):
        return None
    return names.index(name)


def estimate(results: Results, table: str, name: str, label: str, unit: str = "") -> Estimate:
    """A row of a table [variant, ..., 3] as an estimate; n counts perfect networks."""
    row = place(results, name)
    assert row is not None
    n = int(np.nansum(results["net/perfect"][row]))
    value, low, high = (float(x) for x in results[table][row])
    return Estimate(value, low, high, label, unit, n)


def over_networks(results: Results, column: str, name: str, label: str, scale: float = 1.0,
                  unit: str = "") -> Estimate:  # fmt: skip
    """Mean of a network's number over the perfect networks of a variant."""
    values = network_values(results, column, name) * scale
    value, low, high = interval(values)
    return Estimate(value, low, high, label, unit, len(values))


def network_values(results: Results, column: str, name: str) -> Float[Array, " networks"]:
    """A number of every perfect network of a variant."""
    row = place(results, name)
    assert row is not None
    good = results["net/perfect"][row] == 1
    return np.asarray(results[f"net/{column}"][row][good], np.float64)


def interval(values: Float[Array, " networks"]) -> Cell:
    """Mean with its 95 % bootstrap interval over networks; NaN without any."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    found = stats.bootstrap(values, stats.mean, seed=0, replicates=1000)
    return found.value, found.low, found.high


def _cells(values: Float[Array, "networks ..."]) -> Float[Array, "... 3"]:
    """`interval` over the first axis, at every place of the others, from common resamples."""
    values = np.asarray(values, np.float64)
    if len(values) == 0:
        return np.full((*values.shape[1:], 3), np.nan)
    mean = values.mean(axis=0)
    if len(values) == 1:
        return np.stack([mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)], axis=-1)
    picks = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
    weights = np.stack([np.bincount(pick, minlength=len(values)) for pick in picks]) / len(values)
    drawn = np.tensordot(weights, values, (1, 0))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return np.stack([mean, low, high], axis=-1)


def _finite_rows(net: Outcome, name: str) -> Float[Array, "networks ..."]:
    values = net[name][_perfect(net)]
    return values[np.isfinite(values).all(axis=tuple(range(1, values.ndim)))]


def _perfect(net: Mapping[str, Array]) -> Bool[Array, " networks"]:
    return np.asarray(net["perfect"]) == 1


def _first(net: Outcome, name: str) -> Array:
    """Of the first perfect network, or of the first one at all."""
    return net[name][int(np.argmax(_perfect(net)))]


def _short(values: Array, decimals: int = 4) -> Array:
    """Rounded far below its error, so that files stay small."""
    return np.round(np.asarray(values, np.float64), decimals)
