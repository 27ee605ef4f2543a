"""Delta-models: the distributional successor measure, learned from transitions without a reward.

Wiltzer, Farebrother, Gretton, Tang, Barreto, Dabney, Bellemare and Rowland (ICML 2024,
arXiv:2402.08530). The discounted occupancy of *one* trajectory from x is a random measure,

    M(.|x) = (1 - gamma) sum_t gamma^t delta_{X_t},   X_0 = x,                                  (1)

and the return of any reward r has the law of (1 - gamma)^-1 int r dM(.|x). The distributional
successor measure is the law of M(.|x), a distribution over distributions; it is the fixed point of

    M(.|x) =_law (1 - gamma) sum_{k<n} gamma^k delta_{X_k} + gamma^n M(.|X_n).                  (2)

A delta-model keeps m equally likely atoms Phi_i(x), each the law of a generator f_i(z, x) with its
own parameters, and is trained to agree with the right side of (2) in a distance between laws of
measures: an MMD whose kernel looks at MMDs.

    symbol     here             meaning
    gamma, n   gamma, horizon   discount, steps before the bootstrap
    m, N       atoms, samples   generators, and states drawn from each for a loss
    d          obs_dim          numbers that make a state
    f, theta   atoms            generators and their parameters; theta-bar: `target`
    phi        phi              the learned state kernel's features, R^d -> R^e
    kappa      inner            kernel on states, a function of ||x - y||^2
    K = h(./b) outer, bandwidth kernel on measures, a function of MMD_kappa^2

All functions treat one source state; `jax.vmap` makes batches. Where the paper and its code
(github.com/JesseFarebrother/distributional-sr) may differ, the code is followed: the paper's text
was not at hand.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

Kernel = Callable[[Array], Array]
"""A kernel as a function of squared distances, element by element."""
Params = Any
Loss = Callable[[Array, Array], Array]
"""(model's samples [m, N, d], target's samples [m, N, d]) -> a number to make small."""

# Kernels ------------------------------------------------------------------------------------------


def rq_kernel(
    d2: Float[Array, "*shape"], alphas: Sequence[float] = (0.2, 0.5, 1.0, 2.0, 5.0)
) -> Float[Array, "*shape"]:
    """Rational quadratic mixture sum_a (1 + d2 / (2 a))^-a, the number of alphas at d2 = 0."""
    return sum(_rational_quadratic(d2, a) for a in alphas)  # pyright: ignore[reportReturnType]


def _rational_quadratic(d2: Array, alpha: float) -> Array:
    ratio = d2 * (0.5 / alpha)
    if alpha == 0.5:
        return jax.lax.rsqrt(1 + ratio)
    inverse = 1 / (1 + ratio)
    if alpha == int(alpha):
        return jax.lax.integer_pow(inverse, int(alpha))
    return jnp.exp(-alpha * jnp.log(1 + ratio))  # log1p is slow on CPUs, and no better here


def imq(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Inverse multiquadric (1 + u)^(-1/2)."""
    return jax.lax.rsqrt(1 + u)


def imq_scales(
    d2: Float[Array, "*shape"], scales: Sequence[float] = (0.3, 3.0, 30.0)
) -> Float[Array, "*shape"]:
    """Inverse multiquadrics of several widths, sum_s (1 + d2 / s)^(-1/2).

    Deviation: for states as they are, which no phi has brought to the scale of `rq_kernel`; far
    apart it still has a slope, and it costs less.
    """
    return sum(jax.lax.rsqrt(1 + d2 * (1 / s)) for s in scales)  # pyright: ignore[reportReturnType]


