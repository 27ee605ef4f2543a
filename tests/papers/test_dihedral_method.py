"""The dihedral method against numbers by hand, naive re-derivations and its own symmetries."""

from itertools import product

import numpy as np
import pytest

from papers.dihedral import method
from papers.dihedral.cycles import evenness, is_coset_cycle
from papers.dihedral.method import (
    ablate,
    accuracy,
    approx_coset,
    cayley_test,
    class_means,
    clusters,
    contributions,
    coset_score,
    cosets,
    energy,
    gft,
    gft2,
    grid_energies,
    ideal_logits,
    igft,
    inverse,
    irrep_2d,
    irreps,
    is_arc,
    is_cayley,
    label_neurons,
    margin,
    mult_table,
    pre_activations,
    step_size,
    subgroups,
    summary,
    table_energies,
)
from papers.dihedral.oracle import construct, named
from shared.groups import cayley_graph, dihedral, irrep_neurons, real_irreps, spectrum
from shared.groups import class_means as shared_class_means

Array = np.ndarray
SIZES = (5, 6, 12, 17, 18)


def sentence(error: pytest.ExceptionInfo[ValueError]) -> str:
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", "Z_2."))
    return message


# --- The group ------------------------------------------------------------------------------------


def test_table_by_its_quadrants() -> None:
    table = mult_table(7)
    for k, m in product(range(7), repeat=2):
        assert table[k, m] == (k + m) % 7  # r^k r^m
        assert table[k, 7 + m] == 7 + (m - k) % 7  # r^k s r^m = s r^{m-k}
        assert table[7 + k, m] == 7 + (k + m) % 7  # s r^k r^m
        assert table[7 + k, 7 + m] == (m - k) % 7  # s r^k s r^m = r^{m-k}
    np.testing.assert_array_equal(table, dihedral(7).table)


@pytest.mark.parametrize("n", SIZES)
def test_inverse_and_associativity(n: int) -> None:
    table, inv = mult_table(n), inverse(n)
    assert not table[np.arange(2 * n), inv].any()
    np.testing.assert_array_equal(table[table], table[:, table])  # (a b) c = a (b c), all triples


@pytest.mark.parametrize("n", SIZES)
def test_irreps_are_homomorphisms_and_orthogonal(n: int) -> None:
    table, reps = mult_table(n), irreps(n)
    entries = []
    for rho in reps:
        products = np.einsum("gij,hjk->ghik", rho.mats, rho.mats)
        assert np.abs(rho.mats[table] - products).max() < 1e-12
        entries.append(rho.mats.reshape(2 * n, -1) * np.sqrt(rho.dim / (2 * n)))
    basis = np.concatenate(entries, axis=1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2 * n), atol=1e-12)  # Schur: |G|/d


@pytest.mark.parametrize(
    ("n", "count"), [(5, 4), (6, 6), (12, 9), (17, 10), (18, 12), (24, 15), (30, 18)]
)
def test_number_of_irreps(n: int, count: int) -> None:
    reps = irreps(n)
    assert len(reps) == count and sum(rho.dim**2 for rho in reps) == 2 * n
    for ours, shared in zip(reps, real_irreps(dihedral(n)), strict=True):
        assert ours.name == shared.name and ours.freq == shared.frequency
        np.testing.assert_allclose(ours.mats, shared.mats, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "count", "all_cosets"),
    [(12, 34, 266), (17, 20, 326), (18, 45, 533), (24, 68, 970), (30, 80, None)],
)
def test_subgroups_and_their_cosets(n: int, count: int, all_cosets: int | None) -> None:
    found = subgroups(n)
    assert len(found) == count  # tau(n) + sigma(n)
    if all_cosets is not None:
        assert sum(len(cosets(n, h)) for h in found) == all_cosets  # 2 sigma(n) + sigma_2(n)


