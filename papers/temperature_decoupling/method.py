"""Entropy-regularised reinforcement learning whose vanishing-temperature limit is known.

Jhaveri, Wiltzer, Shafto, Bellemare, Meger: Convergence Theorems for Entropy-Regularized and
Distributional Reinforcement Learning, NeurIPS 2025, arXiv 2510.08526.

Annealing the temperature of entropy-regularised RL leads to *an* optimal policy, chosen by what
lies ahead. The temperature-decoupling gambit optimises at a small temperature sigma and acts at a
larger one, tau, with sigma / tau -> 0: policies, values and return laws then converge to those of
the optimality-filtered reference, pi_ref restricted to optimal actions. This file needs jax, numpy
and jaxtyping, and nothing else of this repository.

    symbol        here          meaning
    X, A, P, r    TabularMDP    finite states and actions, P(x'|x,a), expected reward r(x,a)
    gamma         gamma         discount, in [0, 1)
    pi_ref        log_ref       log of the reference policy [S, A]; -inf where it has no mass
    tau, sigma    tau, sigma    temperatures: acting, optimising; they multiply a KL to pi_ref
    V_tau q       soft_value    tau log sum_a pi_ref(a|x) exp(q(x,a) / tau)
    G_tau q       gibbs         Boltzmann-Gibbs policy, pi_ref exp((q - V_tau q) / tau)
    q*_tau        soft_vi       fixed point of B*_tau q = r + gamma P V_tau q
    q*_ref        ref_optimal_q the same with the maximum over the support of pi_ref
    N(x)                        optimal actions of q*_ref among those of pi_ref
    pi^{ref,*}    filtered_reference   pi_ref restricted to N, normalised
    pi^{tau,sigma} decoupled_policy    G_tau q*_sigma
    zeta, eta     zeta          laws of the return from (x,a), probabilities on a grid z [S, A, m]
    Q zeta        means         table of means
    T^pi_tau      soft_dist_operator   soft distributional Bellman operator
    T*_tau, T*    soft_dist_optimality, greedy_dist_optimality

Values are charged the penalty tau KL(pi || pi_ref) from the *next* state on. Everything takes one
MDP and one temperature; batch both with `jax.vmap`.

Precision is that of the arrays: float64 needs `with jax.enable_x64():` around the calls (asked for
without it, a ValueError says so). `mdp.astype(np.float32)` computes in single precision, where the
paper's numerical artefact appears: the choice among optimal actions is lost to rounding at small
temperatures, and `estimate_reference_return_law` warns of it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

Kind = Literal["cramer", "mmd"]
Operator = Callable[[Float[ArrayLike, "S A m"]], Float[Array, "S A m"]]
Scalar = Shaped[ArrayLike, ""]

# --- MDPs and their checks ------------------------------------------------------------------------


class Successors(NamedTuple):
    """A sparse P: the K states that may follow each pair, with probabilities (0 where unused)."""

    state: Int[ArrayLike, "*batch S A K"]
    prob: Float[ArrayLike, "*batch S A K"]


class TabularMDP(NamedTuple):
    """A finite MDP: P f[S, A, S] (or `Successors`), expected rewards r f[S, A], discount gamma."""

    P: Any
    r: Any
    gamma: Any

    def astype(self, dtype: Any) -> TabularMDP:
        """The same MDP with all of its real numbers in another precision (NumPy arrays)."""

        def cast(x: ArrayLike) -> np.ndarray:
            x = np.asarray(x)
            return x if np.issubdtype(x.dtype, np.integer) else x.astype(dtype)

        return jax.tree.map(cast, self)

    def validate(self, start: tuple[int, ...] | None = None) -> TabularMDP:
        """This MDP, unless something is wrong with it.

        Args:
            start: where given, every state must be reachable from these states.

        Raises:
            ValueError: one sentence that names the first offending index.
        """
        r, gamma = np.asarray(self.r), float(np.asarray(self.gamma))
        if r.ndim != 2 or r.size == 0:
            raise ValueError(f"r must have shape [S, A] with S, A >= 1; got {r.shape}.")
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must be in [0, 1); got {gamma}.")
        _refuse(~np.isfinite(r), "r{} is not finite; rewards must be.")
        index, prob = _checked_successors(self.P, r.shape)
        if start is not None:
            _check_reachable(index, prob, start)
        return self


def _refuse(wrong: np.ndarray, sentence: str) -> None:
    """Raise `sentence` about the first place where `wrong` is true."""
    if wrong.any():
        raise ValueError(sentence.format([int(i) for i in np.argwhere(wrong)[0]]))


def _checked_successors(P: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Successors and probabilities [S, A, K], after all checks of P."""
    S, A = shape
    if isinstance(P, Successors):
        index, prob = np.asarray(P.state), np.asarray(P.prob)
        if index.shape != prob.shape or index.shape[:-1] != shape:
            raise ValueError(
                f"Successors must have two arrays [S, A, K] = [{S}, {A}, K]; got {index.shape} and "
                f"{prob.shape}."
            )
        _refuse((index < 0) | (index >= S), f"index{{}} is not a state 0 ... {S - 1}.")
    else:
        prob = np.asarray(P)
        if prob.shape != (S, A, S):
            raise ValueError(
                f"P must have shape [S, A, S] = [{S}, {A}, {S}] like r; got {prob.shape}."
            )
        index = np.broadcast_to(np.arange(S), prob.shape)
    _refuse(~(prob >= 0), "P{} is negative or not a number; probabilities must be at least 0.")
    slack = 1e-9 if prob.dtype == np.float64 else 1e-5
    _refuse(abs(prob.sum(-1) - 1) > slack, "The row P{} does not sum to 1.")
    return index, prob