def rbf(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Gaussian exp(-u)."""
    return jnp.exp(-u)


def energy_kernel(d2: Float[Array, "*shape"], exponent: float = 1.0) -> Float[Array, "*shape"]:
    """-||x - y||^exponent, conditionally positive; its slope where points meet is taken as 0."""
    apart = d2 > 0
    power = jnp.where(apart, d2, jnp.ones_like(d2)) ** (exponent / 2)
    return -jnp.where(apart, power, jnp.zeros_like(d2))


# Block means: every pair of atoms in one sweep ----------------------------------------------------


def squared_distances(x: Float[Array, "p d"], y: Float[Array, "q d"]) -> Float[Array, "p q"]:
    """||x_i - y_j||^2. Exactly 0 for equal points, up to 16 dimensions."""
    dim = x.shape[-1]
    if dim <= 16:  # a sum of squares that the compiler fuses into whatever follows
        return sum((x[:, k, None] - y[None, :, k]) ** 2 for k in range(dim))  # pyright: ignore[reportReturnType]
    norms = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1)
    return jnp.maximum(norms - 2 * x @ y.T, 0)


def block_means(
    x: Float[Array, "p n d"], y: Float[Array, "q k d"], kernel: Kernel
) -> Float[Array, "p q"]:
    """mean_{a, b} kappa(||x_ia - y_jb||^2) of all pairs (i, j).

    One block row of n x q k kernel values is in memory at a time, also in the gradient, which
    computes them anew; so memory does not grow with the number of atoms squared.
    """
    return jnp.asarray(_block_means(x, y, kernel))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _block_means(x: Array, y: Array, kernel: Kernel) -> Array:
    q, k, d = y.shape
    points = y.reshape(q * k, d)

    def row(x_i: Array) -> Array:
        values = kernel(squared_distances(x_i, points))
        return values.reshape(len(x_i), q, k).mean((0, 2))

    return jax.lax.map(row, x)


def _block_means_forward(x: Array, y: Array, kernel: Kernel) -> tuple[Array, tuple[Array, Array]]:
    return block_means(x, y, kernel), (x, y)


def _block_means_backward(
    kernel: Kernel, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, y = saved
    q, k, d = y.shape
    points = y.reshape(q * k, d)

    def row(d_points: Array, x_g: tuple[Array, Array]) -> tuple[Array, Array]:
        x_i, g_i = x_g
        d2 = squared_distances(x_i, points)
        _, slope = jax.jvp(kernel, (d2,), (jnp.ones_like(d2),))
        # d ||x - y||^2 = 2 (x - y) (dx - dy)
        weight = slope * jnp.repeat(g_i * (2 / (len(x_i) * k)), k)
        d_x = weight.sum(1)[:, None] * x_i - weight @ points
        return d_points + weight.sum(0)[:, None] * points - weight.T @ x_i, d_x

    d_points, d_x = jax.lax.scan(row, jnp.zeros_like(points), (x, g))
    return d_x, d_points.reshape(y.shape)


_block_means.defvjp(_block_means_forward, _block_means_backward)


def _self_means(x: Float[Array, "m n d"], kernel: Kernel) -> tuple[Array, Array]:
    """Means over all pairs of atoms [m, m], and within each atom over pairs of *different* samples
    [m] (the U-statistic)."""
    n = x.shape[1]
    means = block_means(x, x, kernel)
    at_zero = kernel(jnp.zeros((), x.dtype))
    return means, (n * jnp.diagonal(means) - at_zero) / (n - 1)


def block_mmd2(
    x: Float[Array, "p n d"], y: Float[Array, "q k d"], kernel: Kernel = rq_kernel
) -> Float[Array, "p q"]:
    """max(0, unbiased MMD^2) between the samples x_i and y_j, for all pairs (i, j).

        MMD^2 = E kappa(X, X') + E kappa(Y, Y') - 2 E kappa(X, Y)

    The first two as U-statistics over n (n - 1) pairs, the last over all n^2. Where an estimate is
    negative, so at its clip, the gradient is 0: take n >= 8 or so.
    """
    _check_samples(x, y)
    return _mmd2(_self_means(x, kernel)[1], _self_means(y, kernel)[1], block_means(x, y, kernel))


def _mmd2(within_x: Array, within_y: Array, between: Array) -> Array:
    return jnp.maximum(within_x[:, None] + within_y - 2 * between, 0)


def two_level_mmd2(
    x: Float[Array, "m n d"],
    y: Float[Array, "m n d"],
    inner: Kernel = rq_kernel,
    outer: Kernel = imq,
    bandwidth: Literal["median"] | float = "median",
    eps: float = 1e-6,
) -> Float[Array, ""]:
    """MMD^2 between two uniform laws on m measures, with kernel K(p, q) = h(MMD_kappa^2(p, q) / b).

    The outer one is a V-statistic (all m^2 pairs, diagonals kept). Distances are shared: 3 m^2 n^2
    kernel evaluations, where pair by pair each computes its two inner terms anew, 9 m^2 n^2.

    Args:
        x, y: n samples from each of m measures; the order of the measures does not matter.
        inner: kappa, of squared distances between states. outer: h, of squared MMDs over b.
        bandwidth: b, or the median of all squared MMDs between different measures (and all from x
            to y), at least `eps`; it carries no gradient.
    """
    _check_samples(x, y)
    if bandwidth != "median" and (isinstance(bandwidth, str) or bandwidth <= 0):
        raise ValueError(f"bandwidth must be 'median' or a positive number, got {bandwidth!r}.")
    (xx, u_x), (yy, u_y), xy = (
        _self_means(x, inner),
        _self_means(y, inner),
        block_means(x, y, inner),
    )
    d_xx, d_yy, d_xy = _mmd2(u_x, u_x, xx), _mmd2(u_y, u_y, yy), _mmd2(u_x, u_y, xy)
    b = median_bandwidth(d_xx, d_yy, d_xy, eps) if bandwidth == "median" else bandwidth
    return outer(d_xx / b).mean() + outer(d_yy / b).mean() - 2 * outer(d_xy / b).mean()


def median_bandwidth(
    d_xx: Float[Array, "m m"], d_yy: Float[Array, "m m"], d_xy: Float[Array, "m m"], eps: float
) -> Float[Array, ""]:
    """The median of d_xx and d_yy off their diagonals and of all d_xy; constant to gradients."""
    m = len(d_xx)
    # Without its first number and in rows of m + 1, the diagonal is the last column.
    off = [d.reshape(-1)[1:].reshape(m - 1, m + 1)[:, :-1].reshape(-1) for d in (d_xx, d_yy)]
    return jax.lax.stop_gradient(
        jnp.maximum(jnp.median(jnp.concatenate([*off, d_xy.reshape(-1)])), eps)
    )


def median_scaled_loss(
    x: Float[Array, "m n d"], y: Float[Array, "m n d"], eps: float = 1e-6
) -> Float[Array, ""]:
    """`two_level_mmd2` with Gaussian kernels, states scaled by their median squared distance.

    The median is that of up to 100 of the points, evenly taken: sorting all distances would cost
    twenty times as much as the loss.

    Deviation: the official `median` variant takes that median anew for each pair of atoms, so each
    pair has another kernel (`baselines.per_pair_median_loss`); one for all keeps K a kernel.
    """
    points = jnp.concatenate([x, y]).reshape(-1, x.shape[-1])
    points = points[:: -(-len(points) // 100)]
    d2 = squared_distances(points, points)
    scale = jax.lax.rsqrt(jnp.maximum(jnp.median(jax.lax.stop_gradient(d2)), eps))
    return two_level_mmd2(x * scale, y * scale, rbf, rbf)


def _check_samples(x: Array, y: Array) -> None:
    fewest = min(x.shape[1], y.shape[1])
    if fewest < 2:
        raise ValueError(f"An unbiased MMD needs at least 2 samples of each atom, not {fewest}.")


# Targets ------------------------------------------------------------------------------------------


def nstep_targets(
    key: Key[Array, ""],
    obs: Float[Array, "window d"],
    last: Bool[Array, " window"],
    boot: Float[Array, "m N d"],
    gamma: float,
    include_source: bool = True,
) -> Float[Array, "m N d"]:
    """Samples of the right side of (2): states of the window, or the bootstrap's.

    With the source included, s_k with probability (1 - gamma) gamma^k for k < n, else the bootstrap
    (gamma^n). Without, s_1 ... s_n in their place. From the first `last` on, the state stays.

    Args:
        obs: the states s_0 ... s_n. last: whether each ends its episode for good.
        boot: samples of the target's atoms at s_n.
    """
    if len(obs) < 2:
        raise ValueError("A window holds at least 2 states, n + 1 with n >= 1.")
    uniform = _uniform(key, boot.shape[:2], obs.dtype)
    return targets_of(uniform, obs, last, boot, gamma, include_source)


def _uniform(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform draws from (0, 1), both ends left out. Drawn flat: in several dimensions the random
    bits take seconds to compile, and longer to make."""
    tiny = jnp.finfo(dtype).tiny
    return jax.random.uniform(key, (math.prod(shape),), dtype, minval=tiny).reshape(shape)


def _normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, 1) draws, made flat for the same reason."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def targets_of(
    uniform: Float[Array, "m N"],
    obs: Float[Array, "window d"],
    last: Bool[Array, " window"],
    boot: Float[Array, "m N d"],
    gamma: float,
    include_source: bool = True,
) -> Float[Array, "m N d"]:
    """`nstep_targets` with its uniform draws from (0, 1) given."""
    _check_gamma(gamma)
    n = len(obs) - 1
    # P(k = t) = (1 - gamma) gamma^t; numbers above n all mean the bootstrap.
    draws = jnp.log(uniform) / math.log(gamma) if gamma > 0 else jnp.zeros_like(uniform)
    k = jnp.minimum(draws, n + 1).astype(jnp.int32) + (0 if include_source else 1)
    ends = jnp.any(last)
    k = jnp.where(ends, jnp.minimum(k, jnp.argmax(last).astype(jnp.int32)), k)
    emitted = k < (n if include_source else n + 1)
    states = obs[jnp.minimum(k, n)]
    return jnp.where((emitted | ends)[..., None], states, boot)


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1), got {gamma:g}.")