def test_left_and_right_cosets_of_a_reflection_differ() -> None:
    left = [c.tolist() for c in cosets(5, [0, 5], "left")]
    right = [c.tolist() for c in cosets(5, [0, 5], "right")]
    assert [1, 9] in left  # r s = s r^-1
    assert [1, 6] in right  # s r
    assert left != right


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [
        (18, 5, (1, 18, 11)),
        (18, 7, (1, 18, 13)),
        (18, 8, (2, 9, 7)),
        (18, 4, (2, 9, 5)),
        (18, 6, (6, 3, 1)),
        (17, 3, (1, 17, 6)),
        (24, 10, (2, 12, 5)),
        (30, 7, (1, 30, 13)),
        (66, 11, (11, 6, 1)),
    ],
)
def test_step_sizes(n: int, k: int, expected: tuple[int, int, int]) -> None:
    assert step_size(k, n) == expected
    g, period, d = expected
    turned = irrep_2d(k, n).mats[d % n] if k <= (n - 1) // 2 else None
    if turned is not None:
        np.testing.assert_allclose(turned[0, 0], np.cos(2 * np.pi / period), atol=1e-12)
        np.testing.assert_allclose(turned[1, 0], np.sin(2 * np.pi / period), atol=1e-12)
    kernel = np.arange(0, n, period)
    assert len(kernel) == g


def test_kernels() -> None:
    kernels = {rho.name: rho.kernel.tolist() for rho in irreps(6)}
    assert kernels["sign"] == list(range(6))
    assert kernels["rp"] == [0, 2, 4, 6, 8, 10]  # <r^2, s>
    assert kernels["srp"] == [0, 2, 4, 7, 9, 11]  # <r^2, s r>
    assert kernels["2D_2"] == [0, 3] and kernels["2D_1"] == [0]


def test_approximate_coset_by_hand() -> None:
    wave = np.cos(2 * np.pi * 5 * np.arange(18) / 18)
    active = np.flatnonzero(wave > 0.01)
    assert active.tolist() == [0, 3, 4, 7, 8, 10, 11, 14, 15]
    assert approx_coset(0, 4, 4, 11, 18).tolist() == active.tolist()
    assert approx_coset(2, 0, 0, 11, 18).tolist() == [2]


# --- Fourier --------------------------------------------------------------------------------------

F = np.concatenate([np.arange(5.0), np.arange(5.0) ** 2])


def test_transform_by_hand() -> None:
    found = gft(F)
    np.testing.assert_allclose(found["triv"], [[40]])
    np.testing.assert_allclose(found["sign"], [[-20]])
    first = [[-7.763932, 20.645729], [13.763819, 2.763932]]
    second = [[-12.236068, 4.873795], [3.249197, 7.236068]]
    np.testing.assert_allclose(found["2D_1"], first, atol=1e-6)
    np.testing.assert_allclose(found["2D_2"], second, atol=1e-6)
    np.testing.assert_allclose(energy(F).sum(), 384)
    np.testing.assert_allclose(igft(found, irreps(5)), F, atol=1e-12)


def test_convolution_theorem_in_this_order_only() -> None:
    h, table, inv = np.cos(np.arange(10.0)), mult_table(5), inverse(5)
    both = np.array([sum(F[a] * h[table[inv[a], x]] for a in range(10)) for x in range(10)])
    np.testing.assert_allclose(both[:4], [-13.632665, -8.431527, 10.745065, 21.97737], atol=1e-6)
    f_hat, h_hat, both_hat = gft(F), gft(h), gft(both)
    for name in f_hat:
        np.testing.assert_allclose(both_hat[name], f_hat[name] @ h_hat[name], atol=1e-10)
    assert np.abs(both_hat["2D_1"] - h_hat["2D_1"] @ f_hat["2D_1"]).max() > 1


def test_energy_on_pairs_sees_axes_and_diagonal() -> None:
    reps, table = irreps(6), mult_table(6)
    rho = reps[-1].mats[:, 0, 1]
    on_a = gft2(np.repeat(rho[:, None], 12, 1), reps)
    on_ab = gft2(rho[table], reps)
    assert on_a[-1, 0] == pytest.approx(12 * (rho**2).sum())
    assert on_ab[-1, -1] == pytest.approx(12 * (rho**2).sum())
    assert on_a.sum() == pytest.approx(on_a[-1, 0]) and on_ab.sum() == pytest.approx(on_ab[-1, -1])
    rng = np.random.default_rng(0)
    f = rng.normal(size=(12, 12, 3))
    np.testing.assert_allclose(gft2(f, reps).sum((0, 1)), (f**2).sum((0, 1)))


