"""The clock_pizza experiment as a whole: configuration, one network, statistics, verdicts, figures.

Most of it looks into hand-built networks, of which every number is known.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from papers.clock_pizza import (
    analysis,
    circuits,
    claims,
    config,
    exact,
    experiment,
    figures,
    measures,
    method,
    oracle,
    trial,
)
from papers.clock_pizza.circuits import Network
from papers.clock_pizza.config import PRESETS, Config, Variant
from shared import plotting
from shared.experiment.ledger import judge
from shared.experiment.spec import Estimate, Verdict
from shared.groups.networks import ModelSpec, forward_embeddings, init, residual_logits

N = 13
ABLATED = ", ".join(config.ABLATED)
TINY = Config(
    seeds=3,
    modulus=N,
    alphas=(0.0, 0.25, 0.5, 0.75, 1.0),
    between_seeds=3,
    steps=40,
    frames=4,
    depths=(2,),
    depth_seeds=2,
    control_seeds=2,
    ablations=("width=24", "l2=0,weight_decay=1"),
    ablation_seeds=2,
    topology="off",
    topology_neurons=4,
    permutations=50,
)


def refused(**fields: object) -> str:
    with pytest.raises(ValueError) as error:
        Config(**fields)  # pyright: ignore[reportArgumentType]
    return str(error.value)


# --- Configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"alphas": (0.0, 1.5)}, "alphas must be in [0, 1]; got 1.5."),
        ({"alphas": (-0.1,)}, "alphas must be in [0, 1]; got -0.1."),
        ({"alphas": (float("nan"),)}, "alphas must be in [0, 1]; got nan."),
        ({"width": 0}, "width must be at least 1; got 0."),
        ({"train_share": 0.0}, "train-share must be between 0 and 1; got 0.0."),
        ({"ablations": ("heads=2",)}, f"ablations must change {ABLATED}; got 'heads=2'."),
        ({"ablations": ("width=big",)}, "ablations: 'big' is no value for width."),
        ({"ablations": ("width=0",)}, "width must be at least 1; got 0."),
        ({"alphas": ()}, "alphas must be at least one value; got none."),
        ({"alphas": (0.5, 0.5)}, "alphas must be without repetition; got a value twice."),
        ({"architectures": ("mlp",)}, "architectures must be of concat, add, attention; got mlp."),
        ({"architectures": ()}, "architectures must be at least one; got none."),
        ({"embedding": 10}, "embedding must be a multiple of 4 heads; got 10."),
        ({"modulus": 3}, "modulus must be at least 5; got 3."),
        ({"steps": 41}, "steps must be a multiple of 20 frames; got 41."),
        ({"train_share": 1.0}, "train-share must be between 0 and 1; got 1.0."),
        ({"depths": (5,)}, "depths must be in 2 ... 4; got 5."),
        ({"controls": ("none",)}, "controls must be of untrained, permuted; got none."),
        ({"learning_rate": 0.0}, "learning-rate must be positive; got 0.0."),
        ({"topology_r2": 2.0}, "topology-r2 must be in [0, 1]; got 2.0."),
        ({"landmarks": 3}, "landmarks must be at least 4; got 3."),
    ],
)
def test_bad_configuration_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    assert refused(**fields) == sentence


def test_topology_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "topology_installed", lambda: False)
    assert refused(topology="on").startswith("topology on needs ripser or gudhi: uv sync")
    assert not Config(topology="auto").with_topology
    monkeypatch.setattr(config, "topology_installed", lambda: True)
    assert Config(topology="on").with_topology and Config().with_topology
    assert not Config(topology="off").with_topology


def test_variants_and_tasks() -> None:
    names = [v.name for v in Config(alphas=(1.0, 0.0, 0.25)).variants]
    assert names == ["MLP-Concat", "MLP-Add", "Attention 0.0", "Attention 0.25", "Attention 1.0"]
    assert [v.name for v in TINY.deep_variants] == ["MLP-Concat x2", "MLP-Add x2"]
    counts = {task.key: len(task.seeds) for task in experiment.tasks(TINY)}
    assert counts["net/arch=attention/alpha=0.5"] == 3
    assert counts["deep/arch=add/depth=2"] == 2
    assert counts["control/permuted/arch=concat"] == 2
    assert "control/untrained/arch=attention/alpha=1" not in counts
    assert counts["ablation/l2=0/weight_decay=1/arch=add"] == 2
    paper = PRESETS["paper"]
    assert (paper.modulus, paper.embedding, paper.train_share) == (59, 128, 0.9)
    assert (paper.learning_rate, paper.l2) == (7.5e-4, 1e-5)
    assert (paper.attention_learning_rate, paper.attention_l2) == (5e-4, 1e-4)
    assert paper.alphas == tuple(np.round(np.linspace(0, 1, 11), 1))


# --- One network ----------------------------------------------------------------------------------


def built(kind: Any = "disc", n: int = N, noise: float = 0.0, seed: int = 0) -> Network:
    """A hand-built network with five phases a frequency, perhaps with noise on its neurons."""
    net = method.handbuilt_net(n, (1, 3), 5, kind)
    pre, _ = method.forward(net)
    pre = pre + noise * np.random.default_rng(seed).normal(size=pre.shape)
    return Network(pre, net["U"], np.maximum(pre, 0) @ net["U"])


def test_a_cluster_of_an_ideal_pizza() -> None:
    net = built()
    clusters = method.cluster_by_frequency(net.pre)
    row = circuits.describe_cluster(net, clusters, 3)
    assert (row["f"], row["size"]) == (3, 5)
    exactly_one = ("r2", "rho", "pc2", "pre_cka_disc", "pre_rsm_disc")
    assert [row[name] for name in exactly_one] == pytest.approx([1] * 5)
    assert row["pre_cka_torus"] == pytest.approx(np.sqrt(0.5))
    assert row["second"] == pytest.approx(0, abs=1e-12)
    # Ideal output weights are cos and sin of 2 phi: the first order is invisible to them.
    assert row["seen_directions"] == 2 and row["seen_share"] < 1e-12
    assert row["shuffled_torus"] > row["pre_cka_torus"] + 0.1
    assert row["logits_cka_circle"] > 0.75


def test_a_cluster_of_an_ideal_torus() -> None:
    net = built("torus")
    row = circuits.describe_cluster(net, method.cluster_by_frequency(net.pre), 1)
    assert (row["pre_cka_torus"], row["pc4"]) == pytest.approx((1, 1))
    assert (row["rho"], row["pre_cka_disc"]) == pytest.approx((0, np.sqrt(0.5)), abs=1e-9)
    assert row["pc2"] == pytest.approx(0.5)
    assert row["hole"] > 0.8


def test_hole_of_an_annulus() -> None:
    n, f = 13, 2
    theta = 2 * np.pi * f * np.arange(n) / n
    total, gap = np.add.outer(theta, theta), np.subtract.outer(theta, theta)
    for size, hole in ((np.abs(np.cos(gap / 2)), oracle.annulus_hole(n)), (1 + 0 * gap, 1.0)):
        logits = size[..., None] * np.cos(theta - total[..., None])
        assert exact.annulus(logits, f) == pytest.approx(hole)
    assert np.isnan(exact.annulus(np.zeros((n, n, n)), f))


def test_major_clusters_and_counts_by_hand() -> None:
    freq = np.array([1] * 50 + [2] * 3 + [3] * 2 + [4])
    alive = np.arange(len(freq)) != 49
    r2 = np.where(freq == 2, 0.6, 0.99)
    members = {f: np.flatnonzero(alive & (freq == f)) for f in (1, 2, 3, 4)}
    found = method.Clusters(freq, r2, r2, alive, members)
    assert circuits.major(found, 0.01) == [1, 2]
    assert circuits.major(found, 0.06) == [1]
    table = circuits.count_table(found)
    assert table.tolist() == [[4, 2, 2, 2], [4, 2, 2, 2], [3, 1, 1, 1], [3, 1, 1, 1]]


def test_parts_of_a_neuron() -> None:
    n = 13
    theta = 2 * np.pi * np.arange(n) / n
    first = np.cos(2 * theta + 0.3)[:, None] + 0.7 * np.cos(2 * theta + 1)[None]
    second = 0.5 * np.cos(2 * np.add.outer(theta, theta) + 0.4)
    third = 0.2 * np.cos(np.add.outer(2 * theta, 5 * theta))
    pre, freq = (first + second + third + 0.1)[..., None], np.array([2])
    np.testing.assert_allclose(circuits._order_part(pre, freq, 1)[..., 0], first, atol=1e-12)
    np.testing.assert_allclose(circuits._order_part(pre, freq, 2)[..., 0], second, atol=1e-12)
    np.testing.assert_allclose(circuits._mixed(pre)[..., 0], second + third, atol=1e-12)


def test_summary_of_a_network() -> None:
    row = circuits.summary(built(), method.cluster_by_frequency(built().pre), TINY)
    assert (row["accuracy"], row["accuracy_second"], row["accuracy_mixed"]) == (1, 1, 1)
    assert row["accuracy_first"] < 0.5  # nothing is left of an ideal network
    assert row["clusters"] == 2 and row["alive"] == 10
    assert row["distance_argmax"] < 1 and row["distance_centroid"] < 1e-9
    assert row["pad_argmax"].sum() == row["distances_argmax"].sum() == 10
    torus = circuits.summary(built("torus"), method.cluster_by_frequency(built("torus").pre), TINY)
    assert torus["sum_share"] > 0.9 > row["sum_share"]
    assert torus["irrelevance"] > 0.8 > row["irrelevance"]


def test_summed_activity_of_an_ideal_pizza() -> None:
    n = 13
    net = method.handbuilt_net(n, (3,), 200, "disc")
    pre, logits = method.forward(net)
    found = circuits.activity(Network(pre, net["U"], logits), method.cluster_by_frequency(pre), [3])
    np.testing.assert_allclose(found["profile"], oracle.summed_activity(n), atol=1e-3)
    assert np.diag(found["heat"]) == pytest.approx(np.ones(n), abs=1e-3)


def test_a_dead_network_has_no_circuit_and_breaks_nothing() -> None:
    net = Network(-np.ones((N, N, 4)), np.ones((4, N)), np.zeros((N, N, N)))
    with pytest.warns(UserWarning, match="0/0"):
        row = trial.look_inside(net, TINY)
    assert row["clusters"] == row["alive"] == 0
    assert np.isnan(row["cluster_f"]).all() and np.isnan(row["distance_argmax"])
    frame = circuits.frame(net.pre, TINY)
    assert all(np.isfinite(value) for value in frame.values())


def test_too_small_for_topology() -> None:
    assert circuits.too_small(30, 0.95, PRESETS["cpu"]) == ""
    assert circuits.too_small(6, 0.95, PRESETS["cpu"]) == (
        "6 neurons are too few for topology, which needs at least 20."
    )
    assert "too rough" in circuits.too_small(30, 0.8, PRESETS["cpu"])


def test_counts_of_bars_at_other_thresholds() -> None:
    bars = [np.array([[0, 0.2], [0, np.inf]]), np.array([[0.1, 0.8]]), np.empty((0, 2))]
    assert circuits.recount(bars, 1.0) == (1, 1, 0)
    assert circuits.recount(bars, 1.25) == (1, 0, 0)


# --- Trained networks -----------------------------------------------------------------------------


SPECS = {
    alpha: ModelSpec(arch, N, d_embed=8, width=24, heads=2)
    for alpha, arch in ((0.0, "attn_uniform"), (1.0, "attn"))
}


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_uniform_attention_is_additive_and_learned_is_not(alpha: float) -> None:
    params = init(jax.random.key(0), SPECS[1.0])
    net = trial.network(params, SPECS[alpha], alpha)
    shifted = np.roll(net.pre, -1, axis=0)
    mixed = net.pre - shifted - np.roll(net.pre - shifted, -1, axis=1)
    if alpha == 0:
        assert np.abs(mixed).max() < 1e-5
    else:
        assert np.abs(mixed).max() > 1e-3
    # Beside the neurons, only the residual stream reaches the logits.
    rest = residual_logits(params, SPECS[alpha], np.float32(alpha) if alpha else None)
    np.testing.assert_allclose(net.logits - net.post @ net.out, rest, atol=1e-4)


def test_symmetricity_is_that_of_the_method() -> None:
    spec, alpha = SPECS[1.0], np.float32(0.7)
    params = init(jax.random.key(1), spec)
    ours = trial.symmetricity(params, spec, 0.7)
    theirs = method.gradient_symmetricity(
        lambda a, b: forward_embeddings(params, spec, a, b, alpha), params["E"], trial.TRIPLES
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


# --- Statistics -----------------------------------------------------------------------------------


def outcome(kind: str, seeds: int = 3, miss: int = 0) -> dict[str, np.ndarray]:
    """What a task returns, of hand-built networks with a little noise; `miss` of them failed."""
    rows = [trial.look_inside(built(kind, noise=0.05, seed=s), TINY) for s in range(seeds)]
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    perfect = (np.arange(seeds) >= miss).astype(float)
    curve = np.linspace(0, 1, 4)[None] * np.ones((seeds, 1))
    curve[perfect == 0] *= 0.9
    extra = {
        "perfect": perfect,
        "first_perfect": np.arange(seeds) + 5.0,
        "spikes": np.zeros(seeds),
        "symmetricity": np.full(seeds, 0.99 if kind == "disc" else 0.1),
    }
    return found | extra | {f"movie_{name}": curve for name in trial.MOVIE}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    disc, torus = outcome("disc"), outcome("torus")
    kinds = {v.key: torus if v.arch == "concat" else disc for v in TINY.variants}
    kinds["arch=add"] = outcome("disc", 5, miss=2)
    layers = {
        f"layer_{name}": np.full((2, 2, TINY.topology_clusters), 0.5) for name in trial.DEEP_COLUMNS
    }
    deep = layers | {"perfect": np.ones(2)}
    return (
        {"exact": experiment._exact(TINY)}
        | {f"net/{key}": value for key, value in kinds.items()}
        | {f"deep/{v.key}": deep for v in TINY.deep_variants}
        | {
            f"control/{control}/{v.key}": disc
            for control in TINY.controls
            for v in experiment.cheap_variants(TINY)
        }
        | {
            experiment.ablation_key(change, v): outcome("disc", 2, miss=1)
            for change in TINY.ablations
            for v in experiment.cheap_variants(TINY)
        }
    )


@pytest.fixture(scope="module")
def results(outcomes: dict[str, Any]) -> dict[str, np.ndarray]:
    return dict(experiment.collect(TINY, outcomes))


def test_networks_that_miss_are_counted_shown_and_excluded(
    outcomes: dict[str, Any], results: dict[str, np.ndarray]
) -> None:
    row = [str(v) for v in results["variants"]].index("MLP-Add")
    assert results["net/perfect"][row].tolist() == [0, 0, 1, 1, 1]
    assert np.isnan(results["net/perfect"][0]).tolist() == [False] * 3 + [True] * 2
    assert len(analysis.network_values(results, "irrelevance", "MLP-Add")) == 3
    net = outcomes["net/arch=add"]
    assert len(analysis.per_network(net, "rho")) == 3
    failed = results["movie/failed"]
    assert failed[:, 0].tolist() == [row, row] and failed[:, -1].tolist() == [0.9, 0.9]
    assert results["pad/argmax"][row].sum() == 3 * 10
    assert figures.steps_note(results).startswith("21 of 23 networks at 100 % test accuracy")


def test_clusters_are_weighted_by_size_within_a_network() -> None:
    net = {
        "perfect": np.array([1.0, 1.0, 0.0]),
        "cluster_size": np.array([[30, 10], [5, np.nan], [9, 9]]),
        "cluster_rho": np.array([[1.0, 0.2], [0.5, np.nan], [7, 7]]),
    }
    assert analysis.per_network(net, "rho").tolist() == pytest.approx([0.8, 0.5])
    assert analysis.per_network(net, "rho", weighted=False).tolist() == pytest.approx([0.6, 0.5])


def test_shares_of_betti_numbers() -> None:
    triples = np.array([[[1, 0, 0], [1, 1, 0]], [[1, 0, 2], [np.nan] * 3], [[np.nan] * 3] * 2])
    net = {f"cluster_pre_b{dim}": triples[..., dim] for dim in range(3)}
    net["perfect"] = np.ones(3)
    assert analysis.betti_shares(net, "pre").tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0, 1]]
    assert analysis.share_count(net, "pre") == 3


def test_discrepancy_of_variants(results: dict[str, np.ndarray]) -> None:
    names = [str(v) for v in results["variants"]]
    i, j = names.index("MLP-Concat"), names.index("MLP-Add")
    value, p = results["mmd/argmax"], results["mmd/p_argmax"]
    np.testing.assert_array_equal(value, value.swapaxes(0, 1))
    assert value[i, j, 0] > 0.1 and np.isnan(value[i, i, 0])
    assert p[i, j] == pytest.approx(2 / 20, abs=0.06)  # 3 against 3 networks
    points = [analysis._points(h) for h in np.array([[[0.0, 2], [1, 0]]])]
    np.testing.assert_allclose(points[0], np.pi * np.array([[0, 1], [0, 1], [1, 0]]))


def test_jackknife_is_the_standard_error_of_a_mean() -> None:
    """With a linear kernel MMD^2 would be a squared mean; here: against brute-force resampling."""
    rng = np.random.default_rng(0)
    groups = [rng.normal(x, 0.4, (30, 2)) for x in rng.normal(0, 0.3, 12)]
    groups += [rng.normal(x, 0.4, (30, 2)) for x in rng.normal(1.5, 0.3, 12)]
    error = analysis._jackknife(*method.kernel_sums(groups), 12)
    draws = []
    for _ in range(150):
        new = [rng.normal(x, 0.4, (30, 2)) for x in rng.normal(0, 0.3, 12)]
        new += [rng.normal(x, 0.4, (30, 2)) for x in rng.normal(1.5, 0.3, 12)]
        draws.append(method.permutation_test(*method.kernel_sums(new), 12, 1)[0])
    assert error == pytest.approx(np.std(draws), rel=0.5)


def test_frequencies_and_their_intervals(results: dict[str, np.ndarray]) -> None:
    used = results["frequency/used"]
    np.testing.assert_allclose(used[0, 0], [1, 0.4385, 1], atol=1e-4)  # Wilson, 3 of 3
    assert used[0, 1, 0] == 0
    assert results["frequency/number"][0].tolist() == [0, 0, 3, 0, 0, 0, 0]


def test_intervals() -> None:
    assert np.isnan(analysis.interval(np.array([np.nan]))).all()
    value, low, high = analysis.interval(np.array([1.0, 2.0, 3.0, np.nan]))
    assert low < value == 2 < high
    cells = analysis._cells(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert cells[0].tolist() == [2, 1, 3] and cells[1].tolist() == [5, 5, 5]
    assert np.isinf(analysis._cells(np.ones((1, 2)))[..., 1:]).all()


# --- Claims and figures ---------------------------------------------------------------------------


def test_claims_of_ideal_networks(results: dict[str, np.ndarray]) -> None:
    """Networks that are what the paper says are judged so; at n = 13 the numbers are coarser."""
    ledger = {row["id"]: Verdict(row["verdict"]) for row in judge(claims.CLAIMS, results)}
    assert [ledger[f"C{i}"] for i in (1, 2, 3, 4)] == [Verdict.REPRODUCED] * 4
    assert ledger["C8"] is Verdict.REPRODUCED
    assert ledger["C12"] is Verdict.REPRODUCED
    assert ledger["C10"] is Verdict.NOT_RUN  # topology is off
    assert ledger["C14"] is Verdict.REPRODUCED  # hand-built: all attention rates are the same


def test_nothing_is_decided_from_few_networks(outcomes: dict[str, Any]) -> None:
    few = {**outcomes, "net/arch=add": outcome("disc", 3, miss=2)}
    found = dict(experiment.collect(TINY, few))
    ledger = {row["id"]: Verdict(row["verdict"]) for row in judge(claims.CLAIMS, found)}
    assert all(ledger[f"C{i}"] is Verdict.NOT_RUN for i in (4, 5, 6, 7, 8, 9, 11, 12, 14))


def estimate(label: str, value: float, half: float = 0.01) -> Estimate:
    return Estimate(value, value - half, value + half, label)


def test_rules_at_their_edges() -> None:
    by_id = {claim.id: claim.judge for claim in claims.CLAIMS}
    own = [estimate(f"own, {name}", value) for name, value in measures.PAPER_CKA.items()]
    other = [estimate(f"other, {name}", 0.7) for name in measures.PAPER_CKA]
    assert by_id["C5"](own + other) is Verdict.REPRODUCED
    low = [estimate(e.label, e.value - 0.06) for e in own]
    assert by_id["C5"](low + other) is Verdict.PARTLY
    assert by_id["C5"](other_as_own(other) + own_as_other(own)) is Verdict.NOT_REPRODUCED
    shares = [estimate(f"layer 1: disc, {i}", 0.9) for i in range(4)]
    circles = [estimate(f"logits: circle, {i}", 0.9) for i in range(4)]
    assert by_id["C10"](shares + circles) is Verdict.REPRODUCED
    assert by_id["C10"]([*shares, estimate("logits: circle, 0", 0.5)]) is Verdict.PARTLY
    pairs = [("MLP-Concat / MLP-Add", 0.3), ("MLP-Add / Attention 0.0", 0.02),
             ("Attention 0.0 / Attention 1.0", 0.03)]  # fmt: skip
    for p, verdict in ((0.001, Verdict.REPRODUCED), (0.2, Verdict.PARTLY)):
        assert by_id["C9"]([estimate(f"{pair}, p={p}", v) for pair, v in pairs]) is verdict
    wide = [estimate(f"{pair}, p=0.001", v, 0.2) for pair, v in pairs]
    assert by_id["C9"](wide) is Verdict.NOT_REPRODUCED
    ends = [estimate(f"{what}, Attention {a}", v)
            for what in "sq" for a, v in (("0.0", 0.9), ("1.0", 0.5))]  # fmt: skip
    steps = [Estimate.exact(0.4, "largest step of s in the sweep")]
    assert by_id["C14"](ends + steps) is Verdict.PARTLY
    steps = [Estimate.exact(0.9, "largest step of s in the sweep")]
    assert by_id["C14"](ends + steps) is Verdict.NOT_REPRODUCED


def other_as_own(estimates: list[Estimate]) -> list[Estimate]:
    return [estimate(e.label.replace("other", "own"), e.value) for e in estimates]


def own_as_other(estimates: list[Estimate]) -> list[Estimate]:
    return [estimate(e.label.replace("own", "other"), e.value) for e in estimates]


def test_every_figure_draws(results: dict[str, np.ndarray], tmp_path: Path) -> None:
    bars = np.array([[0, 0.0, 0.3], [1, 0.2, 1.5]])
    full = {**results}
    for name in ("bars_pre", "bars_logits"):
        full[name] = np.full_like(results[name], np.nan)
        full[name][:, :2] = bars
    full |= {f"betti/{where}": np.full((7, 4, 3), 0.25) for where in ("pre", "logits")}
    full["cluster/pre_stable"] = np.ones(3)
    drawn = dict(figures.figures(full))
    assert sorted(drawn) == sorted(figures.DRAWINGS)
    for name, fig in drawn.items():
        files = plotting.save(fig, tmp_path / name)
        assert all(path.stat().st_size > 5000 for path in files)
    assert "betti" not in dict(figures.figures({**results}))


def test_variant_order_is_kept(results: dict[str, np.ndarray]) -> None:
    assert [Variant(str(a), float(x)).name for a, x in
            zip(results["arch"], results["alpha"], strict=True)] == [
                str(v) for v in results["variants"]]  # fmt: skip