# Atoms: the generators f_i ------------------------------------------------------------------------


def init_atoms(
    key: Key[Array, ""],
    m: int,
    obs_dim: int,
    latent: int = 8,
    hidden: Sequence[int] = (256, 256, 256),
) -> Params:
    """m generators with separate parameters: a list of layers {w [m, in, out], b [m, out]}.

    The input is (z, x) in this order, z the latent noise. Weights N(0, 1 / in), biases 0.
    """
    for name, value in (("m", m), ("obs_dim", obs_dim), ("latent", latent)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    sizes = [latent + obs_dim, *hidden, obs_dim]
    shapes = [(m, i, o) for i, o in itertools.pairwise(sizes)]
    return [
        {"w": w / jnp.float32(math.sqrt(w.shape[1])), "b": jnp.zeros((m, w.shape[2]), jnp.float32)}
        for w in _normals(key, shapes)
    ]


def _normals(key: Key[Array, ""], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """N(0, 1) arrays from a single draw: many small draws take long to compile."""
    sizes = [math.prod(shape) for shape in shapes]
    numbers = _normal(key, (sum(sizes),), jnp.float32)
    ends = itertools.accumulate(sizes)
    return [
        numbers[end - size : end].reshape(shape)
        for shape, size, end in zip(shapes, sizes, ends, strict=True)
    ]


def sample_atoms(
    params: Params, key: Key[Array, ""], x: Float[Array, " d"], n: int
) -> Float[Array, "m n d"]:
    """n states from each atom's measure Phi_i(x)."""
    m, inputs, _ = params[0]["w"].shape
    return generate(params, _normal(key, (m, n, inputs - len(x)), x.dtype), x)


def generate(
    params: Params, z: Float[Array, "m n latent"], x: Float[Array, " d"]
) -> Float[Array, "m n d"]:
    """The states f_i(z, x): each atom's network with the noise z, drawn from N(0, I)."""
    m, n, _ = z.shape
    y = jnp.concatenate([z, jnp.broadcast_to(x, (m, n, len(x)))], axis=-1)
    for layer in params[:-1]:
        y = jax.nn.leaky_relu(_affine(layer, y), jnp.asarray(0.01, y.dtype))
    return _affine(params[-1], y)


def _affine(layer: Params, x: Float[Array, "m n i"]) -> Float[Array, "m n o"]:
    return jnp.einsum("mni,mio->mno", x, layer["w"]) + layer["b"][:, None]


def return_atoms(
    params: Params,
    key: Key[Array, ""],
    x: Float[Array, " d"],
    reward_fn: Callable[[Array], Array],
    gamma: float,
    n: int = 4096,
) -> Float[Array, " m"]:
    """m equally likely returns from x under a reward that the model has never seen.

        G_i = (1 - gamma)^-1 mean_j r(x_ij),   x_ij ~ Phi_i(x)

    Each carries the error of n samples, of variance Var_{Phi_i}(r) / (n (1 - gamma)^2).

    Args:
        reward_fn: states [n, d] -> rewards [n].
    """
    _check_gamma(gamma)
    states = sample_atoms(params, key, x, n)
    rewards = jax.vmap(reward_fn)(states)
    if rewards.shape != states.shape[:2]:
        raise ValueError(
            f"reward_fn must map states of shape {states.shape[1:]} to rewards of shape "
            f"{(states.shape[1],)}, not {rewards.shape[1:]}."
        )
    return rewards.mean(axis=1) / (1 - gamma)


# The learned state kernel: kappa(||phi(x) - phi(y)||^2) -------------------------------------------


def init_phi(
    key: Key[Array, ""], obs_dim: int, embed_dim: int = 8, width: int = 256, blocks: int = 2
) -> Params:
    """A residual network R^d -> R^e: {w [in, out], b [out], u [out]} for each dense layer.

    u is the running estimate of the layer's first right singular vector; see `phi_features`.
    """
    shapes = [(obs_dim, width), *((width, width),) * (3 * blocks), (width, embed_dim)]
    drawn = _normals(key, [*shapes, *((outputs,) for _, outputs in shapes)])
    return [
        {
            "w": w / jnp.float32(math.sqrt(len(w))),
            "b": jnp.zeros(len(u), jnp.float32),
            "u": _unit(u),
        }
        for w, u in zip(drawn[: len(shapes)], drawn[len(shapes) :], strict=True)
    ]


def phi_features(phi: Params, x: Float[Array, "*batch d"]) -> Float[Array, "*batch e"]:
    """Features with every weight matrix divided by its largest singular value.

    So each layer is 1-Lipschitz, and the kernel can neither blow up nor collapse. The singular
    value is that of one power iteration from u, which `power_iteration` advances.
    """
    first, *middle, final = [_normalised(layer) for layer in phi]
    act = functools.partial(jax.nn.leaky_relu, negative_slope=jnp.float32(0.01))
    h = _dense(first, x)
    for i in range(0, len(middle), 3):
        y = act(_dense(middle[i], act(h)))
        y = act(_dense(middle[i + 1], y))
        h = h + _dense(middle[i + 2], y)
    return _dense(final, act(h))


def _dense(layer: Params, x: Array) -> Array:
    return x @ layer["w"] + layer["b"]


def _normalised(layer: Params) -> Params:
    u, v = _power_step(layer)
    return {"w": layer["w"] / (v @ layer["w"] @ u), "b": layer["b"]}


def power_iteration(phi: Params) -> Params:
    """phi with each layer's u advanced by one step."""
    return [layer | {"u": _power_step(layer)[0]} for layer in phi]


def _power_step(layer: Params) -> tuple[Array, Array]:
    w = jax.lax.stop_gradient(layer["w"])
    v = _unit(w @ jax.lax.stop_gradient(layer["u"]))
    return _unit(w.T @ v), v


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), jnp.float32(1e-12))