def _check_reachable(index: np.ndarray, prob: np.ndarray, start: tuple[int, ...]) -> None:
    S = len(index)
    if not start or any(not 0 <= x < S for x in start):
        raise ValueError(f"start must name states 0 ... {S - 1}; got {start}.")
    seen, frontier = np.zeros(S, bool), np.array(start)
    while frontier.size:
        seen[frontier] = True
        after = np.unique(index[frontier][prob[frontier] > 0])
        frontier = after[~seen[after]]
    _refuse(~seen, f"State {{}} cannot be reached from the start states {list(start)}.")


def log_policy(pi: Float[ArrayLike, ...]) -> Float[np.ndarray, "S A"]:
    """The logarithm of a policy [S, A], -inf where it has no mass.

    Raises:
        ValueError: a negative entry, or a row that does not sum to 1; the row is named.
    """
    pi = np.asarray(pi)
    if pi.ndim != 2:
        raise ValueError(f"A policy must have shape [S, A]; got {pi.shape}.")
    _refuse(~(pi >= 0), "The policy is negative or not a number at {}.")
    slack = 1e-9 if pi.dtype == np.float64 else 1e-5
    _refuse(abs(pi.sum(1) - 1) > slack, "The policy's row {} does not sum to 1.")
    with np.errstate(divide="ignore"):
        return np.log(pi)


def sparse(P: Float[ArrayLike, "S A S"]) -> Successors:
    """The successors of a dense P, K being the largest number that any pair has."""
    P = np.asarray(P)
    K = int((P > 0).sum(-1).max())
    index = np.argsort(P <= 0, axis=-1, kind="stable")[..., :K]
    return Successors(index.astype(np.int32), np.take_along_axis(P, index, -1))


def check_temperature(name: str, value: Any, least: str = "above 0") -> None:
    """Refuse a temperature that is not finite, or not `least` (`above 0` or `at least 0`)."""
    if isinstance(value, int | float | np.ndarray | np.generic):
        bad = ~(np.asarray(value) > 0) if least == "above 0" else ~(np.asarray(value) >= 0)
        if bad.any() or not np.isfinite(value).all():
            raise ValueError(f"The temperature {name} must be finite and {least}; got {value}.")


def check_precision(*trees: Any) -> None:
    """Refuse float64 where jax would round it to float32 without a word."""
    leaves = jax.tree.leaves(trees)
    if jnp.result_type(float) != jnp.float64 and any(
        getattr(leaf, "dtype", None) == np.float64 for leaf in leaves
    ):
        raise ValueError(
            "float64 arrays need `with jax.enable_x64():` around the call; pass float32 arrays "
            "(mdp.astype(np.float32)) to compute in single precision."
        )


# --- Soft values and policies ---------------------------------------------------------------------


def expect(P: Any, v: Float[ArrayLike, " S"]) -> Float[Array, "S A"]:
    """sum_x' P(x'|x,a) v(x'), for a dense P or `Successors`."""
    v = jnp.asarray(v)
    if isinstance(P, Successors):
        return jnp.sum(jnp.asarray(P.prob) * v[jnp.asarray(P.state)], axis=-1)
    return jnp.asarray(P) @ v


def _best(q: Array, log_ref: Array) -> Array:
    """max over the support of pi_ref, [S]."""
    return jnp.max(jnp.where(log_ref > -jnp.inf, q, -jnp.inf), axis=-1)


def soft_value(
    q: Float[ArrayLike, "S A"], log_ref: Float[ArrayLike, "S A"], tau: Scalar
) -> Float[Array, " S"]:
    """(V_tau q)(x) = tau log sum_a pi_ref(a|x) exp(q(x,a) / tau), section 2.

    1-Lipschitz in sup norm, at most the maximum over the support of pi_ref, which it reaches as
    tau -> 0. The maximum is taken out first, so no temperature overflows.
    """
    check_temperature("tau", tau)
    check_precision(q, log_ref)
    q, log_ref = jnp.asarray(q), jnp.asarray(log_ref)
    best = _best(q, log_ref)
    return best + tau * jax.nn.logsumexp((q - best[:, None]) / tau + log_ref, axis=-1)


