"""The method of clock_pizza: numbers by hand, independent derivations, invariances, bad inputs."""

import builtins
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from papers.clock_pizza import method, oracle
from papers.clock_pizza.method import (
    betti_numbers,
    cluster_by_frequency,
    cluster_logits,
    distance_irrelevance,
    forward,
    gradient_symmetricity,
    handbuilt_net,
    linear_cka,
    mmd2_unbiased,
    mmd_permutation,
    pad_points,
    phase_coherence,
    phases,
    reference,
    rsm,
    torus_distance,
)

N = 59


def simple(n, f, phi_l, phi_r, amp_l=1.0, amp_r=1.0):
    """Pre-activations [n, n, m] of simple neurons, written out neuron by neuron."""
    x = 2 * np.pi * f * np.arange(n) / n
    neurons = [
        amp_l * np.cos(x[:, None] + p) + amp_r * np.cos(x[None] + q)
        for p, q in zip(phi_l, phi_r, strict=True)
    ]
    return np.stack(neurons, axis=-1)


def rows(pre):
    return pre.reshape(-1, pre.shape[-1])


def random_phases(m, seed=0):
    return np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, m))


# --- Theorem 4.1 ----------------------------------------------------------------------------------


def test_rank_of_ideal_clusters() -> None:
    left, right = random_phases(20)
    assert np.linalg.matrix_rank(rows(simple(N, 7, left, left))) == 2
    assert np.linalg.matrix_rank(rows(simple(N, 7, left, right))) == 4
    assert np.linalg.matrix_rank(rows(simple(N, 7, left[:3], right[:3]))) == 3


@pytest.mark.parametrize("kind", ["disc", "torus"])
def test_factors_have_the_weights_of_the_proof(kind: method.Circuit) -> None:
    """cos(t + phi) = cos t cos phi - sin t sin phi, so W has the rows (cos phi, -sin phi)."""
    left, right = random_phases(6)
    right = left if kind == "disc" else right
    weights = np.stack([np.cos(left), -np.sin(left), np.cos(right), -np.sin(right)])
    weights = weights[:2] if kind == "disc" else weights
    x = rows(simple(N, 5, left, right))
    np.testing.assert_allclose(x, reference(N, 5, kind) @ weights, atol=1e-12)


def test_disc_is_the_projected_torus() -> None:
    torus = reference(N, 4, "torus")
    np.testing.assert_array_equal(reference(N, 4, "disc"), torus[:, :2] + torus[:, 2:])
    # Row a n + b: by hand at a = 2, b = 5.
    a, b = 2 * np.pi * 4 * 2 / N, 2 * np.pi * 4 * 5 / N
    np.testing.assert_allclose(torus[2 * N + 5], [np.cos(a), np.sin(a), np.cos(b), np.sin(b)])
    np.testing.assert_allclose(
        reference(N, 4, "circle")[2 * N + 5], [np.cos(a + b), np.sin(a + b)], atol=1e-12
    )


# --- Clusters and phases --------------------------------------------------------------------------


def test_first_order_share_is_the_r2_of_a_least_squares_fit() -> None:
    rng = np.random.default_rng(3)
    n, f = 13, 4
    left, right = random_phases(3, 3)
    pre = simple(n, f, left, right, 1.3, 0.6) + 0.5 * rng.normal(size=(n, n, 3)) + 0.2
    found = cluster_by_frequency(pre)
    assert found.freq.tolist() == [f, f, f]
    torus, circle = reference(n, f, "torus"), reference(n, f, "circle")
    x = 2 * np.pi * f * np.subtract.outer(np.arange(n), np.arange(n)).ravel() / n
    difference = np.stack([np.cos(x), np.sin(x)], axis=1)
    for design, shares in (
        ([np.ones((n * n, 1)), torus], found.r2),
        ([np.ones((n * n, 1)), torus, circle, difference], found.r2_order2),
    ):
        basis = np.concatenate(design, axis=1)
        residual = rows(pre) - basis @ np.linalg.lstsq(basis, rows(pre), rcond=None)[0]
        np.testing.assert_allclose(shares, 1 - residual.var(axis=0) / rows(pre).var(axis=0))
    with_phase = phases(pre, f)
    weights = np.linalg.lstsq(torus, rows(pre), rcond=None)[0]
    np.testing.assert_allclose(with_phase.amp_l, np.hypot(weights[0], weights[1]))
    np.testing.assert_allclose(with_phase.phi_l, np.arctan2(-weights[1], weights[0]))
    np.testing.assert_allclose(with_phase.amp_r, np.hypot(weights[2], weights[3]))
    np.testing.assert_allclose(with_phase.phi_r, np.arctan2(-weights[3], weights[2]))