# Training -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainerSpec:
    """A delta-model and how it is trained; defaults are the official code's.

    Attributes:
        obs_dim: d. atoms, samples: m and N. horizon: n of the n-step targets.
        latent, hidden: noise dimensions and hidden widths of each generator.
        learned_kernel: whether phi is trained against the model, or states are compared as they
            are. embed_dim, phi_width: of phi.
        phi_per_atom: one phi for each atom (only for a loss that never compares different atoms).
        batch: windows in a gradient step. learning_rate, adam_eps: of both Adams. An atom's share
            of the loss is of order 1 / m^2, so the official eps exceeds most gradients.
        decay_steps: steps over which the learning rate falls to nothing, as a cosine; 0: it stays.
        ema: share of the new parameters that the target takes up after each step.
        include_source: whether M counts X_0 (the official default).
    """

    obs_dim: int
    gamma: float = 0.95
    atoms: int = 51
    samples: int = 32
    horizon: int = 6
    latent: int = 8
    hidden: tuple[int, ...] = (256, 256, 256)
    learned_kernel: bool = True
    embed_dim: int = 8
    phi_width: int = 256
    phi_per_atom: bool = False
    batch: int = 64
    learning_rate: float = 6.25e-5
    adam_eps: float = 1.5e-4
    decay_steps: int = 0
    ema: float = 0.01
    include_source: bool = True

    def __post_init__(self) -> None:
        _check_gamma(self.gamma)
        for name in ("obs_dim", "atoms", "samples", "horizon", "latent", "batch", "embed_dim"):
            least = 2 if name == "samples" else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if not 0 < self.ema <= 1:
            raise ValueError(f"ema must lie in (0, 1], got {self.ema:g}.")
        for name in ("learning_rate", "adam_eps"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name):g}.")
        if self.decay_steps < 0:
            raise ValueError(f"decay_steps must be at least 0, got {self.decay_steps}.")