def gibbs(
    q: Float[ArrayLike, "S A"], log_ref: Float[ArrayLike, "S A"], tau: Scalar
) -> Float[Array, "S A"]:
    """The Boltzmann-Gibbs policy (G_tau q)(a|x) = pi_ref(a|x) exp((q - V_tau q)(x,a) / tau)."""
    check_temperature("tau", tau)
    check_precision(q, log_ref)
    q, log_ref = jnp.asarray(q), jnp.asarray(log_ref)
    return jax.nn.softmax((q - _best(q, log_ref)[:, None]) / tau + log_ref, axis=-1)


def kl(pi: Float[ArrayLike, "S A"], log_ref: Float[ArrayLike, "S A"]) -> Float[Array, " S"]:
    """KL(pi_x || pi_ref_x), with 0 log 0 = 0; infinite where pi leaves the support."""
    pi, log_ref = jnp.asarray(pi), jnp.asarray(log_ref)
    terms = jnp.where(pi > 0, pi * (jnp.log(jnp.where(pi > 0, pi, 1)) - log_ref), 0)
    return jnp.sum(terms, axis=-1)


def soft_vi(
    mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"], tau: Scalar, n: int
) -> Float[Array, "S A"]:
    """q after n applications of (B*_tau q)(x,a) = r + gamma sum_x' P(x'|x,a) (V_tau q)(x') to 0.

    A gamma-contraction in sup norm: the distance to q*_tau is at most gamma^n ||q*_tau||.
    """
    check_temperature("tau", tau)
    check_precision(mdp, log_ref)
    return _soft_vi(mdp, jnp.asarray(log_ref), tau, n)


@functools.partial(jax.jit, static_argnames="n")
def _soft_vi(mdp: TabularMDP, log_ref: Array, tau: Any, n: int) -> Array:
    r = jnp.asarray(mdp.r)

    def sweep(_: Any, q: Array) -> Array:
        return r + mdp.gamma * expect(mdp.P, soft_value(q, log_ref, tau))

    return lax.fori_loop(0, n, sweep, jnp.zeros_like(r))


# --- Limits, and policies at any temperature ------------------------------------------------------


def _fixed_point(sweep: Callable[[Array], Array], x: Array, gamma: Any) -> Array:
    """Iterate a gamma-contraction until rounding stops it."""
    eps = float(jnp.finfo(x.dtype).eps)
    most = jnp.log(eps * (1 - gamma)) / jnp.log(gamma) + 10  # gamma = 0: 10 sweeps

    def go_on(state: tuple) -> Array:
        old, new, n = state
        scale = jnp.maximum(1, jnp.max(jnp.abs(new)))
        return (jnp.max(jnp.abs(new - old)) > 2 * eps * scale) & (n < most)

    def step(state: tuple) -> tuple:
        _, new, n = state
        return new, sweep(new), n + 1

    return lax.while_loop(go_on, step, (x, sweep(x), jnp.asarray(1, x.dtype)))[1]


@jax.jit
def _ref_optimal_q(mdp: TabularMDP, log_ref: Array) -> Array:
    r = jnp.asarray(mdp.r)
    gamma = jnp.asarray(mdp.gamma, r.dtype)
    return _fixed_point(lambda q: r + gamma * expect(mdp.P, _best(q, log_ref)), r, gamma)