def test_shares_of_a_relu() -> None:
    for right in (0.3, 1.9):
        pre = simple(N, 6, [0.3], [right])
        assert cluster_by_frequency(pre).r2[0] == pytest.approx(1, abs=1e-12)
        post = cluster_by_frequency(np.maximum(pre, 0))
        assert post.freq[0] == 6
        assert post.r2[0] == pytest.approx(oracle.RELU_FIRST_ORDER, abs=5e-4)
        assert post.r2_order2[0] - post.r2[0] == pytest.approx(0.1088 + 0.1087, abs=5e-4)


def test_the_second_order_counts_for_the_frequency() -> None:
    """Deeper layers mix cos(a) + cos(b) with cos(a + b): the frequency is that of both together."""
    x = 2 * np.pi * np.arange(13) / 13
    weak = 0.5 * simple(13, 3, [0.2], [1.0])
    pre = weak + 0.8 * np.cos(2 * np.add.outer(x, x) + 0.4)[..., None]
    found = cluster_by_frequency(pre)
    assert found.freq.tolist() == [2]
    assert found.r2[0] == pytest.approx(0, abs=1e-12)
    assert found.r2_order2[0] == pytest.approx(0.64 / (0.64 + 0.5))


def test_members_dead_neurons_and_the_nyquist_frequency() -> None:
    n = 8
    a = (-1.0) ** np.arange(n)
    nyquist = np.repeat(a[:, None], n, axis=1) + 0.5 * a[None]
    pre = np.stack([nyquist, np.zeros((n, n)), nyquist - 5, np.full((n, n), 3.0)], axis=-1)
    found = cluster_by_frequency(pre)
    assert found.alive.tolist() == [True, False, False, False]
    assert {f: members.tolist() for f, members in found.members.items()} == {4: [0]}
    assert found.r2[0] == pytest.approx(1)
    fit = phases(pre[..., :1], 4)
    assert (fit.amp_l[0], fit.amp_r[0]) == (pytest.approx(1), pytest.approx(0.5))


def test_phase_coherence_by_hand() -> None:
    zero = np.zeros(4)
    assert phase_coherence(np.array([0.1, 2.0]), np.array([0.1, 2.0])) == pytest.approx(1)
    assert phase_coherence(zero, np.pi / 2 * np.arange(4)) == pytest.approx(0, abs=1e-12)
    assert phase_coherence(zero[:2], np.array([0, np.pi / 2])) == pytest.approx(np.sqrt(0.5))


# --- Similarity -----------------------------------------------------------------------------------


def test_similarities_of_the_manifolds() -> None:
    disc, torus, circle = (reference(N, 7, kind) for kind in ("disc", "torus", "circle"))
    assert linear_cka(disc, torus) == pytest.approx(0.7071067811865, abs=1e-9)
    assert max(linear_cka(disc, circle), linear_cka(torus, circle)) < 1e-12
    assert rsm(disc, torus) == pytest.approx(0.578, abs=5e-4)


def test_similarities_against_their_definitions() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)) + 3, rng.normal(size=(30, 7))
    centre = np.eye(30) - 1 / 30
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))
    assert linear_cka(x, y) == pytest.approx(expected)
    assert linear_cka(x[:5], y[:5]) == pytest.approx(linear_cka(y[:5], x[:5]))
    assert rsm(x, y) == pytest.approx(np.corrcoef(pdist(x), pdist(y))[0, 1])


def test_similarities_do_not_see_rotation_scale_order_and_shift() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 3))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    for similarity in (linear_cka, rsm):
        changed = -2.5 * (x @ turn)[:, rng.permutation(5)] + 7
        assert similarity(changed, y) == pytest.approx(similarity(x, y))
        assert similarity(x, 3 * x + 1) == pytest.approx(1)
    assert linear_cka(x, np.ones((40, 2))) != linear_cka(x, y)