class Transitions(NamedTuple):
    """A stream of states, and where windows of n + 1 of them may begin; see `transitions`."""

    obs: Float[Array, "T d"]
    last: Bool[Array, " T"]
    starts: Int[Array, " K"]


class TrainerState(NamedTuple):
    """All that the rest of training depends on; `target` is the running average of `atoms`."""

    atoms: Params
    target: Params
    phi: Params
    adam_atoms: Any
    adam_phi: Any
    key: Key[Array, ""]


def make_trainer(
    spec: TrainerSpec, loss: Loss = two_level_mmd2
) -> tuple[
    Callable[[Array], TrainerState],
    Callable[[TrainerState, Transitions], tuple[TrainerState, dict[str, Array]]],
]:
    """(init, step): one step lets phi tell the two sides of (2) apart, then the atoms agree again.

    Both are pure, to be compiled, scanned over steps and mapped over seeds by the caller. `step`
    returns the loss before each of its two updates.
    """
    adam = optax.adam(_learning_rate(spec), eps=spec.adam_eps)

    def init(key: Array) -> TrainerState:
        k_atoms, k_phi, k_run = jax.random.split(key, 3)
        atoms = init_atoms(k_atoms, spec.atoms, spec.obs_dim, spec.latent, spec.hidden)
        phi = _init_phis(k_phi, spec) if spec.learned_kernel else []
        return TrainerState(atoms, atoms, phi, adam.init(atoms), adam.init(phi), k_run)

    def update(gradient: Params, state: Any) -> tuple[Params, Any]:
        with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to its integer count
            return adam.update(gradient, state)

    def objective(
        atoms: Params, phi: Params, target: Params, key: Array, data: Transitions
    ) -> Array:
        """Mean loss of a batch drawn with `key`."""
        lhs, rhs = _both_sides(spec, atoms, target, key, data)
        if spec.learned_kernel:
            lhs, rhs = _features(spec, phi, lhs), _features(spec, phi, rhs)
        return jax.vmap(loss)(lhs, rhs).mean()

    def phi_step(state: TrainerState, key: Array, data: Transitions) -> tuple[TrainerState, Array]:
        fixed = jax.lax.stop_gradient(state.atoms)
        value, gradient = jax.value_and_grad(
            lambda phi: -objective(fixed, phi, state.target, key, data)
        )(state.phi)
        updates, adam_phi = update(gradient, state.adam_phi)
        phi = _map_phi(spec, power_iteration, optax.apply_updates(state.phi, updates))
        return state._replace(phi=phi, adam_phi=adam_phi), -value

    def atoms_step(
        state: TrainerState, key: Array, data: Transitions
    ) -> tuple[TrainerState, Array]:
        value, gradient = jax.value_and_grad(objective)(
            state.atoms, state.phi, state.target, key, data
        )
        updates, adam_atoms = update(gradient, state.adam_atoms)
        atoms = optax.apply_updates(state.atoms, updates)
        target = optax.incremental_update(atoms, state.target, spec.ema)
        return state._replace(atoms=atoms, target=target, adam_atoms=adam_atoms), value

    def step(state: TrainerState, data: Transitions) -> tuple[TrainerState, dict[str, Array]]:
        key, k_phi, k_atoms = jax.random.split(state.key, 3)
        state = state._replace(key=key)
        metrics = {}
        if spec.learned_kernel:
            state, metrics["phi_loss"] = phi_step(state, k_phi, data)
        state, metrics["loss"] = atoms_step(state, k_atoms, data)
        return state, metrics

    return init, step


