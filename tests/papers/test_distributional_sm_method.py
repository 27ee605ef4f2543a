"""Kernels, the two-level MMD, targets, atoms and the learned kernel, by hand and naively."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.distributional_sm import method
from papers.distributional_sm.method import (
    TrainerSpec,
    block_means,
    block_mmd2,
    energy_kernel,
    imq,
    imq_scales,
    init_atoms,
    init_phi,
    make_trainer,
    median_bandwidth,
    median_scaled_loss,
    nstep_targets,
    phi_features,
    power_iteration,
    rbf,
    return_atoms,
    rq_kernel,
    sample_atoms,
    squared_distances,
    transitions,
    two_level_mmd2,
)

KERNELS = [rq_kernel, imq, imq_scales, rbf, energy_kernel]


def line(*rows):
    """Samples of atoms on the real line, [m, n, 1]."""
    return jnp.asarray(rows, jnp.float32)[..., None]


def random_samples(seed, m=4, n=5, d=3, dtype: Any = np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(m, n, d)), dtype)


# Kernels and the inner MMD ------------------------------------------------------------------------


def test_kernels_by_hand():
    d2 = jnp.float32(2.0)
    alphas = np.array([0.2, 0.5, 1, 2, 5])
    np.testing.assert_allclose(rq_kernel(d2), np.sum((1 + 2 / (2 * alphas)) ** -alphas), rtol=1e-6)
    np.testing.assert_allclose(rq_kernel(jnp.float32(0)), 5)
    np.testing.assert_allclose(imq(d2), 1 / np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(rbf(d2), np.exp(-2), rtol=1e-6)
    widths = np.array([0.3, 3, 30])
    np.testing.assert_allclose(imq_scales(d2), np.sum((1 + 2 / widths) ** -0.5), rtol=1e-6)
    np.testing.assert_allclose(energy_kernel(d2), -np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "value", "own"),
    [(rq_kernel, -1.582237, -1.586935), (rbf, -0.490842, None), (imq, -0.276393, None)],
)
def test_unbiased_mmd_of_two_samples(kernel, value, own):
    """{0, 1} against {0, 2}: negative, as a U-statistic may be, so clipped; and against itself."""
    x, y = line([0, 1]), line([0, 2])

    def unclipped(x, y):
        within = [method._self_means(z, kernel)[1][0] for z in (x, y)]
        return sum(within) - 2 * block_means(x, y, kernel)[0, 0]

    np.testing.assert_allclose(unclipped(x, y), value, atol=1e-6)
    if own is not None:
        np.testing.assert_allclose(unclipped(x, x), own, atol=1e-6)
    np.testing.assert_array_equal(block_mmd2(x, y, kernel), [[0]])


def naive_mmd2(x, y, kernel):
    """One pair of samples, by loops over points."""
    n, k = len(x), len(y)

    def value(a, b):
        return float(kernel(jnp.asarray(np.sum((a - b) ** 2), jnp.float32)))

    xx = sum(value(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(value(y[i], y[j]) for i in range(k) for j in range(k) if i != j) / (k * (k - 1))
    return max(xx + yy - 2 * np.mean([value(a, b) for a in x for b in y]), 0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_are_the_pairs(kernel):
    x, y = random_samples(0, 3, 4, 2), random_samples(1, 2, 5, 2) + 1
    expected = np.array([[naive_mmd2(np.asarray(a), np.asarray(b), kernel) for b in y] for a in x])
    found = block_mmd2(x, y, kernel)
    assert np.max(expected) > 0
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_distances_in_many_dimensions():
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=(5, 20)), jnp.float32) for i in (0, 1))
    expected = ((x[:, None] - y) ** 2).sum(-1)
    np.testing.assert_allclose(
        squared_distances(jnp.asarray(x), jnp.asarray(y)), expected, rtol=1e-5
    )
    np.testing.assert_allclose(squared_distances(x[:, :4], y[:, :4]),
                               ((x[:, None, :4] - y[:, :4]) ** 2).sum(-1), rtol=1e-5)  # fmt: skip


# The two-level MMD --------------------------------------------------------------------------------

X, Y = line([0, 1], [3, 4]), line([0, 1], [10, 11])


def test_two_levels_by_hand():
    np.testing.assert_allclose(two_level_mmd2(X, Y), 0.158038999, atol=1e-6)
    np.testing.assert_allclose(two_level_mmd2(X, Y, bandwidth=1.0), 0.306566110, atol=1e-6)
    np.testing.assert_allclose(two_level_mmd2(X, Y, rbf, rbf), 0.317224107, atol=1e-6)


@pytest.mark.parametrize(("kernel", "bandwidth"), [(rq_kernel, 4.992993), (rbf, 0.731118)])
def test_median_bandwidth(kernel, bandwidth):
    xx, yy, xy = (block_mmd2(a, b, kernel) for a, b in ((X, X), (Y, Y), (X, Y)))
    np.testing.assert_allclose(median_bandwidth(xx, yy, xy, 1e-6), bandwidth, rtol=1e-5)
    np.testing.assert_allclose(
        two_level_mmd2(X, Y, kernel), two_level_mmd2(X, Y, kernel, bandwidth=bandwidth), rtol=1e-5
    )
    none = jnp.zeros((3, 3))
    assert median_bandwidth(none, none, none, 1e-6) == np.float32(1e-6)


def test_median_leaves_out_the_diagonals():
    d = jnp.arange(9, dtype=jnp.float32).reshape(3, 3)
    off = np.array([1, 2, 3, 5, 6, 7])
    expected = np.median(np.concatenate([off, 10 * off, 100 + np.arange(9)]))
    np.testing.assert_allclose(median_bandwidth(d, 10 * d, 100 + d, 1e-6), expected)


def naive_two_level(x, y, inner, outer, bandwidth=None):
    m = len(x)
    x, y = np.asarray(x), np.asarray(y)
    xx, yy, xy = (
        np.array([[naive_mmd2(a, b, inner) for b in second] for a in first])
        for first, second in ((x, x), (y, y), (x, y))
    )
    off = ~np.eye(m, dtype=bool)
    b = (
        np.median(np.concatenate([xx[off], yy[off], xy.reshape(-1)]))
        if bandwidth is None
        else bandwidth
    )
    h = lambda d: np.asarray(outer(jnp.asarray(d / b, jnp.float32)), np.float64)  # noqa: E731
    return h(xx).mean() + h(yy).mean() - 2 * h(xy).mean()


@pytest.mark.parametrize(("inner", "outer"), [(rq_kernel, imq), (rbf, rbf)])
def test_two_levels_naively(inner, outer):
    for bandwidth in (None, 0.7):
        places = jnp.arange(4, dtype=jnp.float32)[:, None, None]
        x, y = random_samples(0) + places, 1.5 * random_samples(1) + 2 * places
        found = two_level_mmd2(x, y, inner, outer, "median" if bandwidth is None else bandwidth)
        np.testing.assert_allclose(found, naive_two_level(x, y, inner, outer, bandwidth), atol=1e-5)


def test_order_of_atoms_and_samples_does_not_matter():
    x, y = random_samples(0), random_samples(1) + 1
    value = two_level_mmd2(x, y)
    np.testing.assert_allclose(two_level_mmd2(x[::-1], y[:, ::-1]), value, rtol=1e-5)
    np.testing.assert_allclose(two_level_mmd2(y, x), value, rtol=1e-5)
    np.testing.assert_allclose(two_level_mmd2(x, x[jnp.array([2, 0, 3, 1])]), 0, atol=1e-6)
    assert value > 0.01


def test_one_atom_each():
    value = two_level_mmd2(line([0, 1, 2]), line([5, 6, 7]))
    distance = block_mmd2(line([0, 1, 2]), line([5, 6, 7]))[0, 0]
    np.testing.assert_allclose(value, 2 - 2 * imq(jnp.float32(1)), rtol=1e-6)
    assert distance > 0


def test_median_scaled_loss_is_scale_free():
    x, y = random_samples(0), random_samples(1) + 1
    np.testing.assert_allclose(
        median_scaled_loss(x, y), median_scaled_loss(7 * x, 7 * y), rtol=1e-4
    )
    points = np.concatenate([x, y]).reshape(-1, 3)
    scale = np.sqrt(np.median(((points[:, None] - points) ** 2).sum(-1)))
    np.testing.assert_allclose(
        median_scaled_loss(x, y), two_level_mmd2(x / scale, y / scale, rbf, rbf), rtol=1e-4
    )


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inner", "outer"), [(rq_kernel, imq), (rbf, rbf), (energy_kernel, imq)])
def test_gradients_against_finite_differences(inner, outer):
    with jax.enable_x64(True):
        x, y = random_samples(0, dtype=np.float64), random_samples(1, dtype=np.float64) + 1
        loss = jax.jit(functools.partial(two_level_mmd2, inner=inner, outer=outer, bandwidth=0.8))
        gradients = jax.grad(loss, (0, 1))(x, y)
        rng = np.random.default_rng(2)
        for which in (0, 1):
            direction = jnp.asarray(rng.normal(size=x.shape))
            ends = []
            for sign in (1, -1):
                moved = [x, y]
                moved[which] = moved[which] + sign * 1e-6 * direction
                ends.append(float(loss(*moved)))
            slope = float(jnp.sum(gradients[which] * direction))
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_gradient_is_that_of_plain_autodiff():
    def plain(x, y, kernel):
        d2 = squared_distances(x.reshape(-1, 3), y.reshape(-1, 3))
        return kernel(d2).reshape(x.shape[0], x.shape[1], *y.shape[:2]).mean((1, 3))

    x, y = random_samples(0, 3, 4), random_samples(1, 2, 6)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)), jnp.float32)
    for kernel in (rq_kernel, rbf):
        found, expected = (
            jax.grad(lambda x, y, f=f, k=kernel: jnp.sum(weights * f(x, y, k)), (0, 1))(x, y)
            for f in (block_means, plain)
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_bandwidth_carries_no_gradient():
    places = jnp.arange(4, dtype=jnp.float32)[:, None, None]  # so far apart that none is clipped
    x, y = random_samples(0) + 3 * places, random_samples(1) + 3 * places + 1
    b = median_bandwidth(block_mmd2(x, x), block_mmd2(y, y), block_mmd2(x, y), 1e-6)
    assert b > 0.1
    free = jax.grad(lambda x: two_level_mmd2(x, y, bandwidth="median"))(x)
    fixed = jax.grad(lambda x: two_level_mmd2(x, y, bandwidth=float(b)))(x)
    np.testing.assert_allclose(free, fixed, rtol=1e-4, atol=1e-7)


def test_energy_kernel_where_points_meet():
    gradient = jax.grad(lambda x: two_level_mmd2(x, x + 1, energy_kernel))(X)
    assert np.isfinite(gradient).all()
    assert jax.grad(energy_kernel)(jnp.float32(0)) == 0


# Targets ------------------------------------------------------------------------------------------


def emitted(last, gamma=0.95, n=6, include_source=True, draws=40_000):
    """Shares of s_0 ... s_n and of the bootstrap (last) among the targets."""
    obs = jnp.arange(n + 1, dtype=jnp.float32)[:, None]
    boot = jnp.full((2, draws, 1), n + 1, jnp.float32)
    flags = (
        jnp.zeros(n + 1, bool).at[last].set(True) if last is not None else jnp.zeros(n + 1, bool)
    )
    found = nstep_targets(jax.random.key(0), obs, flags, boot, gamma, include_source)
    return np.bincount(np.asarray(found, int).reshape(-1), minlength=n + 2) / found.size


def test_target_frequencies():
    expected = [*(0.05 * 0.95 ** np.arange(6)), 0, 0.735092]
    np.testing.assert_allclose(emitted(None), expected, atol=0.004)
    # Without the source, s_1 ... s_n, and the same share gamma^n bootstraps.
    expected = [0, *(0.05 * 0.95 ** np.arange(6)), 0.735092]
    np.testing.assert_allclose(emitted(None, include_source=False), expected, atol=0.004)


def test_terminal_states_stay():
    np.testing.assert_allclose(emitted(2)[:4], [0.05, 0.0475, 0.9025, 0], atol=0.004)
    assert emitted(6)[7] == 0
    np.testing.assert_allclose(emitted(6)[6], 0.735092, atol=0.004)
    np.testing.assert_array_equal(emitted(0), [1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(emitted(2, include_source=False)[:4], [0, 0.05, 0.95, 0], atol=0.004)


def test_without_discount_only_the_next_state_counts():
    np.testing.assert_array_equal(emitted(None, gamma=0.0)[:2], [1, 0])
    np.testing.assert_array_equal(emitted(None, gamma=0.0, include_source=False)[:2], [0, 1])


def test_bootstrap_keeps_its_atoms():
    boot = jnp.broadcast_to(jnp.arange(3, dtype=jnp.float32)[:, None, None] + 10, (3, 50, 1))
    found = np.asarray(
        nstep_targets(jax.random.key(1), jnp.zeros((2, 1)), jnp.zeros(2, bool), boot, 0.9)
    )
    for i in range(3):
        assert set(found[i].reshape(-1)) == {0, 10 + i}


# Atoms and returns --------------------------------------------------------------------------------


def test_atoms_are_generators_of_their_own():
    params = init_atoms(jax.random.key(0), 3, 2, latent=4, hidden=(8, 8))
    assert [layer["w"].shape for layer in params] == [(3, 6, 8), (3, 8, 8), (3, 8, 2)]
    x = jnp.array([0.5, -1.0])
    samples = sample_atoms(params, jax.random.key(1), x, 5)
    z = np.asarray(jax.random.normal(jax.random.key(1), (3 * 5 * 4,), jnp.float32)).reshape(3, 5, 4)
    for i in range(3):
        h = np.concatenate([z[i], np.tile(x, (5, 1))], axis=1)
        for k, layer in enumerate(params):
            h = h @ np.asarray(layer["w"][i]) + np.asarray(layer["b"][i])
            if k < 2:
                h = np.where(h > 0, h, 0.01 * h)
        np.testing.assert_allclose(samples[i], h, rtol=1e-4, atol=1e-5)


def test_published_sizes():
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p))  # noqa: E731
    atoms = jax.eval_shape(lambda: init_atoms(jax.random.key(0), 51, 3))
    assert count(atoms) == 6_906_777 == 51 * 135_427
    phi = jax.eval_shape(lambda: init_phi(jax.random.key(0), 3))
    vectors = 7 * 256 + 8  # the power iteration's
    assert count(phi) - vectors == 397_832


def test_return_atoms_average_the_reward():
    params = init_atoms(jax.random.key(0), 3, 2, latent=4, hidden=(8,))
    x, key = jnp.zeros(2), jax.random.key(3)
    found = return_atoms(params, key, x, lambda s: s[:, 0] ** 2, 0.9, n=64)
    samples = sample_atoms(params, key, x, 64)
    np.testing.assert_allclose(found, (samples[..., 0] ** 2).mean(1) / 0.1, rtol=1e-5)


# The learned kernel -------------------------------------------------------------------------------


def test_features_are_lipschitz():
    phi = init_phi(jax.random.key(0), 3, 4, width=16)
    phi[0]["w"] = phi[0]["w"] * 50
    for _ in range(60):
        phi = power_iteration(phi)
    for layer in phi:
        u, v = method._power_step(layer)
        largest = np.linalg.svd(np.asarray(layer["w"]), compute_uv=False)[0]
        np.testing.assert_allclose(v @ layer["w"] @ u, largest, rtol=1e-2)
        np.testing.assert_allclose(np.linalg.norm(layer["u"]), 1, rtol=1e-5)
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=(50, 3)), jnp.float32) for i in (0, 1))
    apart = np.linalg.norm(phi_features(phi, x) - phi_features(phi, y), axis=1)
    # Two residual blocks: at most (1 + 1)^2 times as far.
    assert (apart <= 4.2 * np.linalg.norm(x - y, axis=1)).all()
    assert apart.min() > 0


def test_singular_value_passes_its_gradient():
    """w / sigma(w) does not change when w is scaled, so its gradient along w is 0."""
    phi = init_phi(jax.random.key(0), 3, 4, width=8)
    x = jnp.ones((2, 3))

    def output(scale):
        return jnp.sum(phi_features([layer | {"w": scale * layer["w"]} for layer in phi], x))

    np.testing.assert_allclose(jax.grad(output)(jnp.float32(1)), 0, atol=1e-4)


# Training -----------------------------------------------------------------------------------------

SMALL = TrainerSpec(1, atoms=4, samples=8, horizon=2, gamma=0.5, latent=2, hidden=(8,),
                    learned_kernel=False, batch=4, learning_rate=1e-3)  # fmt: skip


def stream(length=200, seed=0):
    obs = np.random.default_rng(seed).integers(0, 2, size=(length, 1)).astype(np.float32)
    never = jnp.zeros(length, bool)
    return transitions(jnp.asarray(obs), never, never, SMALL.horizon)


def test_a_step_moves_atoms_and_target():
    init, step = make_trainer(SMALL)
    start = init(jax.random.key(0))
    after, metrics = jax.jit(step)(start, stream())
    assert set(metrics) == {"loss"}
    for old, new, target in zip(
        *map(jax.tree.leaves, (start.atoms, after.atoms, after.target)), strict=True
    ):
        assert np.abs(new - old).max() > 0
        np.testing.assert_allclose(target, 0.99 * old + 0.01 * new, rtol=1e-5, atol=1e-7)
    again, _ = jax.jit(step)(start, stream())
    other, _ = jax.jit(step)(init(jax.random.key(1)), stream())
    assert all(map(np.array_equal, jax.tree.leaves(again.atoms), jax.tree.leaves(after.atoms)))
    assert not np.array_equal(other.atoms[0]["w"], after.atoms[0]["w"])


def test_targets_come_from_the_target_network():
    """A loss that looks at one side only: of the target's samples, or of the model's."""
    for side in (0, 1):
        init, step = make_trainer(SMALL, lambda x, y, side=side: (x, y)[side].mean() + 0 * x.mean())
        start = jax.jit(init)(jax.random.key(0))
        other = start._replace(target=jax.tree.map(lambda w: 2 * w, start.target))
        step = jax.jit(step)
        (after, found), (_, moved) = step(start, stream()), step(other, stream())
        assert (found["loss"] != moved["loss"]) == bool(side)
        still = np.array_equal(after.atoms[0]["w"], start.atoms[0]["w"])
        assert still == bool(side)  # no gradient flows through targets


def test_phi_climbs_what_the_atoms_descend():
    spec = dataclasses.replace(
        SMALL, learned_kernel=True, embed_dim=2, phi_width=8, learning_rate=1e-2, ema=1.0
    )

    def mean_feature(x, y):
        return x.mean() + 0 * y.mean()

    init, step = make_trainer(spec, mean_feature)
    start = jax.jit(init)(jax.random.key(0))
    after, metrics = jax.jit(step)(start, stream())
    assert set(metrics) == {"loss", "phi_loss"}
    assert all(
        not np.array_equal(a["u"], b["u"]) for a, b in zip(start.phi, after.phi, strict=True)
    )
    points = [
        sample_atoms(atoms, jax.random.key(5), jnp.zeros(1), 64)
        for atoms in (start.atoms, after.atoms)
    ]
    before = phi_features(start.phi, points[0]).mean()
    assert phi_features(after.phi, points[0]).mean() > before + 1e-3
    assert phi_features(start.phi, points[1]).mean() < before - 1e-3


def test_the_step_size_falls_as_a_cosine():
    spec = dataclasses.replace(SMALL, decay_steps=10, adam_eps=1e-12)
    init, step = make_trainer(spec)
    state, moved = jax.jit(init)(jax.random.key(0)), []
    step = jax.jit(step)
    for _ in range(11):
        before = state.atoms[1]["w"]
        state, _ = step(state, stream())
        moved.append(float(np.abs(state.atoms[1]["w"] - before).max()))
    # Adam's updates are at most about as large as its step size, here 1e-3 falling to 0.
    assert moved[0] == pytest.approx(1e-3, rel=0.01)
    assert moved[8] < 2e-4 and moved[10] == 0


def test_windows_do_not_cross_cuts():
    obs = jnp.arange(10, dtype=jnp.float32)[:, None]
    never = jnp.zeros(10, bool)
    cut = never.at[4].set(True)
    kept = transitions(obs, never, cut, 2)
    # s_0 and s_1 may not be state 4, s_2 may.
    np.testing.assert_array_equal(kept.starts, [0, 1, 2, 5, 6, 7])
    assert not kept.last.any()
    absorbed = transitions(obs, never, cut, 2, "absorb")
    np.testing.assert_array_equal(absorbed.starts, np.arange(8))
    np.testing.assert_array_equal(absorbed.last, cut)
    ended = transitions(obs, cut, never, 2)
    np.testing.assert_array_equal(ended.starts, np.arange(8))
    np.testing.assert_array_equal(ended.last, cut)


NEVER = jnp.zeros(5, bool)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: TrainerSpec(1, gamma=1.0), r"gamma must lie in \[0, 1\), got 1."),
        (lambda: TrainerSpec(1, samples=1), "samples must be at least 2, got 1."),
        (lambda: TrainerSpec(1, atoms=0), "atoms must be at least 1, got 0."),
        (lambda: TrainerSpec(1, horizon=0), "horizon must be at least 1, got 0."),
        (lambda: TrainerSpec(1, ema=0.0), r"ema must lie in \(0, 1\], got 0."),
        (lambda: TrainerSpec(1, learning_rate=0.0), "learning_rate must be positive, got 0."),
        (lambda: two_level_mmd2(X[:, :1], Y[:, :1]), "at least 2 samples of each atom, not 1."),
        (lambda: two_level_mmd2(X, Y, bandwidth=0.0), "bandwidth must be 'median' or a"),
        (lambda: TrainerSpec(1, adam_eps=0.0), "adam_eps must be positive, got 0."),
        (lambda: TrainerSpec(1, decay_steps=-1), "decay_steps must be at least 0, got -1."),
        (lambda: init_atoms(jax.random.key(0), 0, 1), "m must be at least 1, got 0."),
        (lambda: transitions(jnp.zeros((5, 1)), NEVER, NEVER, 5), "5 states hold no window of"),
        (lambda: transitions(jnp.full((5, 1), jnp.nan), NEVER, NEVER, 2), "state 0 is not"),
        (lambda: transitions(jnp.zeros((5, 1)), NEVER, ~NEVER, 2), "No episode is longer than"),
        (lambda: nstep_targets(jax.random.key(0), jnp.zeros((1, 1)), NEVER[:1], X, 0.5),
         "A window holds at least 2 states"),
        (lambda: return_atoms(init_atoms(jax.random.key(0), 2, 1), jax.random.key(0),
                              jnp.zeros(1), lambda s: s, 0.5), "reward_fn must map states"),
    ],
)  # fmt: skip
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