def test_grid_energies_reduce_to_table_energies() -> None:
    rng, reps = np.random.default_rng(1), irreps(6)
    left, right = rng.normal(size=(2, 12, 5))
    ours = table_energies(left, right, reps)
    grid = grid_energies(left[:, None] + right + 3.0, reps)
    for a, b in zip(ours, grid, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


# --- From neurons to graphs -----------------------------------------------------------------------

NET = construct(18, ("rp", "2D_4", "2D_5", "2D_6"), (6, 6, 6))
TABLE, REPS = mult_table(18), irreps(18)


def labels_of(net: method.Net, n: int = 18, live: float = method.LIVE) -> method.Labels:
    reps = irreps(n)
    peak = np.maximum(pre_activations(net), 0).max((0, 1))
    return label_neurons(table_energies(net.left, net.right, reps), peak, net.out, reps, live)


def test_labels_agree_with_the_shared_core() -> None:
    labels = labels_of(NET)
    assert labels.live.all() and labels.agree.all() and labels.out_agree.all()
    np.testing.assert_allclose(labels.share, 1)
    shared = irrep_neurons(dihedral(18), (NET.left, NET.right))
    np.testing.assert_array_equal(labels.irrep, shared.label)


def test_a_constant_in_an_output_row_is_not_an_irrep() -> None:
    """Softmax does not see it."""
    shift = 3 * np.random.default_rng(7).normal(size=(NET.out.shape[0], 1))
    shifted = labels_of(NET._replace(out=NET.out + shift), live=0.0)
    assert shifted.out_agree.all()
    np.testing.assert_allclose(shifted.out_share, labels_of(NET, live=0.0).out_share, atol=1e-9)


def test_a_neuron_of_two_irreps_is_mixed_and_a_weak_one_dead() -> None:
    left, right, out = (x.copy() for x in (NET.left, NET.right, NET.out))
    left[:, 10], right[:, 10] = REPS[5].mats[:, 0, 0], REPS[7].mats[:, 0, 0]
    out[20] *= 1e-4
    labels = labels_of(NET._replace(left=left, right=right, out=out))
    assert labels.live[10] and labels.irrep[10] == -1 and not labels.agree[10]
    assert labels.share[10] == 0
    assert not labels.live[20] and labels.irrep[20] == -1
    found = clusters(labels, REPS)
    assert 10 not in np.concatenate(list(found.values()))


def test_filters_of_clusters() -> None:
    labels = labels_of(NET)
    assert list(clusters(labels, REPS)) == ["rp", "2D_4", "2D_5", "2D_6"]
    assert list(clusters(labels, REPS, least_size=3)) == ["2D_4", "2D_5", "2D_6"]
    assert clusters(labels, REPS, least_share=1.1) == {}


def test_contributions_sum_to_the_logits() -> None:
    rng = np.random.default_rng(2)
    net = NET._replace(out_bias=rng.normal(size=36))
    post = np.maximum(pre_activations(net), 0)
    parts = contributions(post, net.out, clusters(labels_of(net), REPS))
    np.testing.assert_allclose(parts.sum(0) + net.out_bias, method.logits(net), atol=1e-5)
    assert contributions(post, net.out, {}).shape == (0, 36, 36, 36)


def test_class_means_against_loops_and_the_shared_core() -> None:
    rng, table = np.random.default_rng(3), mult_table(3)
    part = rng.normal(size=(6, 6, 6))
    means, share = class_means(part, table)
    centred = part - part.mean((0, 1))
    centred -= centred.mean(-1, keepdims=True)
    for c in range(6):
        rows = [centred[a, b] for a in range(6) for b in range(6) if table[a, b] == c]
        np.testing.assert_allclose(means[c], np.mean(rows, axis=0))
    np.testing.assert_allclose(means, shared_class_means(centred, table), atol=1e-12)
    assert share == pytest.approx((means**2).sum() * 6 / (centred**2).sum())
    of_answer, whole = class_means(means[table], table)
    assert whole == pytest.approx(1.0)
    np.testing.assert_allclose(of_answer, means, atol=1e-12)


@pytest.mark.parametrize(("n", "k"), [(18, 5), (18, 4), (18, 6), (17, 3), (24, 6), (24, 10)])
def test_the_ideal_cluster_is_a_cayley_graph(n: int, k: int) -> None:
    chi, table = irrep_2d(k, n).character, mult_table(n)
    means = chi[table[inverse(n)]]  # chi(c^{-1} x)
    test = is_cayley(means, k, n)
    assert test.passes()
    assert test.within < 1e-12 and test.neighbours == 1 and test.spectrum < 1e-9
    assert test.correlation == pytest.approx(1) and test.fit == pytest.approx(1)
    assert test.character == pytest.approx(1)
    assert not is_coset_cycle(means, k, n).passes()


def test_a_wrong_irrep_a_wrong_step_and_noise_fail() -> None:
    means = irrep_2d(5, 18).character[TABLE[inverse(18)]]
    wrong = is_cayley(means, 7, 18)
    assert not wrong.passes() and wrong.neighbours < 0.5 and wrong.fit < 1e-9
    assert not is_cayley(means, 4, 18).passes()  # it tells kernel cosets' elements apart
    noise = np.random.default_rng(4).normal(size=(36, 36))
    assert not is_cayley(noise, 5, 18).passes()
    swapped = is_cayley(means[np.r_[11, *range(1, 11), 0, *range(12, 36)]], 5, 18)
    assert swapped.correlation > 0.95 and swapped.within < 1e-9 and swapped.neighbours < 1
    assert not swapped.passes()  # two vertices next to each other have changed places


@pytest.mark.parametrize(("n", "k"), [(18, 5), (18, 4), (24, 10)])
def test_cycles_and_the_edges_by_s_make_a_prism(n: int, k: int) -> None:
    """The graph whose spectrum is compared: rings of steps r^{+-d} and edges x, x s."""
    table, rho = mult_table(n), irrep_2d(k, n)
    blocks = np.array(method.coset_list(table[:, rho.kernel]))
    added = method.convention_edges(table, blocks, n)
    assert (added == added.T).all() and (added.sum(1) == 1).all()
    _, period, d = step_size(k, n)
    place = {int(x): i for i, block in enumerate(blocks) for x in block}
    for x in range(2 * n):
        assert added[place[x], place[int(table[x, n])]]
    ring = np.zeros_like(added)
    for x in blocks[:, 0]:
        ring[place[int(x)], place[int(table[x, d])]] = True
    graph = (ring | ring.T | added).astype(float)
    turns = 2 * np.cos(2 * np.pi * np.arange(period) / period)
    np.testing.assert_allclose(np.linalg.eigvalsh(graph), np.sort(np.r_[turns + 1, turns - 1]),
                               atol=1e-9)  # fmt: skip


def test_spectrum_of_the_graph_that_is_read_off() -> None:
    """Cay(D_{n'}, {r^{+-d}, s}) is the prism: 2 cos(2 pi j/n') +- 1."""
    expected = {3: [-2, -2, 0, 0, 1, 3], 4: [-3, -1, -1, -1, 1, 1, 1, 3]}
    for n, values in expected.items():
        graph = cayley_graph(dihedral(n), (1, n - 1, n))
        np.testing.assert_allclose(spectrum(graph.adjacency), values, atol=1e-9)
    nine = spectrum(cayley_graph(dihedral(9), (1, 8, 9)).adjacency)
    turns = 2 * np.cos(2 * np.pi * np.arange(9) / 9)
    np.testing.assert_allclose(nine, np.sort(np.r_[turns + 1, turns - 1]), atol=1e-9)
    np.testing.assert_allclose(nine[[0, 1, -1]], [-2.879385, -2.879385, 3], atol=1e-6)
    ten = spectrum(cayley_graph(dihedral(5), (5, 6)).adjacency)
    np.testing.assert_allclose(ten[[0, 1, 2, -1]], [-2, -1.618034, -1.618034, 2], atol=1e-6)


@pytest.mark.parametrize(("angles", "side"), [((8, 8, 2), "left"), ((2, 8, 8), "right")])
def test_a_cluster_of_one_direction_is_a_cycle_of_cosets(
    angles: tuple[int, int, int], side: str
) -> None:
    """z = +-(1, 0) only: s fixes it, so the cluster knows x <ker, s>; x = +-(1, 0): <ker, s> x."""
    net = construct(18, ("2D_4",), angles)
    means, _ = class_means(method.logits(net), TABLE)
    assert not is_cayley(means, 4, 18).passes()
    cycle = is_coset_cycle(means, 4, 18)
    assert cycle.passes() and (cycle.side, cycle.reflection) == (side, 0)
    p, q = evenness(means, irrep_2d(4, 18))
    assert (p < 1e-9) == (side == "left") and (q < 1e-9) == (side == "right")
    full, _ = class_means(method.logits(construct(18, ("2D_4",), (8, 8, 8))), TABLE)
    assert min(evenness(full, irrep_2d(4, 18))) > 0.99


def test_coset_scores_by_hand() -> None:
    t = 2 * np.pi * 6 * np.arange(18) / 18
    vec = np.concatenate([np.cos(t), np.cos(t + 1)])
    turns = {t: np.arange(0, 18, 18 // t) for t in (2, 3, 6, 9, 18)}
    for size, value in ((2, 0), (3, 0), (6, 0), (9, 1), (18, 1)):
        assert coset_score(vec, 18, turns[size]) == pytest.approx(value, abs=1e-9)
    assert coset_score(vec, 18, [0, 18], "left") == pytest.approx(0.229849, abs=1e-6)
    assert coset_score(vec, 18, [0, 19], "left") == pytest.approx(0.999443, abs=1e-6)


def test_arcs() -> None:
    wave = np.cos(2 * np.pi * 5 * np.arange(18) / 18) > 0.01
    arc, some = is_arc(np.stack([wave, ~wave, wave & False, wave | True]), 5, 18)
    assert arc.tolist() == [True] * 4 and some.tolist() == [True, True, False, False]
    broken = wave.copy()
    broken[0] = False  # a hole in the middle of the path
    assert not is_arc(broken, 5, 18)[0]
    assert not is_arc(wave, 4, 18)[0]  # no union of cosets of {0, 9}
    coset = np.isin(np.arange(18) % 9, [2, 7])  # 2 and 2 + d with d = 5
    assert is_arc(coset, 4, 18)[0] and not is_arc(coset, 2, 18)[0]


# --- Divide and conquer ---------------------------------------------------------------------------


def test_ablation_against_loops() -> None:
    n, names = 12, ("rp", "2D_2", "2D_3")
    net, table, reps, inv = construct(n, names, (6, 6, 6)), mult_table(n), irreps(n), inverse(n)
    found = clusters(labels_of(net, n), reps)
    parts = contributions(np.maximum(pre_activations(net), 0), net.out, found)
    chosen = named(reps, names)
    done = ablate(parts, [rho.kernel for rho in chosen], table)
    assert len(done.accuracy) == 7
    for kept, hit, predicted, modulo in zip(*done, strict=True):
        inside = set(range(2 * n))
        for i in np.flatnonzero(kept):
            inside &= set(chosen[i].kernel.tolist())
        guess = parts[kept].sum(0).argmax(-1)
        pairs = list(product(range(2 * n), repeat=2))
        right = [guess[a, b] == table[a, b] for a, b in pairs]
        near = [table[inv[guess[a, b]], table[a, b]] in inside for a, b in pairs]
        assert hit == pytest.approx(np.mean(right)) and modulo == pytest.approx(np.mean(near))
        assert predicted == pytest.approx(1 / len(inside))
    by_size = {
        tuple(kept): len_ for kept, len_ in zip(done.kept.tolist(), done.predicted, strict=True)
    }
    assert by_size[False, True, True] == 1.0  # <r^6> and <r^4> meet in e
    assert by_size[False, True, False] == 0.5 and by_size[True, False, False] == 1 / 12


def test_many_clusters_are_left_out_one_by_one() -> None:
    parts = np.random.default_rng(5).normal(size=(4, 6, 6, 6))
    kernels = [np.array([0])] * 4
    assert len(ablate(parts, kernels, mult_table(3), most=4).accuracy) == 15
    assert len(ablate(parts, kernels, mult_table(3), most=3).accuracy) == 9


def test_ideal_logits_find_their_weights() -> None:
    chosen = named(REPS, ("2D_4", "2D_5"))
    inv = inverse(18)
    parts = np.stack([w * rho.character[TABLE[inv]][TABLE]
                      for w, rho in zip((2.0, 0.5), chosen, strict=True)])  # fmt: skip
    total, weights = ideal_logits(parts, chosen, TABLE)
    np.testing.assert_allclose(weights, [2, 0.5])
    np.testing.assert_allclose(total, parts.sum(0), atol=1e-9)
    assert accuracy(total, TABLE) == 1.0
    best, second = np.sort(total[3, 20])[::-1][:2]
    assert margin(total, TABLE) == pytest.approx(best - second)


def test_hidden_units_may_change_places() -> None:
    rng = np.random.default_rng(6)
    order = rng.permutation(NET.out.shape[0])
    noise = 1e-3 * rng.normal(size=(2, *NET.left.shape))  # no ties
    net = NET._replace(left=NET.left + noise[0], out=NET.out + noise[1].T)
    moved = net._replace(left=net.left[:, order], right=net.right[:, order],
                         bias=net.bias[order], out=net.out[order])  # fmt: skip
    rotations = np.arange(36) < 18
    a, b = (summary(one, TABLE, REPS, rotations) for one in (net, moved))
    assert (a.names, a.sizes, a.without, a.alone) == (b.names, b.sizes, b.without, b.alone)
    np.testing.assert_allclose(np.array(a.cayley), np.array(b.cayley), atol=1e-6)
    np.testing.assert_allclose(a.answer, b.answer)


def test_an_automorphism_of_the_group_relabels_the_clusters() -> None:
    phi = np.concatenate([5 * np.arange(18) % 18, 18 + 5 * np.arange(18) % 18])
    assert (phi[TABLE] == TABLE[np.ix_(phi, phi)]).all()
    moved = NET._replace(left=NET.left[phi], right=NET.right[phi], out=NET.out[:, phi])
    rotations = np.arange(36) < 18
    a, b = (summary(net, TABLE, REPS, rotations) for net in (NET, moved))
    image = {"rp": "rp", "2D_4": "2D_2", "2D_5": "2D_7", "2D_6": "2D_6"}  # k -> 5 k, folded
    assert {image[name] for name in a.names} == set(b.names)
    place = [b.names.index(image[name]) for name in a.names]
    assert a.sizes == tuple(b.sizes[i] for i in place)
    np.testing.assert_allclose(np.array(a.cayley), np.array(b.cayley)[place], atol=1e-6)
    assert all(test.passes() for test in b.cayley)


def test_any_group_has_the_same_analysis() -> None:
    """On D_n the general test, without the restriction to one type, agrees where n' >= 5."""
    means = irrep_2d(4, 18).character[TABLE[inverse(18)]]
    assert cayley_test(means, TABLE, irrep_2d(4, 18)).passes()


# --- A network and its training -------------------------------------------------------------------


def test_a_network_is_the_shared_one() -> None:
    """Logits pair by pair as `shared.groups` computes them, and again from the two tables."""
    import jax

    from shared.groups import ModelSpec, forward_pairs

    cfg = method.Training(n=5, features=3, hidden=7)
    params = method.init(jax.random.key(1), cfg)
    params |= {name: params[name] + 0.1 for name in ("b", "c")}
    pairs = np.indices((10, 10)).reshape(2, -1).T
    found, (pre,) = method.apply(params, pairs)
    spec = ModelSpec("embed_concat", 10, 3, 7, tie_embed=False, out_bias=True, init="he")
    theirs = forward_pairs({**params, "hidden": ()}, spec, pairs)
    np.testing.assert_allclose(found, theirs, atol=1e-5)
    net = method.Net(*method.tables(params), np.asarray(params["c"], float))
    np.testing.assert_allclose(method.logits(net).reshape(100, 10), found, atol=1e-5)
    np.testing.assert_allclose(pre_activations(net).reshape(100, 7), pre, atol=1e-5)


def test_training_learns_and_repeats() -> None:
    cfg = method.Training(n=4, features=16, hidden=48, lr=2e-2, l2=1e-5, steps=200, eval_every=10)
    params, history = method.train(cfg, (3, 4, 3))
    assert {name: value.shape for name, value in history.items()} == dict.fromkeys(history, (3, 20))
    assert (history["train_accuracy"][:, -1] == 1).all()
    assert (history["loss"][:, -1] < 0.5 * history["loss"][:, 0]).all()
    assert params["E_a"].shape == (3, 8, 16)
    np.testing.assert_array_equal(params["U"][0], params["U"][2])
    assert np.abs(params["U"][0] - params["U"][1]).max() > 0.1
    _, few = method.train(cfg._replace(fraction=0.3), (3,))
    assert few["train_accuracy"][0, -1] == 1 and (few["test_accuracy"] < 0.9).all()


def test_the_penalty_is_in_the_gradient_of_everything() -> None:
    """One step against Adam's first by hand: every weight moves by lr against its gradient."""
    import jax

    cfg = method.Training(n=3, features=2, hidden=3, lr=1e-3, l2=10.0, steps=1, eval_every=1)
    params, _ = method.train(cfg, (0,))
    start = method.init(jax.random.split(jax.random.key(0))[0], cfg)
    # With such a penalty the gradient is 2 * l2 * w but for a little: steps of lr towards 0.
    for name in ("E_a", "E_b", "W_a", "W_b", "U"):
        big = np.abs(np.asarray(start[name])) > 0.2
        moved = np.asarray(params[name][0] - start[name])
        np.testing.assert_allclose(moved[big], -1e-3 * np.sign(start[name])[big], rtol=1e-2)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 0])
def test_too_small_n(n: int) -> None:
    for make in (mult_table, inverse, irreps, subgroups):
        with pytest.raises(ValueError) as error:
            make(n)
        assert sentence(error).startswith(f"D_n needs n >= 3, not {n}")


def test_bad_arguments_get_a_sentence() -> None:
    cases = (
        (lambda: irrep_2d(9, 18), "D_18 has the 2-D irreps k = 1 .. 8; 9 is none of them."),
        (lambda: irrep_2d(0, 18), "D_18 has the 2-D irreps k = 1 .. 8; 0 is none of them."),
        (lambda: step_size(36, 18), "Frequency 36 is constant on Z_18: it has no step size."),
        (lambda: cosets(5, [0, 1]), "These elements are no subgroup of D_5: 1 * 1 = 2 is missing."),
        (lambda: cosets(5, [1, 5]), "These elements are no subgroup of D_5: the identity, 0, is"),
        (lambda: cosets(5, []), "These elements are no subgroup of D_5: the identity, 0, is"),
        (lambda: cosets(5, [0, 10]), "D_5 has the elements 0 .. 9; 0 .. 10 leaves them."),
        (lambda: approx_coset(0, -1, 2, 1, 5), "A path takes 0 steps or more either way, not -1"),
        (lambda: coset_score(np.ones(10), 5, [0]), "Values that are all equal have no variance"),
        (lambda: gft(np.ones(8), irreps(5)), "The irreps are of a group of order 10; the array"),
        (lambda: method.train(method.Training(2), (0,)), "D_n needs n >= 3, not 2"),
        (lambda: method.train(method.Training(5, hidden=0), (0,)), "features, hidden, eval_every"),
        (lambda: method.train(method.Training(5, steps=150), (0,)), "150 steps are no multiple of"),
        (lambda: method.train(method.Training(5, fraction=1.5), (0,)), "fraction must be in (0, 1"),
    )
    for call, start in cases:
        with pytest.raises(ValueError) as error:
            call()
        assert sentence(error).startswith(start)