def _learning_rate(spec: TrainerSpec) -> Any:
    if spec.decay_steps == 0:
        return spec.learning_rate
    return optax.cosine_decay_schedule(spec.learning_rate, spec.decay_steps)


def _both_sides(
    spec: TrainerSpec, atoms: Params, target: Params, key: Array, data: Transitions
) -> tuple[Float[Array, "B m N d"], Float[Array, "B m N d"]]:
    """Samples of the model at s_0, and of its target, for a batch of windows."""
    k_batch, k_latent, k_targets = jax.random.split(key, 3)
    draws = jax.random.randint(k_batch, (spec.batch,), 0, len(data.starts))
    window = data.starts[draws][:, None] + jnp.arange(spec.horizon + 1, dtype=jnp.int32)
    obs, last = data.obs[window], data.last[window]
    shape = (spec.batch, spec.atoms, spec.samples)
    z = _normal(k_latent, (2, *shape, spec.latent), obs.dtype)
    uniform = _uniform(k_targets, shape, obs.dtype)

    def one(
        z: Array, uniform: Array, obs: Array, last: Array
    ) -> tuple[Float[Array, "m N d"], Float[Array, "m N d"]]:
        boot = generate(target, z[1], obs[-1])
        targets = targets_of(uniform, obs, last, boot, spec.gamma, spec.include_source)
        return generate(atoms, z[0], obs[0]), targets

    lhs, rhs = jax.vmap(one, in_axes=(1, 0, 0, 0))(z, uniform, obs, last)
    return lhs, jax.lax.stop_gradient(rhs)