def ref_optimal_q(mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"]) -> Float[Array, "S A"]:
    """q*_ref: optimal values when only actions in the support of pi_ref may be taken (Def. 3.3).

    At most q*; equal to it where pi_ref has full support (Theorem 3.2).
    """
    check_precision(mdp, log_ref)
    return _ref_optimal_q(mdp, jnp.asarray(log_ref))


def _gaps(q: Array, log_ref: Array, atol: float | None) -> Array:
    """q(x,a) - max q(x,.) over the support: 0 for ties (up to atol), -inf off the support."""
    relative = 1e-9 if q.dtype == jnp.float64 else 1e-5
    slack = relative * jnp.maximum(1, jnp.max(jnp.abs(q))) if atol is None else atol
    gap = q - _best(q, log_ref)[:, None]
    return jnp.where(log_ref > -jnp.inf, jnp.where(gap >= -slack, 0, gap), -jnp.inf)


def optimal_actions(
    q: Float[ArrayLike, "S A"], log_ref: Float[ArrayLike, "S A"], atol: float | None = None
) -> Bool[Array, "S A"]:
    """N(x): actions of the support of pi_ref whose q is within `atol` of the best.

    Rounding breaks ties of q, so there must be a tolerance; the default is 1e-9 (1e-5 in float32)
    times the largest |q|.
    """
    check_precision(q, log_ref)
    return _gaps(jnp.asarray(q), jnp.asarray(log_ref), atol) == 0


def filtered_reference(
    mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"], atol: float | None = None
) -> Float[Array, "S A"]:
    """pi^{ref,*}: pi_ref restricted to the optimal actions and normalised (Def. 3.8).

    The limit of the decoupled policies. Deviation: the definition is written with q*, its proof
    takes q*_ref; they agree where pi_ref has full support, and q*_ref is right elsewhere.
    """
    gap = _gaps(ref_optimal_q(mdp, log_ref), jnp.asarray(log_ref), atol)
    return jax.nn.softmax(jnp.where(gap == 0, jnp.asarray(log_ref), -jnp.inf), axis=-1)


@jax.jit
def _tilt(mdp: TabularMDP, exponent: Array) -> tuple[Array, Array]:
    """The fixed point W(x) = log sum_a exp(exponent + u)(x,a), u = gamma P W; returns W and u."""
    gamma = jnp.asarray(mdp.gamma, exponent.dtype)

    def reach(W: Array) -> Array:
        return gamma * expect(mdp.P, W)

    def sweep(W: Array) -> Array:
        return jax.nn.logsumexp(exponent + reach(W), axis=-1)

    W = _fixed_point(sweep, jnp.zeros(exponent.shape[0], exponent.dtype), gamma)
    return W, reach(W)


def erl_limit(
    mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"], atol: float | None = None
) -> tuple[Float[Array, "S A"], Float[Array, " S"], Float[Array, "S A"]]:
    """The limit of the tau-optimal policies themselves, in closed form (Theorem 2.5).

        W(x) = log sum_{a in N(x)} pi_ref(a|x) exp(u(x,a)),   u(x,a) = gamma sum_x' P(x'|x,a) W(x')
        pi^{ERL,*}(a|x) = pi_ref(a|x) 1{a in N(x)} exp(u(x,a) - W(x))

    -W(x) is the least discounted KL to pi_ref of acting optimally from x, and
    q*_tau = q*_ref + tau u up to terms that vanish faster than any power of tau.

    Returns:
        pi^{ERL,*} [S, A], W [S], u [S, A].
    """
    gap = _gaps(ref_optimal_q(mdp, log_ref), jnp.asarray(log_ref), atol)
    exponent = jnp.where(gap == 0, jnp.asarray(log_ref), -jnp.inf)
    W, u = _tilt(mdp, exponent)
    return jax.nn.softmax(exponent + u, axis=-1), W, u


def tilt(
    mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"], sigma: Scalar, atol: float | None = None
) -> tuple[Float[Array, "S A"], Float[Array, "S A"]]:
    """q*_sigma without cancellation at any sigma > 0: q*_sigma = q*_ref + sigma u exactly, with

        W(x) = log sum_a pi_ref(a|x) exp((q*_ref(x,a) - max q*_ref(x,.)) / sigma + u(x,a)),
        u = gamma P W.

    q*_sigma itself holds the tie-breaking term sigma u only to the precision of q*_ref, which at
    sigma = 1e-12 leaves four digits; here it is a number of its own.

    Returns:
        The gaps q*_ref - max q*_ref [S, A] (0 for ties within `atol`, -inf off the support), and u.
    """
    check_temperature("sigma", sigma)
    gap = _gaps(ref_optimal_q(mdp, log_ref), jnp.asarray(log_ref), atol)
    return gap, _tilt(mdp, jnp.asarray(log_ref) + gap / sigma)[1]


def optimal_policy(
    mdp: TabularMDP, log_ref: Float[ArrayLike, "S A"], tau: Scalar, atol: float | None = None
) -> Float[Array, "S A"]:
    """pi^{tau,*} = G_tau q*_tau, the tau-optimal policy (Theorem 2.3), from the split of `tilt`."""
    gap, u = tilt(mdp, log_ref, tau, atol)
    return jax.nn.softmax(jnp.asarray(log_ref) + gap / tau + u, axis=-1)


def decoupled_policy(
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    tau: Scalar,
    sigma: Scalar | None = None,
    atol: float | None = None,
) -> Float[Array, "S A"]:
    """pi^{tau,sigma} = G_tau q*_sigma, the temperature-decoupling gambit (Def. 3.7).

    Optimise at the small temperature sigma, act at the larger tau. Converges to
    `filtered_reference` where sigma / tau -> 0 (Theorem 3.9); the error is of order sigma / tau.

    Args:
        sigma: default tau ** 2, the paper's choice.

    Raises:
        ValueError: sigma >= tau.
    """
    check_temperature("tau", tau)
    sigma = jnp.square(jnp.asarray(tau)) if sigma is None else sigma
    known = not isinstance(tau, Tracer) and not isinstance(sigma, Tracer)
    if known and not (np.asarray(sigma) < np.asarray(tau)).all():
        raise ValueError(
            f"Decoupling needs sigma << tau (optimise at sigma, act at tau); got sigma = {sigma} "
            f"and tau = {tau}."
        )
    gap, u = tilt(mdp, log_ref, sigma, atol)
    exponent = jnp.asarray(log_ref) + gap / tau + (sigma / tau) * u
    return jax.nn.softmax(exponent, axis=-1)


# --- Projections of return laws -------------------------------------------------------------------


def project(
    y: Float[ArrayLike, " k"], z: Float[ArrayLike, " m"], kind: Kind = "cramer", alpha: float = 1.5
) -> Float[Array, "k m"]:
    """The weights on the ascending grid z that stand for a point mass at each y.

    cramer: split between the two neighbours of y, all on the end where y is outside. Keeps the mean
        inside the grid, and W_1 never grows, so projected operators contract like exact ones.
    mmd: least MMD with kernel -|u - v|^alpha, 0 < alpha < 2, over weights that sum to 1 and may be
        *negative*: linear in the law, but no logarithm of it may be taken, and the mean is kept
        only nearly. With alpha = 1 it equals cramer inside the grid. Whether the paper's weights
        are signed is not known.
    """
    y, z = jnp.asarray(y), jnp.asarray(z)
    check_precision(y, z)
    if kind == "cramer":
        return _interpolation(y, z)
    if kind != "mmd":
        raise ValueError(f"kind must be cramer or mmd; got {kind!r}.")
    if not 0 < alpha < 2:
        raise ValueError(f"alpha must be in (0, 2); got {alpha}.")
    return _mmd_weights(y, z, alpha)


def _neighbours(y: Array, z: Array) -> tuple[Array, Array]:
    """Index of the grid atom at or below each y (clipped), and the share of the one above."""
    low = jnp.clip(jnp.searchsorted(z, y, side="right") - 1, 0, z.shape[0] - 2)
    share = (y - z[low]) / (z[low + 1] - z[low])
    return low, jnp.clip(share, 0, 1)


def _interpolation(y: Array, z: Array) -> Array:
    low, share = _neighbours(y, z)
    rows = jnp.arange(y.shape[0])
    empty = jnp.zeros((y.shape[0], z.shape[0]), z.dtype)
    return empty.at[rows, low].set(1 - share).at[rows, low + 1].set(share)


def _mmd_weights(y: Array, z: Array, alpha: float) -> Array:
    """The saddle system [[-|z_i - z_j|^alpha, 1], [1', 0]] [p; lambda] = [-|z - y|^alpha; 1].

    It is ill-conditioned (1e5 at 121 atoms), which single precision would show as errors of a
    hundredth in every weight. So it is solved for the difference from the interpolation, which
    vanishes on the grid and near it, where the fixed points of return laws have their atoms.
    """
    m = z.shape[0]
    # In units of the spacing the system is well scaled, and its solution is the same.
    unit = (z[-1] - z[0]) / (m - 1)
    z, y = (z - z[0]) / unit, (y - z[0]) / unit
    system = jnp.ones((m + 1, m + 1), z.dtype).at[m, m].set(0)
    system = system.at[:m, :m].set(-(jnp.abs(z[:, None] - z) ** alpha))
    right = jnp.zeros((m + 1, y.shape[0]), z.dtype)
    right = right.at[:m].set(-jax.vmap(lambda y: _defect(y, z, alpha))(y).T)
    return _interpolation(y, z) + jnp.linalg.solve(system, right)[:m].T


def _defect(y: Array, z: Array, alpha: float) -> Array:
    """|z - y|^alpha minus its interpolation between the neighbours of y, without cancellation."""
    low, share = (part[0] for part in _neighbours(y[None], z))
    d, t, h = z - z[low], y - z[low], z[low + 1] - z[low]
    near = (d == 0) | (d == h)
    plain = jnp.abs(d - t) ** alpha - (1 - share) * jnp.abs(d) ** alpha
    plain = plain - share * jnp.abs(d - h) ** alpha
    safe = jnp.where(near, jnp.inf, d)
    ratio = jnp.expm1(alpha * jnp.log1p(-t / safe))
    ratio = ratio - share * jnp.expm1(alpha * jnp.log1p(-h / safe))
    return jnp.where(near, plain, jnp.abs(jnp.where(near, 1, d)) ** alpha * ratio)


def projection_error(z: Float[ArrayLike, " m"], gamma: float) -> float:
    """Bound on W_1 between the fixed points with and without the cramer projection.

    An atom moves by half a spacing at most, in every application: spacing / 2 / (1 - gamma).
    """
    return float(np.max(np.diff(np.asarray(z)))) / 2 / (1 - gamma)


# --- Distributional dynamic programming -----------------------------------------------------------


def means(zeta: Float[ArrayLike, "S A m"], z: Float[ArrayLike, " m"]) -> Float[Array, "S A"]:
    """Q zeta, the table of means."""
    return jnp.asarray(zeta) @ jnp.asarray(z)


def soft_dist_operator(
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    pi: Float[ArrayLike, "S A"],
    tau: Scalar,
    z: Float[ArrayLike, " m"],
    kind: Kind = "cramer",
    alpha: float = 1.5,
) -> Operator:
    """The projected soft distributional Bellman operator Pi T^pi_tau (Def. 4.1).

        (T^pi_tau zeta)(x,a) = law of r(x,a) - gamma tau kl[pi](X') + gamma Z,
        X' ~ P(.|x,a), A' ~ pi_X', Z ~ zeta(X',A')

    tau = 0 is policy evaluation without penalty. A gamma-contraction in sup-W_p (Theorem 4.2); with
    the cramer projection it stays one in sup-W_1.

    Returns:
        zeta [S, A, m] -> zeta. `mmd` solves its linear systems once, here.

    Warns:
        UserWarning: the grid does not cover all returns; the needed range is named.
    """
    check_temperature("tau", tau, "at least 0")
    check_precision(mdp, log_ref, pi, z)
    _check_cover(mdp, z)
    pi, z, r = jnp.asarray(pi), jnp.asarray(z), jnp.asarray(mdp.r)
    penalty = tau * jnp.where(jnp.asarray(tau) > 0, kl(pi, log_ref), 0)
    push = _PUSHES[kind](z, alpha)
    after = by_successor(mdp.P, r.shape)

    def place(index: Array) -> Array:  # where the grid goes, [S, A, m]
        return r[..., None] + mdp.gamma * (z - penalty[index][..., None])

    ready = jax.vmap(lambda index: push.prepare(place(index)))(after[0]) if push.keep else None

    def operator(zeta: Float[ArrayLike, "S A m"]) -> Array:
        zeta = jnp.asarray(zeta)
        eta = jnp.einsum("xa,xam->xm", pi, zeta)

        def add(total: Array, successor: tuple) -> tuple[Array, None]:
            index, prob, prepared = successor
            prepared = prepared if push.keep else push.prepare(place(index))
            return total + prob[..., None] * push.apply(eta[index], prepared), None

        return lax.scan(add, jnp.zeros_like(zeta), (*after, ready))[0]

    return operator


class _Push(NamedTuple):
    """How probabilities on shifted atoms y [S, A, m] come onto the grid.

    `prepare` turns y into what `apply` needs; `keep` says whether that is worth storing.
    """

    prepare: Callable[[Array], Any]
    apply: Callable[[Array, Any], Array]
    keep: bool


def _cramer_push(z: Array, alpha: float) -> _Push:
    del alpha
    m = z.shape[0]

    def split(p: Array, low: Array, share: Array) -> Array:
        return jnp.zeros(m, p.dtype).at[low].add(p * (1 - share)).at[low + 1].add(p * share)

    rows = jax.vmap(jax.vmap(split))
    return _Push(lambda y: _neighbours(y, z), lambda p, prepared: rows(p, *prepared), False)


def _mmd_push(z: Array, alpha: float) -> _Push:
    def prepare(y: Array) -> Array:
        return project(y.reshape(-1), z, "mmd", alpha).reshape(*y.shape, -1)

    return _Push(prepare, lambda p, weights: jnp.einsum("xak,xakm->xam", p, weights), True)


_PUSHES: dict[str, Callable[[Array, float], _Push]] = {"cramer": _cramer_push, "mmd": _mmd_push}


def by_successor(P: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Next states and probabilities, both [K, S, A]; a dense P has every state as successor."""
    if isinstance(P, Successors):
        return jnp.moveaxis(jnp.asarray(P.state), -1, 0), jnp.moveaxis(jnp.asarray(P.prob), -1, 0)
    prob = jnp.moveaxis(jnp.asarray(P), -1, 0)
    states = jnp.arange(shape[0], dtype=jnp.int32)
    return jnp.broadcast_to(states[:, None, None], prob.shape), prob


def _check_cover(mdp: TabularMDP, z: Any) -> None:
    """Warn where the grid is too short for the returns (nothing is known while jax traces)."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((mdp, z))):
        return
    r, z = np.asarray(mdp.r), np.asarray(z)
    low, high = (float(bound) / (1 - float(mdp.gamma)) for bound in (r.min(), r.max()))
    slack = 1e-6 * max(1.0, high - low)
    if z[0] > low + slack or z[-1] < high - slack:
        warnings.warn(
            f"The grid covers [{z[0]:g}, {z[-1]:g}], but returns lie in [{low:g}, {high:g}]: what "
            "is outside is put on its ends.",
            stacklevel=3,
        )


def _check_resolution(mdp: TabularMDP, tau: Any) -> None:
    """Warn where rounding, not the theory, chooses among optimal actions (paper, figure 4.4)."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((mdp, tau))):
        return
    r = np.asarray(mdp.r)
    largest = float(np.abs(r).max()) / (1 - float(mdp.gamma))
    if float(tau) < float(np.finfo(r.dtype).eps) * largest:
        warnings.warn(
            f"{r.dtype} rounds values of size {largest:g} by more than the play temperature "
            f"{float(tau):g}: which optimal actions are played, and the return law with them, are "
            "an artefact of rounding. Play at a larger temperature (sigma << tau) or use float64.",
            stacklevel=3,
        )


def soft_dist_optimality(
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    tau: Scalar,
    z: Float[ArrayLike, " m"],
    kind: Kind = "cramer",
    alpha: float = 1.5,
) -> Operator:
    """T*_tau zeta = T^pi_tau zeta with pi = G_tau(Q zeta) (Def. 4.3). Q T*_tau = B*_tau Q."""
    check_temperature("tau", tau)

    def operator(zeta: Float[ArrayLike, "S A m"]) -> Array:
        zeta = jnp.asarray(zeta)
        pi = gibbs(means(zeta, z), log_ref, tau)
        return soft_dist_operator(mdp, log_ref, pi, tau, z, kind, alpha)(zeta)

    return operator


def greedy_dist_optimality(
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    z: Float[ArrayLike, " m"],
    kind: Kind = "cramer",
    alpha: float = 1.5,
) -> Operator:
    """T*: evaluates the greedy policy of Q zeta, the first of tied actions. Need not converge."""

    def operator(zeta: Float[ArrayLike, "S A m"]) -> Array:
        zeta = jnp.asarray(zeta)
        q = jnp.where(jnp.asarray(log_ref) > -jnp.inf, means(zeta, z), -jnp.inf)
        pi = jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=q.dtype)
        return soft_dist_operator(mdp, log_ref, pi, 0.0, z, kind, alpha)(zeta)

    return operator


def point_masses(
    q: Float[ArrayLike, "S A"], z: Float[ArrayLike, " m"], kind: Kind = "cramer"
) -> Float[Array, "S A m"]:
    """The projected laws of returns that are surely q."""
    q = jnp.asarray(q)
    return project(q.ravel(), z, kind).reshape(*q.shape, -1)


def iterate(operator: Operator, zeta: Float[ArrayLike, "S A m"], n: int) -> Float[Array, "S A m"]:
    """n applications of an operator, as one compiled loop."""
    return lax.fori_loop(0, n, lambda _, laws: operator(laws), jnp.asarray(zeta))


def estimate_reference_return_law(
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    tau: Scalar,
    sigma: Scalar | None,
    n_opt: int,
    n_eval: int,
    z: Float[ArrayLike, " m"],
    kind: Kind = "cramer",
    alpha: float = 1.5,
) -> tuple[Float[Array, "S A m"], Float[Array, "S A"]]:
    """The return law of pi^{ref,*}, by control at sigma and evaluation at tau (Theorem 4.7).

        1  zeta <- Pi T*_sigma zeta, n_opt times from point masses at 0
        2  pi = G_tau(Q zeta)
        3  zeta <- Pi T^pi_tau zeta, n_eval times, going on from 1

    Args:
        tau: the play temperature. sigma: the optimisation temperature (None: tau ** 2). sigma = tau
            is standard annealing, whose limit is the law of pi^{ERL,*} instead.

    Returns:
        zeta [S, A, m] and pi [S, A]; the law from a state is sum_a pi(a|x) zeta(x,a).

    Warns:
        UserWarning: the grid does not cover all returns; or tau is below the rounding of values,
        as in float32 at 1e-7, so that the estimate is that of an arbitrary optimal policy.
    """
    sigma = tau * tau if sigma is None else sigma
    check_temperature("tau", tau)
    check_temperature("sigma", sigma)
    check_precision(mdp, log_ref, z)
    _check_cover(mdp, z)
    _check_resolution(mdp, tau)
    arrays = (mdp, jnp.asarray(log_ref), tau, sigma, jnp.asarray(z))
    return _estimate(*arrays, n_opt, n_eval, kind, alpha)


@functools.partial(jax.jit, static_argnames=("n_opt", "n_eval", "kind", "alpha"))
def _estimate(
    mdp: TabularMDP, log_ref: Array, tau: Any, sigma: Any, z: Array, n_opt: int, n_eval: int,
    kind: Kind, alpha: float,
) -> tuple[Array, Array]:  # fmt: skip
    start = point_masses(jnp.zeros_like(jnp.asarray(mdp.r)), z, kind)
    control = soft_dist_optimality(mdp, log_ref, sigma, z, kind, alpha)
    zeta = iterate(control, start, n_opt)
    pi = gibbs(means(zeta, z), log_ref, tau)
    return iterate(soft_dist_operator(mdp, log_ref, pi, tau, z, kind, alpha), zeta, n_eval), pi


def wasserstein(
    p: Float[ArrayLike, "*batch m"],
    q: Float[ArrayLike, "*batch m"],
    z: Float[ArrayLike, " m"],
    order: float = 1.0,
) -> Float[Array, "*batch"]:
    """W_order between laws on the ascending grid z; only order 1 allows negative weights."""
    if not order >= 1:
        raise ValueError(f"order must be at least 1; got {order}.")
    p, q, z = jnp.asarray(p), jnp.asarray(q), jnp.asarray(z)
    if order == 1:
        return jnp.sum(jnp.abs(jnp.cumsum(p - q, axis=-1))[..., :-1] * jnp.diff(z), axis=-1)

    def distance(p: Array, q: Array) -> Array:  # integral of |F^-1 - G^-1|^order over the levels
        up, down = jnp.cumsum(p), jnp.cumsum(q)
        levels = jnp.sort(jnp.concatenate([up, down]))
        width = jnp.diff(levels, prepend=jnp.zeros(1, levels.dtype))
        middle = levels - width / 2
        last = z.shape[0] - 1
        ends = (z[jnp.clip(jnp.searchsorted(c, middle), 0, last)] for c in (up, down))
        gap = jnp.abs(next(ends) - next(ends))
        return jnp.sum(width * gap**order) ** (1 / order)

    return jnp.vectorize(distance, signature="(m),(m)->()")(p, q)


# --- Learning from samples ------------------------------------------------------------------------


class QLearning(NamedTuple):
    """State of soft Q-learning: values and visits [S, A], and the key of all that is to come."""

    q: Float[ArrayLike, "*batch S A"]
    visits: Float[ArrayLike, "*batch S A"]
    key: Key[Array, "*batch"]


def soft_q_learning(
    key: Key[Array, ""],
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    tau: Scalar,
    steps: int,
    lr_power: float,
) -> Float[Array, "S A"]:
    """Tabular soft Q-learning from uniformly drawn pairs (x, a), from q = 0.

        Q(x,a) += N(x,a)^(-lr_power) (r(x,a) + gamma (V_tau Q)(X') - Q(x,a)),  X' ~ P(.|x,a)

    For the decoupled policy, learn at sigma and play `gibbs(q, log_ref, tau)`. Batch with `vmap`
    over keys and temperatures.
    """
    check_temperature("tau", tau)
    r = jnp.asarray(mdp.r)
    state = QLearning(jnp.zeros_like(r), jnp.zeros_like(r), key)
    return jnp.asarray(soft_q_steps(state, mdp, log_ref, tau, steps, lr_power).q)


@functools.partial(jax.jit, static_argnames=("steps", "lr_power"))
def soft_q_steps(
    state: QLearning,
    mdp: TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    tau: Scalar,
    steps: int,
    lr_power: float,
) -> QLearning:
    """A number of updates of `soft_q_learning`, which can go on from there."""
    check_precision(mdp, log_ref)
    r, log_ref = jnp.asarray(mdp.r), jnp.asarray(log_ref)
    S, A = r.shape
    index, prob = (jnp.moveaxis(part, 0, -1) for part in by_successor(mdp.P, r.shape))
    below = jnp.cumsum(prob, axis=-1)
    key, k_pair, k_next = jax.random.split(state.key, 3)
    pairs = jax.random.randint(k_pair, (steps,), 0, S * A)
    levels = jax.random.uniform(k_next, (steps,), r.dtype)

    def update(table: tuple[Array, Array], draw: tuple[Array, Array]) -> tuple[tuple, None]:
        q, visits = table
        x, a = draw[0] // A, draw[0] % A
        k = jnp.sum(below[x, a] <= draw[1])  # inverse of the cumulative distribution
        x_next = index[x, a, jnp.minimum(k, index.shape[-1] - 1)]
        value = soft_value(q[x_next][None], log_ref[x_next][None], tau)[0]
        visits = visits.at[x, a].add(1)
        rate = visits[x, a] ** (-lr_power)
        error = r[x, a] + mdp.gamma * value - q[x, a]
        return (q.at[x, a].add(rate * error), visits), None

    start = (jnp.asarray(state.q), jnp.asarray(state.visits))
    (q, visits), _ = lax.scan(update, start, (pairs, levels))
    return QLearning(q, visits, key)
