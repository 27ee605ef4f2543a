"""Random occupancy measures of finite Markov chains, exactly or nearly so: what models are held to.

Three independent routes to the law of M(.|x) = (1 - gamma) sum_t gamma^t delta_{X_t}, X_0 = x:
its first two moments by linear solves (derived from the Bellman equation), dynamic programming on
particles, and simulation. Everything in float64 NumPy.

    symbol   here   meaning
    P        P      transition matrix of the chain under its policy, [n, n], rows sum to 1
    Psi      Psi    E M, the successor measure (1 - gamma) (I - gamma P)^-1
    S_x             E M M^T from x
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def check_chain(P: Float[Array, "rows columns"], gamma: float) -> None:
    """Raise ValueError, naming the row, unless P is stochastic and gamma in [0, 1)."""
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1), got {gamma:g}.")
    if P.ndim != 2 or P.shape[0] != P.shape[1]:
        raise ValueError(f"P must be a square matrix, got the shape {P.shape}.")
    for row, chances in enumerate(P):
        if not (chances >= 0).all() or abs(chances.sum() - 1) > 1e-9:
            raise ValueError(
                f"Row {row} of P must be nonnegative and sum to 1; it sums to {chances.sum():g}."
            )


# Moments ------------------------------------------------------------------------------------------


def occupancy_moments(
    P: Float[Array, "n n"], gamma: float
) -> tuple[Float[Array, "n n"], Float[Array, "n n n"]]:
    """(Psi, Cov): mean and covariance of M from every source, Cov[x] [n, n].

    S_x = E M M^T solves, with q_x = (P Psi)_x,

        S_x = (1-g)^2 e_x e_x^T + g (1-g) (e_x q_x^T + q_x e_x^T) + g^2 sum_y P_xy S_y.
    """
    check_chain(P, gamma)
    n = len(P)
    identity = np.eye(n)
    Psi = (1 - gamma) * np.linalg.inv(identity - gamma * P)
    S = np.linalg.solve(identity - gamma**2 * P, _source_part(P, Psi, gamma).reshape(n, n * n))
    return Psi, S.reshape(n, n, n) - Psi[:, :, None] * Psi[:, None, :]


def _source_part(P: Array, Psi: Array, gamma: float) -> Array:
    """What S_x has without its last term, [x, n, n]."""
    identity = np.eye(len(P))
    cross = identity[:, :, None] * (P @ Psi)[:, None, :]
    return (1 - gamma) ** 2 * identity[:, :, None] * identity[:, None, :] + gamma * (1 - gamma) * (
        cross + cross.transpose(0, 2, 1)
    )


def moment_residual(P: Float[Array, "n n"], gamma: float, steps: int = 1) -> float:
    """By how much the first two moments miss the n-step Bellman equation, at most.

    Written from the equation M = sum_{k < steps} (1-g) g^k delta_{X_k} + g^steps M', path by path,
    so it shares nothing with `occupancy_moments` but the definition.
    """
    Psi, cov = occupancy_moments(P, gamma)
    S = cov + Psi[:, :, None] * Psi[:, None, :]
    n = len(P)
    mean, second = np.zeros((n, n)), np.zeros((n, n, n))
    for x in range(n):
        for path, chance in _paths(P, x, steps):
            visited = np.zeros(n)
            for k, state in enumerate(path[:-1]):
                visited[state] += (1 - gamma) * gamma**k
            rest = gamma**steps * Psi[path[-1]]
            mean[x] += chance * (visited + rest)
            second[x] += chance * (
                np.outer(visited, visited)
                + np.outer(visited, rest)
                + np.outer(rest, visited)
                + gamma ** (2 * steps) * S[path[-1]]
            )
    return float(max(np.abs(mean - Psi).max(), np.abs(second - S).max()))


def _paths(P: Array, x: int, steps: int) -> list[tuple[tuple[int, ...], float]]:
    paths = [((x,), 1.0)]
    for _ in range(steps):
        paths = [
            ((*path, y), chance * P[path[-1], y])
            for path, chance in paths
            for y in range(len(P))
            if P[path[-1], y] > 0
        ]
    return paths


def return_moments(
    P: Float[Array, "n n"], r: Float[Array, " n"], gamma: float
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean and variance of G = sum_t gamma^t r(X_t) from every state.

    V = (I - g P)^-1 r,   E G^2 = (I - g^2 P)^-1 (r^2 + 2 g r * P V)
    """
    check_chain(P, gamma)
    identity = np.eye(len(P))
    V = np.linalg.solve(identity - gamma * P, r)
    square = np.linalg.solve(identity - gamma**2 * P, r**2 + 2 * gamma * r * (P @ V))
    return V, square - V**2