def test_constant_representations_have_no_similarity() -> None:
    x, constant = np.random.default_rng(0).normal(size=(10, 2)), np.ones((10, 3))
    assert np.isnan(linear_cka(x, constant)) and np.isnan(rsm(constant, x))
    assert np.isnan(rsm(np.eye(10), x))  # all distances equal


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_phase_noise_formula(sigma: float) -> None:
    rng = np.random.default_rng(0)
    left = rng.uniform(0, 2 * np.pi, 4000)
    x = rows(simple(N, 1, left, left + sigma * rng.normal(size=4000)))
    disc, torus = oracle.similarity_from_coherence(oracle.coherence_of_noise(sigma))
    assert linear_cka(x, reference(N, 1, "disc")) == pytest.approx(disc, abs=0.003)
    assert linear_cka(x, reference(N, 1, "torus")) == pytest.approx(torus, abs=0.005)
    expected = {0.5: (0.9981, 0.7498), 1.0: (0.9713, 0.8550)}[sigma]
    assert (disc, torus) == pytest.approx(expected, abs=1e-4)


# --- Phase alignment ------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [1, 5, 23])
def test_points_of_a_simple_neuron(f: int) -> None:
    phase = np.array([-2 * np.pi * 10 / N])
    pre = simple(N, f, phase, phase)
    freq = np.array([f])
    assert pad_points(pre, freq).tolist() == [[10, 10]]
    np.testing.assert_allclose(pad_points(pre, freq, "centroid"), [[10, 10]], atol=1e-9)
    raw = pad_points(pre, freq, remap=False)
    assert (f * raw % N).tolist() == [[10, 10]]
    np.testing.assert_array_equal(pad_points(pre, freq, "centroid", remap=False), raw)


def test_points_keep_left_and_right_apart() -> None:
    pre = simple(N, 2, [-2 * np.pi * 8 / N], [-2 * np.pi * 20 / N])
    assert pad_points(pre, np.array([2])).tolist() == [[8, 20]]
    np.testing.assert_allclose(pad_points(pre, np.array([2]), "centroid"), [[8, 20]], atol=1e-6)


def test_torus_distance() -> None:
    points = np.array([[0, 58], [3, 3], [10, 0], [0, 30]])
    assert torus_distance(points, N).tolist() == [1, 0, 10, 29]
    a, b = np.divmod(np.arange(N * N), N)
    mean = torus_distance(np.stack([a, b], axis=1), N).mean()
    assert mean == pytest.approx(14.7458, abs=1e-4)
    assert mean == pytest.approx(oracle.uniform_distance(N))
    even = torus_distance(np.stack(np.divmod(np.arange(64), 8), axis=1), 8).mean()
    assert even == pytest.approx(oracle.uniform_distance(8))


def naive_mmd2(p, q, kappa):
    """The estimator as its definition says, pair by pair."""

    def k(x, y):
        return np.exp(kappa * (np.cos(x[0] - y[0]) + np.cos(x[1] - y[1]) - 2))

    same = [
        np.mean([k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j])
        for s in (p, q)
    ]
    return same[0] + same[1] - 2 * np.mean([k(x, y) for x in p for y in q])


@pytest.mark.parametrize("kappa", [0.25, 1.0, 4.0])
def test_mmd_against_its_definition(kappa: float) -> None:
    rng = np.random.default_rng(0)
    p, q = rng.uniform(0, 6, (7, 2)), rng.uniform(0, 3, (5, 2))
    p[3] = p[2]  # points that coincide are points of their own
    assert mmd2_unbiased(p, q, kappa) == pytest.approx(naive_mmd2(p, q, kappa), abs=1e-12)
    assert mmd2_unbiased(q, p, kappa) == pytest.approx(mmd2_unbiased(p, q, kappa))


def test_mmd_of_the_line_and_the_uniform_law() -> None:
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 2 * np.pi, 2000)
    line, spread = np.stack([u, u], axis=1), rng.uniform(0, 2 * np.pi, (2000, 2))
    assert oracle.mmd2_diagonal_uniform() == pytest.approx(0.0915763, abs=1e-7)
    assert np.sqrt(oracle.mmd2_diagonal_uniform()) == pytest.approx(0.302616, abs=1e-6)
    assert mmd2_unbiased(line, spread) == pytest.approx(0.0915763, abs=3e-3)
    draws = [rng.permutation(spread)[:400] for _ in range(40)]
    halves = [mmd2_unbiased(draw[:200], draw[200:]) for draw in draws]
    assert abs(np.mean(halves)) < 3 * np.std(halves) / np.sqrt(40)
    assert min(halves) < 0 < max(halves)


