"""Contributions, ablations, substitutions: on networks written down, and by brute force."""

import numpy as np
import pytest
from scipy.special import log_softmax

from shared.experiment.errors import BadInput
from shared.groups.circuits import (
    ablate_neurons,
    ablations,
    class_means,
    cluster_logits,
    contributions,
    margins,
    network_logits,
    score,
    substitute,
)
from shared.groups.clusters import find_clusters
from shared.groups.group import cyclic
from shared.groups.irreps import common_kernel, real_irreps
from shared.groups.isotypic import irrep_neurons
from shared.groups.neurons import cyclic_neurons, first_order
from tests.shared.groups.built import Network, by_irreps, pizza, torus
from tests.shared.groups.known import group
from tests.shared.groups.test_neurons import grid, noise

Z59 = cyclic(59)


# --- networks of a paper --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "accuracy", "mean", "least"),
    [
        (pizza(59, (6, 7, 17), 16), 1.0, 0.1023, 0.0141),
        (torus(59, (6, 7, 17), 8), 1.0, 0.1186, 0.1149),
        (pizza(59, (1,), 8), 0.8305, None, None),
        (pizza(59, (1,), 5), 1.0, None, None),
    ],
)
def test_ideal_cyclic_networks(
    made: Network, accuracy: float, mean: float | None, least: float | None
) -> None:
    left, right, out = made
    found = score(network_logits((left, right), out), Z59.table)
    assert found.accuracy == pytest.approx(accuracy, abs=5e-5)
    if mean is not None:
        assert found.margin == pytest.approx(mean, abs=5e-5)
        assert found.least_margin == pytest.approx(least, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "irreps", "least"),
    [
        ("D18", ["2D_4", "2D_5", "2D_6", "rp"], 3.2371),
        ("D17", ["2D_3", "2D_4", "2D_5"], 3.1781),
        ("D24", ["2D_2", "2D_3", "2D_8", "rp", "srp"], 2.1088),
    ],
)
def test_ideal_dihedral_networks(name: str, irreps: list[str], least: float) -> None:
    made = group(name)
    left, right, out = by_irreps(made, irreps)
    found = score(network_logits((left, right), out), made.table)
    assert found.accuracy == 1
    assert found.least_margin == pytest.approx(least, abs=5e-5)


def test_a_clusters_absence_leaves_as_many_candidates_as_the_kernels_share() -> None:
    """Without 2D_3 the kernels of 2D_2, 2D_8, rp and srp of D_24 meet in {e, r^12}."""
    made = group("D24")
    names = ["2D_2", "2D_3", "2D_8", "rp", "srp"]
    left, right, out = by_irreps(made, names)
    neurons = irrep_neurons(made, (left, right))
    clusters = find_clusters(neurons)
    parts = contributions((left, right), out, clusters)
    found = ablations(parts, made.table)
    assert found.full.accuracy == 1
    irreps = {rho.name: rho for rho in real_irreps(made)}
    for k, name in enumerate(clusters.names(made)):
        others = common_kernel(made, [irreps[other] for other in names if other != name])
        if len(others) == 1:
            assert found.without[k, 0] == 1
            assert found.without[k, 3] > 0
        else:  # a tie between the candidates: the margin is zero up to rounding
            assert name == "2D_3" and len(others) == 2
            assert abs(found.without[k, 3]) < 1e-9
        alone = len(common_kernel(made, [irreps[name]]))
        assert (alone == 1) == (found.alone[k, 0] == 1)
    assert not parts[-1].any()


# --- contributions --------------------------------------------------------------------------