def cvar(z: Float[Array, "*batch k"], tau: float) -> Float[Array, "*batch"]:
    """Lower CVaR: the mean of the worst share `tau` of k equally likely returns."""
    if not 0 < tau <= 1:
        raise ValueError(f"tau must lie in (0, 1], got {tau:g}.")
    ordered = np.sort(z, axis=-1)
    edges = np.arange(z.shape[-1] + 1) / z.shape[-1]
    weights = np.diff(np.minimum(edges, tau)) / tau
    return np.asarray(ordered @ weights)


# Dynamic programming on particles -----------------------------------------------------------------


def particle_backup(
    key: np.random.Generator, particles: Float[Array, "n m n"], P: Float[Array, "n n"], gamma: float
) -> Float[Array, "n m n"]:
    """One distributional Bellman backup of m equally weighted measures per state.

    Each new particle is (1 - gamma) e_x + gamma times one of a successor's. Successor and particle
    come from one stratified draw, which leaves far less noise than independent ones.
    """
    check_chain(P, gamma)
    n, m, _ = particles.shape
    new = np.empty_like(particles)
    for x in range(n):
        u = (np.arange(m) + key.random()) / m
        edges = np.concatenate([[0], np.cumsum(P[x])])
        edges[-1] = max(edges[-1], 1.0)
        successor = np.searchsorted(edges, u, side="right") - 1
        successor = np.minimum(successor, np.flatnonzero(P[x])[-1])
        place = (u - edges[successor]) / P[x, successor]
        slot = np.minimum((place * m).astype(int), m - 1)
        new[x] = gamma * particles[successor, slot]
        new[x, :, x] += 1 - gamma
    return new


def particle_law(
    P: Float[Array, "n n"], gamma: float, m: int, seed: int = 0, tolerance: float = 1e-6
) -> Float[Array, "n m n"]:
    """Particles of the law of M, by backups until the start's share is below `tolerance`."""
    check_chain(P, gamma)
    key = np.random.default_rng(seed)
    particles = np.broadcast_to(np.eye(len(P))[:, None], (len(P), m, len(P))).copy()
    sweeps = 1 if gamma == 0 else int(np.ceil(np.log(tolerance) / np.log(gamma)))
    for _ in range(sweeps):
        particles = particle_backup(key, particles, P, gamma)
    return particles


def mean_backup(
    particles: Float[Array, "n m n"], P: Float[Array, "n n"], gamma: float
) -> Float[Array, "n m n"]:
    """What an ensemble of m gamma-models does: each atom backs up the *mean* over successors.

    So every atom tends to Psi, and the ensemble's spread, gamma^2 of it left by each sweep, says
    nothing about the returns' law.
    """
    check_chain(P, gamma)
    new = gamma * np.einsum("xy,ymn->xmn", P, particles)
    for x in range(len(P)):
        new[x, :, x] += 1 - gamma
    return new


def quantile_backup_2state(
    q: Float[Array, "2 m"], P: Float[Array, "2 2"], gamma: float
) -> Float[Array, "2 m"]:
    """One backup of M({1}) in a chain of two states, projected on quantile midpoints.

    The mixture over successors is exact, and midpoints (i - 1/2) / m of its quantile function are
    the m equal atoms nearest to it in W1: no randomness is left.
    """
    check_chain(P, gamma)
    m = q.shape[1]
    levels = (np.arange(m) + 0.5) / m
    new = np.empty_like(q)
    for x in range(2):
        values = (1 - gamma) * x + gamma * q.reshape(-1)
        order = np.argsort(values, kind="stable")
        weights = np.repeat(P[x] / m, m)[order]
        # A level that falls between two atoms, up to rounding, is any number between them.
        sides = np.searchsorted(np.cumsum(weights), [levels - 1e-12, levels + 1e-12])
        new[x] = values[order][np.minimum(sides, 2 * m - 1)].mean(0)
    return new


def simulate_occupancy(
    key: np.random.Generator,
    P: Float[Array, "n n"],
    gamma: float,
    runs: int,
    tolerance: float = 1e-8,
) -> Float[Array, "n runs n"]:
    """M of `runs` simulated trajectories from every state, each cut where gamma^t < tolerance."""
    check_chain(P, gamma)
    n = len(P)
    state = np.repeat(np.arange(n)[:, None], runs, axis=1)
    occupancy = np.zeros((n, runs, n))
    source, run = np.indices(state.shape)
    edges = np.cumsum(P, axis=1)
    steps = 1 if gamma == 0 else int(np.ceil(np.log(tolerance) / np.log(gamma)))
    for t in range(steps):
        occupancy[source, run, state] += (1 - gamma) * gamma**t
        state = step_chain(key, edges, state)
    return occupancy / occupancy.sum(-1, keepdims=True)