def test_permutations_move_whole_networks() -> None:
    """Networks of equal points: 3 + 3 of them can be split in 20 ways, two of which are ours."""
    rng = np.random.default_rng(0)
    left = [np.full((40, 2), x) + 0.01 * rng.normal(size=(40, 2)) for x in (0.0, 0.1, 0.2)]
    right = [group + np.array([np.pi, 0]) for group in left]
    value, p = mmd_permutation(left, right, 1000, np.random.default_rng(0))
    assert value == pytest.approx(mmd2_unbiased(np.concatenate(left), np.concatenate(right)))
    assert p == pytest.approx(2 / 20)
    value, p = mmd_permutation(left, right, 15, np.random.default_rng(0))  # drawn, not listed
    assert p >= 1 / 16
    same, p = mmd_permutation([left[0], right[0]], [left[1], right[1]])
    assert same < 0.01 and p > 0.3


# --- Topology -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "betti"), [("circle", (1, 1, 0)), ("disc", (1, 0, 0)), ("torus", (1, 2, 1))]
)
def test_betti_numbers_of_the_manifolds(kind: method.Kind, betti: tuple[int, ...]) -> None:
    pytest.importorskip("ripser")
    found, diagrams = betti_numbers(reference(N, 3, kind))
    assert found == betti
    assert len(diagrams) == 3
    x = reference(N, 3, kind)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(x.shape[1],) * 2))[0]
    assert betti_numbers(40 * x @ turn + 3)[0] == betti


def test_landmarks_are_distinct_far_apart_and_of_unit_size() -> None:
    disc = np.repeat(reference(N, 1, "disc"), 2, axis=0) @ np.diag([3.0, 3.0])
    found = method._landmarks(disc, 25, 0.99)
    assert np.mean(np.sum(found**2, axis=1)) == pytest.approx(1)
    random = disc[np.random.default_rng(0).choice(len(disc), 25, replace=False)]
    random = random / np.sqrt(np.mean(np.sum(random**2, axis=1)))
    assert pdist(found).min() > 2 * pdist(random).min()


def test_lifetimes_of_the_circle() -> None:
    """59 points on the unit circle: one loop, born at one step and filled at about sqrt 3."""
    pytest.importorskip("ripser")
    loops = betti_numbers(reference(N, 1, "circle"))[1][1]
    assert len(loops) == 1
    assert loops[0, 0] == pytest.approx(2 * np.sin(np.pi / N), abs=1e-6)
    assert loops[0, 1] == pytest.approx(np.sqrt(3), abs=0.05)


def test_both_packages_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ripser")
    pytest.importorskip("gudhi")
    x = reference(23, 2, "torus")
    ours, diagrams = betti_numbers(x, landmarks=60)
    monkeypatch.setitem(sys.modules, "ripser", None)
    theirs, others = betti_numbers(x, landmarks=60)
    assert ours == theirs == (1, 2, 1)
    for a, b in zip(diagrams[1:], others[1:], strict=True):
        longest = [np.sort(d[:, 1] - d[:, 0])[::-1][:2] for d in (a, b)]
        np.testing.assert_allclose(longest[0], longest[1], atol=1e-5)


def test_without_a_package_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name in ("ripser", "gudhi"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="extra `topology`"):
        betti_numbers(reference(13, 1, "circle"))


def test_a_thin_annulus_reads_as_a_disc_and_a_wide_one_as_a_circle() -> None:
    pytest.importorskip("ripser")
    t = 2 * np.pi * np.arange(40) / 40
    ring = np.stack([np.cos(t), np.sin(t)], axis=1)
    for inner, betti in ((oracle.annulus_hole(N), (1, 0, 0)), (0.7, (1, 1, 0))):
        points = np.concatenate([r * ring for r in np.linspace(inner, 1, 12)])
        assert betti_numbers(points)[0] == betti


# --- Zhong's metrics ------------------------------------------------------------------------------