def brute(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    n, m = left.shape
    logits = np.zeros((n, n, n))
    for a in range(n):
        for b in range(n):
            for j in range(m):
                logits[a, b] += max(0.0, left[a, j] + right[b, j]) * out[j]
    return logits


def test_logits_by_brute_force_and_from_the_grid() -> None:
    left, right, out = noise(6, 9), noise(6, 9, seed=1), noise(9, 6, seed=2)
    wanted = brute(left, right, out)
    assert np.allclose(network_logits((left, right), out), wanted, rtol=0, atol=1e-12)
    assert np.allclose(network_logits(grid(left, right), out), wanted, rtol=0, atol=1e-12)
    assert np.allclose(network_logits((left, right), out, noise(6)), wanted + noise(6))
    of_b = noise(6, 6)[None]
    assert np.allclose(network_logits((left, right), out, of_b), wanted + of_b)


@pytest.mark.parametrize("block", [1, 500, 2**20])
def test_clusters_and_the_rest_sum_to_the_logits(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.groups.preactivations.BLOCK", block)
    left, right, out = noise(11, 30), noise(11, 30, seed=1), noise(30, 11, seed=2)
    left[:, :5] -= 20  # dead: in no cluster
    bias = noise(11, seed=3)
    clusters = find_clusters(cyclic_neurons((left, right)))
    for pre in ((left, right), grid(left, right)):
        parts = contributions(pre, out, clusters)
        assert len(parts) == len(clusters) + 1
        wanted = network_logits(pre, out, bias)
        assert np.allclose(parts.sum(axis=0) + bias, wanted, rtol=0, atol=1e-12)
        for part, members in zip(parts, clusters.members, strict=False):
            assert np.allclose(part, cluster_logits(pre, out, members))
    assert np.allclose(wanted, brute(left, right, out) + bias)


def test_a_mask_and_indices_choose_the_same_neurons() -> None:
    left, right, out = noise(5, 8), noise(5, 8, seed=1), noise(8, 5, seed=2)
    chosen = np.array([1, 4, 6])
    mask = np.isin(np.arange(8), chosen)
    assert np.allclose(
        cluster_logits((left, right), out, chosen), cluster_logits((left, right), out, mask)
    )
    wanted = brute(left[:, chosen], right[:, chosen], out[chosen])
    assert np.allclose(cluster_logits((left, right), out, mask), wanted)
    assert not cluster_logits((left, right), out, np.zeros(8, bool)).any()


def test_permuting_neurons_changes_nothing() -> None:
    left, right, out = torus(13, (2, 5), 4)
    shuffle = np.random.default_rng(0).permutation(len(out))
    tables = []
    for order in (np.arange(len(out)), shuffle):
        pre = left[:, order], right[:, order]
        clusters = find_clusters(cyclic_neurons(pre))
        parts = contributions(pre, out[order], clusters)
        tables.append((clusters.label, ablations(parts, cyclic(13).table).without))
    assert np.array_equal(tables[0][0], tables[1][0])
    assert np.allclose(tables[0][1], tables[1][1])


# --- scores ---------------------------------------------------------------------------------


def test_margins_and_scores_by_hand() -> None:
    table = cyclic(2).table
    logits = np.array([[[2.0, 0.5], [1.0, 3.0]], [[0.0, 0.0], [-1.0, 4.0]]])
    assert margins(logits, table).tolist() == [[1.5, 2.0], [0.0, -5.0]]
    found = score(logits, table)
    assert found.accuracy == 0.5  # the tie is wrong
    assert found.margin == pytest.approx(-0.375)
    assert found.least_margin == -5
    losses = [np.log1p(np.exp(-m)) for m in (1.5, 2.0, 0.0, -5.0)]
    assert found.loss == pytest.approx(np.mean(losses))
    mask = np.array([[True, False], [False, True]])
    assert score(logits, table, mask) == pytest.approx(
        (0.5, (losses[0] + losses[3]) / 2, -1.75, -5.0)
    )
    with pytest.raises(BadInput, match="mask is empty"):
        score(logits, table, np.zeros((2, 2), bool))


def test_the_loss_is_exact_where_it_is_tiny_or_huge() -> None:
    made = group("S3")
    logits = 30 * noise(6, 6, 6)
    correct = log_softmax(logits, axis=2)[np.arange(6)[:, None], np.arange(6), made.table]
    assert score(logits, made.table).loss == pytest.approx(-correct.mean(), rel=1e-12)
    sure = np.zeros((6, 6, 6))
    np.put_along_axis(sure, made.table[..., None].astype(int), 40.0, 2)
    assert score(sure, made.table).loss == pytest.approx(5 * np.exp(-40), rel=1e-9)
    assert score(-1e4 * sure, made.table).loss == pytest.approx(4e5 + np.log(5))


def test_class_means() -> None:
    made = group("S3")
    values = noise(6, 6, 4)
    found = class_means(values, made.table)
    for c in range(6):
        pairs = [values[a, b] for a in range(6) for b in range(6) if made.table[a, b] == c]
        assert len(pairs) == 6
        assert np.allclose(found[c], np.mean(pairs, axis=0))
    of_the_product = noise(6, 3, seed=1)
    assert np.allclose(class_means(of_the_product[made.table], made.table), of_the_product)


# --- interventions --------------------------------------------------------------------------


def test_exact_fits_leave_a_network_as_it_is_and_wrong_ones_do_not() -> None:
    left, right, out = torus(59, (6, 7, 17), 5)
    pre, label = (left, right), cyclic_neurons((left, right)).label
    fit = first_order(pre, label)
    assert np.allclose(network_logits(fit, out), network_logits(pre, out), rtol=0, atol=1e-10)
    kept = substitute(pre, fit, out, Z59.table)
    assert kept == pytest.approx(score(network_logits(pre, out), Z59.table), abs=1e-10)
    wrong = first_order(pre, label + 1)
    assert substitute(pre, wrong, out, Z59.table).accuracy < 0.1


def test_substituting_some_neurons() -> None:
    left, right, out = noise(7, 12), noise(7, 12, seed=1), noise(12, 7, seed=2)
    pre, bias, table = (left, right), noise(7, seed=3), cyclic(7).table
    fit = first_order(pre, cyclic_neurons(pre).label)
    some = np.arange(12) < 5
    mixed = tuple(np.where(some, new, old) for new, old in zip(fit, pre, strict=True))
    wanted = score(network_logits((mixed[0], mixed[1]), out, bias), table)
    assert substitute(pre, fit, out, table, bias, some) == pytest.approx(wanted)
    assert substitute(grid(*pre), grid(*fit), out, table, bias, some) == pytest.approx(wanted)
    everything = score(network_logits(fit, out, bias), table)
    assert substitute(pre, fit, out, table, bias) == pytest.approx(everything)
    with pytest.raises(BadInput, match=r"The fit is of \(7, 5\)"):
        substitute(pre, (left[:, :5], right[:, :5]), out, table)


def test_ablating_neurons_and_clusters_agree() -> None:
    left, right, out = torus(13, (2, 5), 4)
    pre, table, bias = (left, right), cyclic(13).table, noise(13) / 50
    clusters = find_clusters(cyclic_neurons(pre))
    found = ablations(contributions(pre, out, clusters), table, bias)
    gone = np.stack([np.isin(np.arange(len(out)), m) for m in clusters.members])
    assert np.allclose(ablate_neurons(pre, out, table, gone, bias), found.without[:-1])
    assert np.allclose(found.without[-1], found.full)  # no other neurons
    other = ablate_neurons(pre, out, table, gone[::-1].copy(), bias)
    assert np.allclose(other, found.alone[:-1])  # two clusters: without one is the other alone
    assert found.alone[-1] == pytest.approx(
        score(np.broadcast_to(bias, (13, 13, 13)), table), abs=1e-12
    )


def test_bad_input() -> None:
    pre = noise(5, 3), noise(5, 3)
    with pytest.raises(BadInput, match=r"of 3 neurons are \[3, 5\]; these are \[4, 5\]"):
        network_logits(pre, noise(4, 5))
    with pytest.raises(BadInput, match=r"broadcast to \[5, 5, 5\]; it is \[4\]"):
        network_logits(pre, noise(3, 5), np.zeros(4))
    with pytest.raises(BadInput, match="a mask or by indices; got float64"):
        network_logits(pre, noise(3, 5), 0.0, np.ones(3))