def _init_phis(key: Array, spec: TrainerSpec) -> Params:
    def one(key: Array) -> Params:
        return init_phi(key, spec.obs_dim, spec.embed_dim, spec.phi_width)

    return jax.vmap(one)(jax.random.split(key, spec.atoms)) if spec.phi_per_atom else one(key)


def _map_phi(spec: TrainerSpec, function: Callable[[Params], Params], phi: Params) -> Params:
    return jax.vmap(function)(phi) if spec.phi_per_atom else function(phi)


def _features(spec: TrainerSpec, phi: Params, x: Float[Array, "B m N d"]) -> Array:
    if spec.phi_per_atom:
        return jax.vmap(phi_features, in_axes=(0, 1), out_axes=1)(phi, x)
    return phi_features(phi, x)


def transitions(
    obs: Float[Array, "T d"],
    terminated: Bool[Array, " T"],
    truncated: Bool[Array, " T"],
    horizon: int,
    truncation: Literal["exclude", "absorb"] = "exclude",
) -> Transitions:
    """A stream of episodes laid end to end, ready for training with n-step targets.

    A terminal state is one that the process stays in for ever. A state where an episode was only
    cut short is not, so "exclude" (Deviation) takes no window that goes on beyond it; "absorb"
    treats it as terminal, the official treatment of Pendulum's 200-step limit.

    Args:
        terminated, truncated: whether each state is the last of its episode, in either way.
    """
    _check_stream(np.asarray(obs), horizon)
    ended, limited = np.asarray(terminated), np.asarray(truncated)
    last = ended | limited if truncation == "absorb" else ended
    # Number of cuts among s_0 ... s_{n-1}; one at s_n does no harm, it is bootstrapped from.
    before = np.concatenate([[0], np.cumsum(limited & ~last)])
    whole = before[horizon:-1] == before[: len(obs) - horizon]
    if not whole.any():
        raise ValueError(f"No episode is longer than the horizon of {horizon} steps.")
    starts = np.flatnonzero(whole).astype(np.int32)
    return Transitions(jnp.asarray(obs), jnp.asarray(last), jnp.asarray(starts))


def _check_stream(obs: np.ndarray, horizon: int) -> None:
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}.")
    if len(obs) <= horizon:
        raise ValueError(f"{len(obs)} states hold no window of horizon + 1 = {horizon + 1} states.")
    finite = np.isfinite(obs).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"obs must be finite; state {row} is not.")