def naive_irrelevance(logits):
    """As the notebook does it: rows a + b, columns a - b; n odd."""
    n = len(logits)
    table = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            table[(i + j) % n, (i - j) % n] = logits[i, j, (i + j) % n]
    return np.mean(table.std(axis=0)) / table.std()


def test_distance_irrelevance() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(13, 13, 13))
    assert distance_irrelevance(logits) == pytest.approx(naive_irrelevance(logits))
    wrong = logits + 100 * (np.arange(13) != np.add.outer(np.arange(13), np.arange(13))[..., None]
                            % 13)  # fmt: skip
    assert distance_irrelevance(wrong) == pytest.approx(distance_irrelevance(logits))
    gap = 2 * np.pi * np.subtract.outer(np.arange(N), np.arange(N)) / N
    pizza = np.repeat(np.abs(np.cos(gap / 2))[..., None], N, axis=2)
    assert distance_irrelevance(pizza) == pytest.approx(0, abs=1e-12)
    total = np.add.outer(np.arange(N), np.arange(N)) % N
    clock = np.repeat(np.cos(2 * np.pi * total / N)[..., None], N, axis=2)
    assert distance_irrelevance(clock) == pytest.approx(1)
    with pytest.warns(UserWarning, match="0/0"):
        assert np.isnan(distance_irrelevance(np.full((7, 7, 7), 2.5)))


def test_gradient_symmetricity_of_addition_is_one() -> None:
    rng = np.random.default_rng(0)
    table, w, u = (rng.normal(size=s).astype(np.float32) for s in ((13, 6), (6, 20), (20, 13)))
    added = gradient_symmetricity(lambda a, b: jax.nn.relu((a + b) @ w) @ u, jnp.asarray(table))
    assert added == pytest.approx(1, abs=1e-6)
    against = gradient_symmetricity(lambda a, b: jnp.tanh((a - b) @ w) @ u, jnp.asarray(table))
    assert against == pytest.approx(-1, abs=1e-6)


def test_gradient_symmetricity_by_hand() -> None:
    """Linear logits: the gradients are the columns of two matrices, whatever a and b are."""
    left = np.array([[1, 0, 2], [0, 1, 0]], np.float32)
    right = np.array([[1, 1, 2], [1, 0, 0]], np.float32)
    cosines = [1 / np.sqrt(2), 0.0, 1.0]
    drawn = np.random.default_rng(4).choice(27, 9, replace=False) % 3
    found = gradient_symmetricity(
        lambda a, b: a @ left + b @ right, jnp.ones((3, 2), jnp.float32), 9, seed=4
    )
    assert found == pytest.approx(np.mean(np.array(cosines)[drawn]), abs=1e-6)


# --- Ideal networks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "n_phases", "amplitude"),
    [
        ("disc", 16, 0.176477),
        ("torus", 16, 0.136230),
        ("disc", 8, 0.153609),
        ("torus", 8, 0.140870),
        ("disc", 4, 0.213717),
        ("disc", 400, 0.1703407),
        ("torus", 60, 0.1350949),
    ],
)
def test_amplitudes(kind: method.Circuit, n_phases: int, amplitude: float) -> None:
    net = handbuilt_net(N, (1,), n_phases, kind)
    post = np.maximum(net["A"][5] + net["B"][17], 0)
    wave = np.mean(post * np.exp(1j * (net["phi_l"] + net["phi_r"])))
    limit = n_phases in (400, 60)
    assert abs(wave) == pytest.approx(amplitude, abs=2e-4 if limit else 1e-6)
    if limit:
        turn = 2 * np.pi * (5 + 17) / N
        assert np.angle(wave * np.exp(1j * turn)) == pytest.approx(0, abs=1e-3)
        law = oracle.disc_amplitude(2 * np.pi * 12 / N) if kind == "disc" else (
            oracle.TORUS_AMPLITUDE)  # fmt: skip
        assert law == pytest.approx(amplitude, abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "n_phases", "mean", "least", "irrelevance"),
    [("disc", 16, 0.1023, 0.0141, 0.0416), ("torus", 8, 0.1186, 0.1149, 0.953)],
)
def test_handbuilt_networks_add(
    kind: method.Circuit, n_phases: int, mean: float, least: float, irrelevance: float
) -> None:
    logits = forward(handbuilt_net(N, (6, 7, 17), n_phases, kind))[1]
    lead = margins(logits)
    assert np.mean(lead > 0) == 1
    assert lead.mean() == pytest.approx(mean, abs=1e-4)
    assert lead.min() == pytest.approx(least, abs=1e-4)
    assert distance_irrelevance(logits) == pytest.approx(irrelevance, abs=1e-3)


