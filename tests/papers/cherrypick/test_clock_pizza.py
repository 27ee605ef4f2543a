"""The manifolds of modular addition by hand: run `python` or `pytest` on this file."""

import jax.numpy as jnp
import numpy as np

from papers.clock_pizza.method import (
    Circuit,
    Kind,
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


def test_an_ideal_pizza_is_a_disc_and_an_ideal_torus_is_none():
    ideal: list[tuple[Circuit, int, float, float]] = [("disc", 2, 1, 1), ("torus", 4, 0.5**0.5, 0)]
    for kind, own, disc, rho in ideal:
        net = handbuilt_net(N, (6, 7, 17), 8, kind)
        pre, logits = forward(net)
        assert np.mean(logits.argmax(axis=2) == np.add.outer(range(N), range(N)) % N) == 1
        clusters = cluster_by_frequency(pre)
        assert sorted(clusters.members) == [6, 7, 17] and clusters.r2.min() > 1 - 1e-12
        members = clusters.members[7]
        x = pre[..., members].reshape(N * N, -1)
        assert np.linalg.matrix_rank(x) == own
        np.testing.assert_allclose(linear_cka(x, reference(N, 7, "disc")), disc)
        found = phases(pre[..., members], 7)
        np.testing.assert_allclose(phase_coherence(found.phi_l, found.phi_r), rho, atol=1e-12)
        part = cluster_logits(np.maximum(pre, 0), net["U"], members).reshape(N * N, N)
        assert linear_cka(part, reference(N, 7, "circle")) > 0.79


def test_similarities():
    disc, torus, circle = (reference(N, 7, kind) for kind in ("disc", "torus", "circle"))
    np.testing.assert_allclose(linear_cka(disc, torus), 0.5**0.5)
    assert linear_cka(disc, circle) < 1e-12 and linear_cka(torus, circle) < 1e-12
    assert abs(rsm(disc, torus) - 0.578) < 5e-4


def test_phase_alignment():
    theta = 2 * np.pi * 5 * np.arange(N) / N - 2 * np.pi * 10 / N  # frequency 5, peak at 10
    pre = (np.cos(theta)[:, None] + np.cos(theta)[None])[..., None]
    assert pad_points(pre, np.array([5])).tolist() == [[10, 10]]
    assert torus_distance(np.array([[0, 58], [3, 3]]), N).tolist() == [1, 0]
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 2 * np.pi, 2000)
    line, spread = np.stack([u, u], axis=1), rng.uniform(0, 2 * np.pi, (2000, 2))
    assert abs(mmd2_unbiased(line, spread) - 0.0915763) < 3e-3
    value, p = mmd_permutation(np.split(line, 4), np.split(spread, 4))
    np.testing.assert_allclose(value, mmd2_unbiased(line, spread))
    assert p == 2 / 70  # of the 70 ways to choose 4 of 8 networks, ours and its mirror image


def test_zhongs_metrics():
    gap = 2 * np.pi * np.subtract.outer(range(N), range(N)) / N
    pizza = np.repeat(np.abs(np.cos(gap / 2))[..., None], N, axis=2)
    assert distance_irrelevance(pizza) < 1e-12
    w = jnp.asarray(np.random.default_rng(0).normal(size=(4, N)), jnp.float32)
    table = jnp.asarray(np.random.default_rng(1).normal(size=(N, 4)), jnp.float32)
    added = gradient_symmetricity(lambda a, b: jnp.maximum((a + b) @ w, 0), table)
    np.testing.assert_allclose(added, 1, atol=1e-6)


def test_topology():
    try:
        import ripser  # noqa: F401
    except ImportError:
        return
    from papers.clock_pizza.method import betti_numbers

    known: dict[Kind, tuple[int, ...]] = {
        "circle": (1, 1, 0),
        "disc": (1, 0, 0),
        "torus": (1, 2, 1),
    }
    for kind, betti in known.items():
        assert betti_numbers(reference(N, 3, kind))[0] == betti


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