def step_chain(
    key: np.random.Generator, edges: Float[Array, "n n"], state: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
    """Successors drawn from the cumulated rows of P."""
    u = key.random(state.shape)
    return np.minimum((u[..., None] > edges[state]).sum(-1), len(edges) - 1)


# Exact laws, and distances between them -----------------------------------------------------------


class Law(NamedTuple):
    """A law on measures with finitely many atoms: points [k, n] on the simplex, weights [k]."""

    points: Float[Array, "k n"]
    weights: Float[Array, " k"]


def exact_backup(laws: list[Law], P: Float[Array, "n n"], gamma: float) -> list[Law]:
    """The Bellman operator itself, without projection: laws grow by the number of successors."""
    check_chain(P, gamma)
    new = []
    for x in range(len(P)):
        successors = [y for y in range(len(P)) if P[x, y] > 0]
        points = gamma * np.concatenate([laws[y].points for y in successors])
        points[:, x] += 1 - gamma
        new.append(Law(points, np.concatenate([P[x, y] * laws[y].weights for y in successors])))
    return new


def wasserstein(p: Law, q: Law) -> float:
    """W1 between two laws on P(X), whose own distance is the total variation: a transport LP."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    cost = 0.5 * np.abs(p.points[:, None] - q.points[None]).sum(-1)
    k, count = cost.shape
    i, j = np.indices(cost.shape)
    rows = np.concatenate([i.reshape(-1), k + j.reshape(-1)])
    plan = np.arange(k * count)
    marginals = coo_array((np.ones(2 * k * count), (rows, np.tile(plan, 2))))
    weights = np.concatenate([p.weights, q.weights])
    found = linprog(cost.reshape(-1), A_eq=marginals.tocsr(), b_eq=weights, method="highs")
    if found.status != 0:
        raise RuntimeError(f"The transport problem was not solved: {found.message}")
    return float(found.fun)


# Chains with a known law --------------------------------------------------------------------------

CHAIN = np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.3, 0.0, 0.7]])
"""Three states, for checks with known numbers."""


def coin_flip(p: float = 0.5) -> Float[Array, "2 2"]:
    """The next state is 1 with probability p, whatever the present one.

    With gamma = p = 1/2, M({1}) is uniform: on [0, 1/2] from 0, on [1/2, 1] from 1.
    """
    return np.array([[1 - p, p], [1 - p, p]])


def letters(count: int = 3) -> Float[Array, "n n"]:
    """The next state is any of `count`, equally likely.

    With three and gamma = 1/2 the law of M is uniform on a Sierpinski triangle.
    """
    return np.full((count, count), 1 / count)


def absorbing(stay: float = 0.8) -> Float[Array, "2 2"]:
    """From A (0) to B (1) for ever, with probability 1 - stay a step: M(A) = 1 - gamma^K."""
    return np.array([[stay, 1 - stay], [0.0, 1.0]])


def cycle(length: int) -> Float[Array, "n n"]:
    """A deterministic cycle: M is not random."""
    return np.roll(np.eye(length), 1, axis=1)


def random_chain(seed: int, n: int, sparse: bool = True) -> Float[Array, "n n"]:
    """Dirichlet(1) rows; `sparse` keeps two successors of each state (one of n = 1)."""
    key = np.random.default_rng(seed)
    P = key.dirichlet(np.ones(n), size=n)
    if sparse and n > 2:
        for row in P:
            row[key.permutation(n)[2:]] = 0
        P /= P.sum(1, keepdims=True)
    return P


def box_counting_dimension(
    points: Float[Array, "k n"], levels: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
) -> tuple[float, Int[Array, " levels"]]:
    """(slope of log2 boxes against level, occupied boxes of side 2^-level): the points' dimension.

    On the first n - 1 coordinates, which determine the last. Boxes are half-open; points on a face
    by rounding alone are moved by 1e-9 first.
    """
    flat = np.clip(points[:, :-1] - 1e-9, 0, None)
    counts = np.array([len(np.unique((flat * 2**k).astype(int), axis=0)) for k in levels])
    return float(np.polyfit(levels, np.log2(counts), 1)[0]), counts