def test_one_frequency_needs_an_odd_number_of_phases() -> None:
    """An even number halves the distinct |cos| phases."""
    for n_phases, accuracy in ((8, 0.8305), (5, 1.0)):
        lead = margins(forward(handbuilt_net(N, (1,), n_phases, "disc"))[1])
        assert np.mean(lead > 0) == pytest.approx(accuracy, abs=1e-4)


def margins(logits):
    n = len(logits)
    right = np.add.outer(np.arange(n), np.arange(n)) % n
    others = np.where(np.arange(n) == right[..., None], -np.inf, logits).max(axis=2)
    return np.take_along_axis(logits, right[..., None], 2)[..., 0] - others


def test_logits_are_the_sum_of_their_clusters() -> None:
    net = handbuilt_net(13, (1, 3), 5, "disc")
    pre, logits = forward(net)
    post, clusters = np.maximum(pre, 0), cluster_by_frequency(pre)
    parts = [cluster_logits(post, net["U"], members) for members in clusters.members.values()]
    assert sorted(clusters.members) == [1, 3]
    np.testing.assert_allclose(sum(parts), logits, atol=1e-12)
    # An ideal pizza: annulus of radius |cos|, and its similarity with the circle.
    own = parts[0].reshape(169, 13)
    cka = linear_cka(own, reference(13, 1, "circle"))
    assert cka == pytest.approx(oracle.ANNULUS_CIRCLE_CKA, abs=0.02)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cluster_by_frequency(np.zeros((4, 5, 2))), r"\[n, n, m\].*\[4, 5, 2\]"),
        (lambda: cluster_by_frequency(np.full((4, 4, 1), np.nan)), "finite"),
        (lambda: phases(np.zeros((7, 7, 2)), 4), r"1 \.\.\. 3; got 4"),
        (lambda: reference(7, 0, "disc"), r"1 \.\.\. 3; got 0"),
        (lambda: phase_coherence(np.zeros(0), np.zeros(0)), "without neurons"),
        (lambda: linear_cka(np.zeros((4, 0)), np.zeros((4, 2))), "at least one neuron"),
        (lambda: linear_cka(np.zeros((4, 1)), np.zeros((5, 2))), r"\[4, 1\] and \[5, 2\]"),
        (lambda: rsm(np.zeros((2, 1)), np.zeros((2, 1))), "three points"),
        (lambda: pad_points(np.zeros((5, 5, 2)), np.array([1])), "2 and 1 given"),
        (lambda: pad_points(np.zeros((8, 8, 1)), np.array([2]), "centroid", False), "common fac"),
        (lambda: mmd2_unbiased(np.zeros((1, 2)), np.zeros((5, 2))), "two points.*got 1 and 5"),
        (lambda: mmd_permutation([], [np.zeros((5, 2))]), "needs a network"),
        (lambda: mmd_permutation([np.zeros((5, 2))], [np.zeros((5, 2))], 0), "n_perm .* got 0"),
        (lambda: betti_numbers(np.ones((50, 2))), "four distinct points; got 1"),
        (lambda: betti_numbers(np.ones((50, 0))), r"got shape \[50, 0\]"),
        (lambda: distance_irrelevance(np.zeros((5, 5, 4))), r"\[n, n, n\]; got \[5, 5, 4\]"),
        (lambda: gradient_symmetricity(lambda a, b: a, np.zeros((3, 1)), 28), "1 ... 27; got 28"),
        (lambda: handbuilt_net(59, (30,), 4, "disc"), r"1 \.\.\. 29; got 30"),
        (lambda: handbuilt_net(59, (), 4, "disc"), "one frequency"),
        (
            lambda: cluster_logits(np.zeros((5, 5, 3)), np.zeros((3, 5)), np.zeros(0, int)),
            "empty cluster",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_nothing_warns_on_good_input() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cluster_by_frequency(np.zeros((5, 5, 3)))
    assert method.cluster_by_frequency(np.zeros((5, 5, 3))).members == {}
