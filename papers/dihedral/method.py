"""Divide and conquer on dihedral groups: from the weights of a network to Cayley graphs.

Deep neural networks divide and conquer dihedral multiplication, ICML 2026.

A network that has learned (a, b) -> a b on D_n is taken apart into *neural representations*:
clusters of neurons that read one irrep rho from a, the same one from b, and write it to the
logits. What a cluster knows of a b is the coset of a b modulo ker rho, laid out as a Cayley graph
of the quotient; the sum over clusters intersects the kernels. Exact NumPy in float64, but for one
section that trains (jax). The functions below the lines "Any group" take a Cayley table and
its irreps, so they serve every finite group.

    symbol         here           meaning
    r^m, s r^m     m, n + m       elements of D_n; r^n = s^2 = e, s r s = r^{-1}, identity 0
    a b            table[a, b]    (s^e r^k)(s^f r^l) = s^{e+f} r^{(-1)^f k + l}                 (1)
    rho_k          "2D_k"         r^m -> R(2 pi k m/n), s r^m -> diag(1, -1) R(2 pi k m/n)      (2)
    f^(rho)        gft            sum_g f(g) rho(g)                                             (3)
    E_rho          energy         (d_rho/|G|) ||f^(rho)||_F^2, summing to sum_g f(g)^2          (4)
    g, n', d       step_size      gcd(k, n), n/g, (k/g)^{-1} mod n'                             (5)
    U, V, beta     left, right, bias     pre(a, b) = U(a) + V(b) + beta                         (6)
    C_k(a, b)      contributions  sum of ReLU(pre_j(a, b)) W_j over the neurons j of a cluster  (7)
    M_k(c)         class_means    mean of the centred C_k(a, b) over a b = c                    (8)

Equation numbers are this file's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import gcd
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Real, Shaped

Array = np.ndarray
Members = Sequence[int] | Int[Array, " _"]

LIVE = 0.02  # of the strongest neuron's max ReLU times |W_j|: below, a neuron counts as dead
ACTIVE = 0.01  # of a neuron's maximum: above, it is active. 0 fails: weight decay parks it on 0
WITHIN = 1e-3  # largest variance within kernel cosets, over the total, of a Cayley graph
CORRELATION = 0.95  # least correlation of its squared distances with those of the irrep


# --- The dihedral group ---------------------------------------------------------------------------


def mult_table(n: int) -> Int32[Array, "2*{n} 2*{n}"]:
    """Cayley table of D_n, equation (1). Raises ValueError unless n >= 3."""
    _check_n(n)
    flip, k = np.divmod(np.arange(2 * n, dtype=np.int32), np.int32(n))
    turned = np.where(flip, -k[:, None], k[:, None]) + k
    return (n * (flip[:, None] ^ flip) + turned % n).astype(np.int32)


def inverse(n: int) -> Int32[Array, " 2*{n}"]:
    """(r^m)^{-1} = r^{-m}; a reflection is its own inverse."""
    _check_n(n)
    m = np.arange(n, dtype=np.int32)
    return np.concatenate([-m % n, n + m]).astype(np.int32)


class Irrep(NamedTuple):
    """A real irreducible representation.

    Attributes:
        mats: rho(g), orthogonal. freq: k of 2D_k, else None.
        commutant: 1, or 2 (4) if over C it splits into conjugate (quaternionic) parts; 1 on D_n.
    """

    name: str
    dim: int
    mats: Float[Array, "G d d"]
    freq: int | None = None
    commutant: int = 1

    @property
    def character(self) -> Float[Array, " G"]:
        return np.trace(self.mats, axis1=1, axis2=2)

    @property
    def kernel(self) -> Int[Array, " members"]:
        """{g: rho(g) = 1}."""
        return np.flatnonzero(self.character > self.dim - 1e-6)


def irreps(n: int) -> list[Irrep]:
    """triv, sign; for even n rp and srp; then 2D_k for 1 <= k < n/2, equation (2).

    rp is (-1)^m on r^m and on s r^m, srp is rp times sign.
    """
    _check_n(n)
    one, parity = np.ones(n), 1.0 - 2 * (np.arange(n) % 2)
    lines = [("triv", one, one), ("sign", one, -one)]
    lines += [("rp", parity, parity), ("srp", parity, -parity)] if n % 2 == 0 else []
    found = [Irrep(name, 1, np.r_[r, s][:, None, None]) for name, r, s in lines]
    return found + [irrep_2d(k, n) for k in range(1, (n - 1) // 2 + 1)]


def irrep_2d(k: int, n: int) -> Irrep:
    """rho_k of D_n. Raises ValueError unless 1 <= k <= (n-1)/2."""
    _check_n(n)
    if not 1 <= k <= (n - 1) // 2:
        raise ValueError(f"D_{n} has the 2-D irreps k = 1 .. {(n - 1) // 2}; {k} is none of them.")
    t = 2 * np.pi * (k * np.arange(n) % n) / n
    turn = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]).transpose(2, 0, 1)
    return Irrep(f"2D_{k}", 2, np.concatenate([turn, np.diag([1.0, -1.0]) @ turn]), k)


def subgroups(n: int) -> list[Int[Array, " members"]]:
    """All tau(n) + sigma(n) subgroups: <r^t>, and <r^t, s r^j> for j < t, over the divisors t."""
    _check_n(n)
    found = []
    for t in (t for t in range(1, n + 1) if n % t == 0):
        turns = np.arange(0, n, t)
        found.append(turns)
        found += [np.concatenate([turns, n + j + turns]) for j in range(t)]
    return sorted(found, key=lambda members: (len(members), members.tolist()))


def cosets(
    n: int, members: Members, side: Literal["left", "right"] = "left"
) -> list[Int[Array, " members"]]:
    """x H (left) or H x (right), each ascending. Raises ValueError if H is no subgroup of D_n."""
    table, h = mult_table(n), np.unique(np.asarray(members, int))
    if len(h) and (h[0] < 0 or h[-1] >= 2 * n):
        raise ValueError(f"D_{n} has the elements 0 .. {2 * n - 1}; {h[0]} .. {h[-1]} leaves them.")
    if len(h) == 0 or h[0] != 0:
        raise ValueError(f"These elements are no subgroup of D_{n}: the identity, 0, is missing.")
    wrong = np.argwhere(~np.isin(table[np.ix_(h, h)], h))
    if len(wrong):
        i, j = h[wrong[0]]
        raise ValueError(
            f"These elements are no subgroup of D_{n}: {i} * {j} = {table[i, j]} is missing."
        )
    return coset_list(table[:, h] if side == "left" else table[h].T)


def step_size(k: int, n: int) -> tuple[int, int, int]:
    """(g, n', d), equation (5): x -> x r^d turns the phase of rho_k by 2 pi/n'.

    Raises ValueError for k = 0 mod n, which has no phase to turn.
    """
    if k % n == 0:
        raise ValueError(f"Frequency {k} is constant on Z_{n}: it has no step size.")
    g = gcd(k, n)
    return g, n // g, pow(k // g, -1, n // g)


def approx_coset(c: int, k1: int, k2: int, d: int, nprime: int) -> Int[Array, " members"]:
    """{c - k1 d, ..., c, ..., c + k2 d} mod n', ascending: a path of the cycle that d steps along.

    Its vertices are the kernel cosets c + n'Z of one half of D_n; k1 = k2 = 0 is an exact coset.
    """
    if k1 < 0 or k2 < 0:
        raise ValueError(f"A path takes 0 steps or more either way, not {k1} and {k2}.")
    return np.unique((c + d * np.arange(-k1, k2 + 1)) % nprime)


# --- Any group: Fourier ---------------------------------------------------------------------------


def gft(
    f: Real[Array, "G ..."], reps: Sequence[Irrep] | None = None
) -> dict[str, Float[Array, "d d ..."]]:
    """f^(rho) [d, d, ...] of every irrep, equation (3); `reps` default to those of D_n, G = 2n.

    (f * h)^ = f^ h^ for (f * h)(x) = sum_{a b = x} f(a) h(b).
    """
    return {rho.name: np.tensordot(rho.mats, f, (0, 0)) for rho in _reps(f, reps)}


def igft(
    coefficients: Mapping[str, Float[Array, "d d ..."]], reps: Sequence[Irrep] | None = None
) -> Float[Array, "G ..."]:
    """f(g) = (1/|G|) sum_rho d_rho tr(f^(rho) rho(g)^T); `reps` default to those of D_n."""
    if reps is None:
        squares = sum(part.shape[0] ** 2 for part in coefficients.values())  # = |D_n| = 2n
        reps = irreps(squares // 2)
    parts = [
        rho.dim / rho.commutant / len(rho.mats)
        * np.tensordot(rho.mats, coefficients[rho.name], ((1, 2), (0, 1)))
        for rho in reps
    ]  # fmt: skip
    return np.sum(parts, axis=0)


def energy(
    f: Real[Array, "G ..."], reps: Sequence[Irrep] | None = None
) -> Float[Array, "irreps ..."]:
    """E_rho, equation (4)."""
    given = _reps(f, reps)
    return np.stack([
        _weight(rho) * (np.tensordot(rho.mats, f, (0, 0)) ** 2).sum((0, 1)) for rho in given
    ])  # fmt: skip


def gft2(
    f: Real[Array, "G G ..."], reps: Sequence[Irrep] | None = None
) -> Float[Array, "irreps irreps ..."]:
    """Energy of f(a, b) by the irrep of a and the irrep of b, summing to sum f^2.

    U(a) + V(b) lies on (rho, triv) and (triv, rho), the *axes*; what depends on a b lies on the
    *diagonal* (rho, rho).
    """
    given = _reps(f, reps)
    basis = np.concatenate(
        [np.sqrt(_weight(rho)) * rho.mats.reshape(len(rho.mats), -1) for rho in given], axis=1
    )
    first = np.tensordot(basis, f, (0, 0))
    squares = np.tensordot(basis, first, (0, 1)) ** 2  # [entries of b, entries of a, ...]
    starts = np.cumsum([0, *(rho.dim**2 for rho in given[:-1])])
    return np.add.reduceat(np.add.reduceat(squares, starts, 0), starts, 1).swapaxes(0, 1)


def _weight(rho: Irrep) -> float:
    return rho.dim / rho.commutant / len(rho.mats)


def _reps(f: Array, reps: Sequence[Irrep] | None) -> Sequence[Irrep]:
    given = irreps(len(f) // 2) if reps is None else reps
    if len(given[0].mats) != len(f):
        raise ValueError(
            f"The irreps are of a group of order {len(given[0].mats)}; the array has {len(f)} rows."
        )
    return given


# --- Networks whose first layer is additive -------------------------------------------------------


class Net(NamedTuple):
    """logits(a, b) = ReLU(left[a] + right[b] + bias) out + out_bias, equation (6)."""

    left: Float[Array, "G H"]
    right: Float[Array, "G H"]
    bias: Float[Array, " H"]
    out: Float[Array, "H G"]
    out_bias: Float[Array, " G"]


def pre_activations(net: Net) -> Float[Array, "G G H"]:
    """pre(a, b) of every pair."""
    return net.left[:, None] + net.right + net.bias


def logits(net: Net) -> Float[Array, "G G G"]:
    """Of every pair (a, b), for every answer."""
    return np.maximum(pre_activations(net), 0) @ net.out + net.out_bias


def accuracy(scores: Float[Array, "G G G"], table: Int[Array, "G G"]) -> float:
    """Share of pairs whose largest logit is at a b."""
    return float((scores.argmax(-1) == table).mean())


def margin(scores: Float[Array, "G G G"], table: Int[Array, "G G"]) -> float:
    """The smallest gap, over pairs, from the logit of a b to the largest other one."""
    right = np.take_along_axis(scores, table[..., None].astype(int), -1)
    others = scores.copy()
    np.put_along_axis(others, table[..., None].astype(int), -np.inf, -1)
    return float((right[..., 0] - others.max(-1)).min())


# --- A network on D_n, and its training -----------------------------------------------------------


class Training(NamedTuple):
    """One hidden layer on two embeddings, all pairs in a batch: a recipe for a small machine.

    Attributes:
        n: of D_n. features, hidden: d and H. lr: of Adam. l2: coefficient of the sum of squares of
        *all* parameters in the loss (not decoupled). fraction: of the pairs, that trained on.
        eval_every: steps between two looks.
    """

    n: int
    features: int = 64
    hidden: int = 128
    lr: float = 5e-3
    l2: float = 2e-4
    fraction: float = 0.8
    steps: int = 3000
    eval_every: int = 100


def init(key: Any, cfg: Training) -> dict[str, Any]:
    """He's normal weights, zero biases: E_a, E_b [2n, d], W_a, W_b [d, H], b, U [H, 2n], c.

    Raises ValueError for n < 3, a width below 1, or a fraction outside of (0, 1].
    """
    import jax
    import jax.numpy as jnp

    _check_training(cfg)
    order, d, h = 2 * cfg.n, cfg.features, cfg.hidden
    shapes = {"E_a": (order, d), "E_b": (order, d), "W_a": (d, h), "W_b": (d, h), "U": (h, order)}
    inputs = {"E_a": order, "E_b": order, "W_a": 2 * d, "W_b": 2 * d, "U": h}
    weights = {
        name: np.sqrt(np.float32(2 / inputs[name])) * jax.random.normal(k, shape, jnp.float32)
        for k, (name, shape) in zip(jax.random.split(key, 5), shapes.items(), strict=True)
    }
    return weights | {"b": jnp.zeros(h, jnp.float32), "c": jnp.zeros(order, jnp.float32)}


def apply(params: Mapping[str, Any], x: Int[Any, "B 2"]) -> tuple[Float[Any, "B G"], list[Any]]:
    """Logits of the pairs x, and the pre-activations of each hidden layer (here one)."""
    import jax

    first = params["E_a"][x[:, 0]] @ params["W_a"]
    pre = first + params["E_b"][x[:, 1]] @ params["W_b"] + params["b"]
    return jax.nn.relu(pre) @ params["U"] + params["c"], [pre]


def tables(params: Mapping[str, Any]) -> tuple[Array, Array, Array, Array]:
    """U [2n, H], V [2n, H], beta [H] and W_out [H, 2n] of equation (6), in float64.

    `Net(*tables(params), out_bias=np.asarray(params["c"], float))` is the whole network.
    """
    found = {name: np.asarray(value, float) for name, value in params.items()}
    left, right = found["E_a"] @ found["W_a"], found["E_b"] @ found["W_b"]
    return left, right, found["b"], found["U"]


def _adam(params: Any, moments: Any, gradient: Any, t: Any, lr: float) -> tuple[Any, Any]:
    """Update number t of Adam, betas .9 and .999, epsilon 1e-8."""
    import jax
    import jax.numpy as jnp

    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, moments[1], gradient)
    scales = 1 - 0.9**t, 1 - 0.999**t
    moved = jax.tree.map(
        lambda p, m, v: p - lr * (m / scales[0]) / (jnp.sqrt(v / scales[1]) + 1e-8),
        params, first, second,
    )  # fmt: skip
    return moved, (first, second)


def train(cfg: Training, seeds: Sequence[int]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Networks of all seeds side by side, each with its own split.

    Returns:
        Parameters stacked [S, ...], and the history: `loss` (of training, with the penalty),
        `train_accuracy`, `test_accuracy` [S, looks]. With fraction 1 there is no test set, and the
        last two are the same.
    """
    import jax
    import jax.numpy as jnp

    _check_training(cfg)
    pairs = jnp.asarray(np.indices((2 * cfg.n,) * 2).reshape(2, -1).T)
    labels = jnp.asarray(mult_table(cfg.n).reshape(-1))
    shown = round(cfg.fraction * len(pairs))

    def loss(params: Any, mask: Any) -> Any:
        logs = jax.nn.log_softmax(apply(params, pairs)[0])
        nats = -jnp.take_along_axis(logs, labels[:, None], 1)[:, 0]
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.sum(jnp.where(mask, nats, 0.0)) / shown + cfg.l2 * squares

    def step(state: Any, _: Any) -> Any:
        params, moments, t, mask = state
        value, gradient = jax.value_and_grad(loss)(params, mask)
        params, moments = _adam(params, moments, gradient, t + 1, cfg.lr)
        return (params, moments, t + 1, mask), value

    def look(state: Any, _: Any) -> Any:
        state, values = jax.lax.scan(step, state, length=cfg.eval_every)
        right, mask = apply(state[0], pairs)[0].argmax(-1) == labels, state[3]
        test = ~mask if shown < len(pairs) else mask
        shares = [jnp.sum(right & part) / jnp.sum(part) for part in (mask, test)]
        return state, (values[-1], *shares)

    def one(seed: Any) -> Any:
        key_net, key_split = jax.random.split(jax.random.key(seed))
        mask = jax.random.permutation(key_split, len(pairs)) < shown
        params = init(key_net, cfg)
        zeros = jax.tree.map(jnp.zeros_like, params)
        state = (params, (zeros, zeros), jnp.float32(0), mask)
        state, history = jax.lax.scan(look, state, length=cfg.steps // cfg.eval_every)
        return state[0], history

    params, history = jax.jit(jax.vmap(one))(jnp.asarray(seeds))
    names = ("loss", "train_accuracy", "test_accuracy")
    return params, dict(zip(names, map(np.asarray, history), strict=True))


# --- Any group: from neurons to representations ---------------------------------------------------


class Energies(NamedTuple):
    """What each neuron reads, by irrep: from a alone, b alone, and both by the same irrep."""

    left: Float[Array, "irreps H"]
    right: Float[Array, "irreps H"]
    both: Float[Array, "irreps H"]
    total: Float[Array, " H"]


def table_energies(
    left: Real[Array, "G H"], right: Real[Array, "G H"], reps: Sequence[Irrep]
) -> Energies:
    """Of an additive layer, from its two tables; a constant shift of either changes nothing."""
    u, v = energy(left, reps) * len(left), energy(right, reps) * len(left)
    u[0] = v[0] = 0
    return Energies(u, v, np.zeros_like(u), u.sum(0) + v.sum(0))


def grid_energies(pre: Real[Array, "G G H"], reps: Sequence[Irrep]) -> Energies:
    """Of any layer, from its pre-activations; equals `table_energies` where it is additive."""
    found = gft2(pre, reps)
    found[0, 0] = 0
    diagonal = found[np.arange(len(reps)), np.arange(len(reps))]
    return Energies(found[:, 0], found[0], diagonal, found.sum((0, 1)))


class Labels(NamedTuple):
    """Which irrep each neuron belongs to.

    Attributes:
        irrep: its place in the list of irreps, or -1 where it is mixed or dead.
        live: whether it matters to the logits.
        share: of its energy, that on its irrep (0 where mixed).
        agree: whether the irreps it reads from a and from b are the same.
        out_agree: whether that is also the one it writes.
        out_share: of the energy of its output row, that on its irrep.
    """

    irrep: Int[Array, " H"]
    live: Bool[Array, " H"]
    share: Float[Array, " H"]
    agree: Bool[Array, " H"]
    out_agree: Bool[Array, " H"]
    out_share: Float[Array, " H"]


def label_neurons(
    energies: Energies,
    peak: Float[Array, " H"],
    out: Float[Array, "H G"],
    reps: Sequence[Irrep],
    live: float = LIVE,
) -> Labels:
    """The irrep of each neuron: the largest from a, if it is the largest from b; or the diagonal's.

    Args:
        peak: the largest ReLU of each neuron over all pairs.
        out: its row of output weights. live: a neuron is, above this part of the largest
            peak * |W_j|.
    """
    strength = peak * np.linalg.norm(out, axis=1)
    alive = strength > live * max(float(strength.max()), 1e-30)
    a, b, ab = (part.argmax(0) for part in energies[:3])
    h = np.arange(len(peak))
    diagonal = energies.both[ab, h] > np.maximum(energies.left[a, h], energies.right[b, h])
    agree = diagonal | (a == b)
    index = np.where(alive & agree, np.where(diagonal, ab, a), -1)
    on = np.where(index < 0, 0, index)
    share = sum(part[on, h] for part in energies[:3]) / np.maximum(energies.total, 1e-30)
    written = energy(out.T - out.mean(1), reps)
    out_share = written[on, h] / np.maximum(written.sum(0), 1e-30)
    known = index >= 0
    return Labels(
        index,
        alive,
        np.where(known, share, 0.0),
        alive & agree,
        known & (written.argmax(0) == index),
        np.where(known, out_share, 0.0),
    )


def clusters(
    labels: Labels, reps: Sequence[Irrep], least_share: float = 0.0, least_size: int = 1
) -> dict[str, Int[Array, " neurons"]]:
    """The neural representations: live neurons by the irrep they share, in the order of `reps`."""
    fit = labels.live & (labels.share >= least_share)
    found = {
        rho.name: np.flatnonzero(fit & (labels.irrep == i)) for i, rho in enumerate(reps) if i > 0
    }
    return {name: neurons for name, neurons in found.items() if len(neurons) >= least_size}


def contributions(
    post: Float[Array, "G G H"], out: Float[Array, "H G"], groups: Mapping[str, Int[Array, " _"]]
) -> Float[Array, "clusters G G G"]:
    """C_k(a, b) of each cluster, equation (7). With the other neurons and the bias: the logits."""
    shape = (0, *post.shape[:2], out.shape[1])
    parts = [post[..., neurons] @ out[neurons] for neurons in groups.values()]
    return np.stack(parts) if parts else np.zeros(shape)


def class_means(
    part: Float[Array, "G G G"], table: Int[Array, "G G"]
) -> tuple[Float[Array, "G G"], float]:
    """M_k(c), equation (8), and its share of the variance of C_k.

    C_k is centred over inputs and over outputs first. What is left, 1 - share, does not depend
    on the answer.
    """
    centred = part - part.mean((0, 1))
    centred = centred - centred.mean(-1, keepdims=True)
    order = np.argsort(table, axis=None, kind="stable")
    means = centred.reshape(-1, part.shape[-1])[order].reshape(len(table), len(table), -1).mean(1)
    total = float((centred**2).mean())
    return means, float((means**2).mean()) / max(total, 1e-300)


# --- Any group: Cayley graphs ---------------------------------------------------------------------


class Cayley(NamedTuple):
    """How far the class means of a cluster are the Cayley graph of the quotient by ker rho.

    Attributes:
        within: variance within kernel cosets over the total: 0 if it knows the coset only.
        neighbours: share of vertices whose nearest ones are x s for the generators s.
        correlation: of squared distances with 2 d - 2 chi(x^{-1} y).
        spectrum: largest error in the eigenvalues of the graph that nearest vertices make.
        fit: share of the class means on matrix entries of rho.
        character: correlation of M(c)[x] with chi(c^{-1} x).
    """

    within: float
    neighbours: float
    correlation: float
    spectrum: float
    fit: float
    character: float

    def passes(self, correlation: float = CORRELATION) -> bool:
        """All four tests: cosets, neighbours, distances, spectrum."""
        exact = self.neighbours == 1.0 and self.spectrum < 1e-6
        return exact and self.within < WITHIN and self.correlation >= correlation


def is_cayley(means: Float[Array, "2*{n} 2*{n}"], k: int, n: int) -> Cayley:
    """The class means of a 2D_k cluster against Cay(D_{n'}, {r^{+-d}, s}).

    Neighbours are looked for among vertices of the same type, rotation or reflection: all of the
    other type are equally far, so the edge s is a convention and not learned.
    """
    rotations = np.arange(2 * n) < n
    return cayley_test(means, mult_table(n), irrep_2d(k, n), rotations, convention=n)


def cayley_test(
    means: Float[Array, "G G"],
    table: Int[Array, "G G"],
    rho: Irrep,
    among: Bool[Array, " G"] | None = None,
    convention: int | None = None,
) -> Cayley:
    """The class means of a cluster against Cay(G/ker rho, S), S the nearest elements to e.

    S is where chi is largest outside of the kernel: the elements that rho moves least.

    Args:
        among: which x^{-1} y count as neighbours at all; everything by default. It must be a
            subgroup; the graph then falls into its cosets.
        convention: a generator whose edges are added, for the spectrum, to those read off.
    """
    chi, inv = rho.character, table.argmin(1)
    apart = 2 * rho.dim - 2 * chi[table[inv]]  # [x, y]: ||rho(x) - rho(y)||^2
    blocks = np.array(coset_list(table[:, rho.kernel]))  # [vertices, |ker|]
    centre = means.mean(0)
    of_vertices = means[blocks].mean(1) - centre
    total = float(((means - centre) ** 2).sum())
    within = total - len(rho.kernel) * float((of_vertices**2).sum())
    distances = ((of_vertices[:, None] - of_vertices) ** 2).sum(-1)
    ideal = apart[np.ix_(blocks[:, 0], blocks[:, 0])]
    comparable = np.ones_like(ideal, bool)
    if among is not None:
        comparable = among[table[inv]][np.ix_(blocks[:, 0], blocks[:, 0])]
    wanted, found = (nearest(d, ideal, comparable) for d in (ideal, distances))
    added = np.zeros_like(wanted)
    if convention is not None:
        added = convention_edges(table, blocks, convention)
    spectra = [np.linalg.eigvalsh((a | a.T | added).astype(float)) for a in (wanted, found)]
    on_rho = gft2(means - centre, [*_trivial(rho), rho])[1, 1]
    return Cayley(
        max(within, 0.0) / max(total, 1e-300),
        float((wanted == found).all(1).mean()),
        correlated(distances, ideal),
        float(np.abs(spectra[0] - spectra[1]).max()),
        float(on_rho) / max(total, 1e-300),
        correlated(means, chi[table[inv]]),
    )


def convention_edges(
    table: Int[Array, "G G"], blocks: Int[Array, "v members"], s: int
) -> Bool[Array, "v v"]:
    """Edges of the generator s between cosets: [x, y] if x s is in y, for each least element x."""
    place = np.empty(len(table), int)
    place[blocks] = np.arange(len(blocks))[:, None]
    return place[table[blocks[:, 0], s]][:, None] == np.arange(len(blocks))


def nearest(
    distances: Float[Array, "v v"], ideal: Float[Array, "v v"], comparable: Bool[Array, "v v"]
) -> Bool[Array, "v v"]:
    """[x, y]: y is among the nearest to x, as many as have the least ideal distance."""
    others = comparable & ~np.eye(len(ideal), dtype=bool)
    least = np.where(others, ideal, np.inf)
    near = int((least[0] < least[0].min() + 1e-6).sum()) if others.any() else 0
    places = np.argsort(np.where(others, distances, np.inf), axis=1, kind="stable")[:, :near]
    chosen = np.zeros_like(others)
    np.put_along_axis(chosen, places, True, axis=1)
    return chosen


def correlated(x: Array, y: Array) -> float:
    x, y = x.ravel() - x.mean(), y.ravel() - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else 0.0


def _trivial(rho: Irrep) -> list[Irrep]:
    return [Irrep("triv", 1, np.ones((len(rho.mats), 1, 1)))]


def coset_score(
    vec: Real[Array, " 2*{n}"], n: int, members: Members, side: Literal["left", "right"] = "left"
) -> float:
    """Mean variance within the cosets of H over the total: 0 if vec is constant on each."""
    total = float(np.var(vec))
    if not total > 0:
        raise ValueError("Values that are all equal have no variance to divide among cosets.")
    within = [float(np.var(vec[c])) for c in cosets(n, members, side)]
    return float(np.mean(within)) / total


def is_arc(
    active: Bool[Array, "*batch n"], k: int, n: int
) -> tuple[Bool[Array, "*batch"], Bool[Array, "*batch"]]:
    """Whether an active set in a half of D_n is an approximate coset of 2D_k; if it is any set.

    An approximate coset is a union of kernel cosets that is one path of the n'-cycle walked in
    steps d. Empty and full sets are, trivially; the second result tells them apart.
    """
    g, period, d = step_size(k, n)
    walked = active[..., np.arange(n).reshape(g, period)[:, d * np.arange(period) % period]]
    whole = np.asarray((walked == walked[..., :1, :]).all((-1, -2)))
    path = walked[..., 0, :]
    ends = (path != np.roll(path, 1, axis=-1)).sum(-1)
    some = np.asarray(path.any(-1) & ~path.all(-1))
    return np.asarray(whole & (ends <= 2)), some


# --- Any group: divide and conquer ----------------------------------------------------------------


class Ablation(NamedTuple):
    """Accuracies with only the clusters of a subset, and what the kernels say they should be.

    Attributes:
        kept: [subsets, clusters] which clusters are left.
        accuracy: measured. predicted: 1/|intersection of their kernels|.
        modulo: accuracy when answers that differ by that intersection count as right.
    """

    kept: Bool[Array, "subsets clusters"]
    accuracy: Float[Array, " subsets"]
    predicted: Float[Array, " subsets"]
    modulo: Float[Array, " subsets"]


def ablate(
    parts: Float[Array, "clusters G G G"],
    kernels: Sequence[Int[Array, " _"]],
    table: Int[Array, "G G"],
    most: int = 7,
) -> Ablation:
    """Every non-empty subset of the clusters; leave-one-out and single ones beyond `most`."""
    inv, everything = table.argmin(1), np.arange(len(table))
    rows: list[tuple[float, float, float]] = []
    kept = list(_subsets(len(parts), most))
    for subset in kept:
        common = everything
        for i in np.flatnonzero(subset):
            common = common[np.isin(common, kernels[int(i)])]
        guess = parts[subset].sum(0).argmax(-1)
        off = table[inv[guess], table]  # guess^{-1} a b
        rows.append((float((off == 0).mean()), 1 / len(common), float(np.isin(off, common).mean())))
    measured = np.array(rows).reshape(-1, 3).T
    return Ablation(np.array(kept, bool).reshape(len(kept), len(parts)), *measured)


def _subsets(count: int, most: int) -> Iterator[Bool[Array, " clusters"]]:
    if count <= most:
        for bits in itertools.product((False, True), repeat=count):
            if any(bits):
                yield np.array(bits)
        return
    one = np.eye(count, dtype=bool)
    yield from one
    yield from ~one
    yield np.ones(count, bool)


def ideal_logits(
    parts: Float[Array, "clusters G G G"], chosen: Sequence[Irrep], table: Int[Array, "G G"]
) -> tuple[Float[Array, "G G G"], Float[Array, " clusters"]]:
    """sum_k c_k chi_k((a b)^{-1} x) with each c_k the least-squares fit to C_k, and the c_k."""
    inv = table.argmin(1)
    weights = []
    total = np.zeros((len(table),) * 2)
    for part, rho in zip(parts, chosen, strict=True):
        kernel = rho.character[table[inv]]  # [c, x]
        means, _ = class_means(part, table)
        weights.append(float((means * kernel).sum() / (kernel**2).sum()))
        total = total + weights[-1] * kernel
    return total[table], np.array(weights)


class Summary(NamedTuple):
    """A network's circuit in numbers, one entry a cluster.

    Attributes:
        names, sizes: irrep and number of neurons. answer: share of its variance that depends on
        the answer only. cayley: the test of its graph. without, alone: accuracy without it, and
        modulo its kernel with nothing else. rest: share of the logits' variance in no cluster.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    answer: tuple[float, ...]
    cayley: tuple[Cayley, ...]
    without: tuple[float, ...]
    alone: tuple[float, ...]
    rest: float
    accuracy: float
    clusters_only: float


def summary(
    net: Net,
    table: Int[Array, "G G"],
    reps: Sequence[Irrep],
    among: Bool[Array, " G"] | None = None,
    live: float = LIVE,
) -> Summary:
    """Everything above for one network with an additive first layer."""
    post = np.maximum(pre_activations(net), 0)
    energies = table_energies(net.left, net.right, reps)
    found = clusters(label_neurons(energies, post.max((0, 1)), net.out, reps, live), reps)
    parts, whole = contributions(post, net.out, found), post @ net.out + net.out_bias
    chosen = [rho for rho in reps if rho.name in found]
    means = [class_means(part, table) for part in parts]
    alone = [ablate(part[None], [rho.kernel], table).modulo[0]
             for part, rho in zip(parts, chosen, strict=True)]  # fmt: skip
    left_over = whole - parts.sum(0)
    return Summary(
        tuple(found),
        tuple(len(neurons) for neurons in found.values()),
        tuple(share for _, share in means),
        tuple(
            cayley_test(mean, table, rho, among if rho.dim > 1 else None)
            for (mean, _), rho in zip(means, chosen, strict=True)
        ),
        tuple(accuracy(whole - part, table) for part in parts),
        tuple(float(a) for a in alone),
        float((left_over - left_over.mean((0, 1))).var() / (whole - whole.mean((0, 1))).var()),
        accuracy(whole, table),
        accuracy(parts.sum(0), table),
    )


# --- Small print ----------------------------------------------------------------------------------


def _check_training(cfg: Training) -> None:
    _check_n(cfg.n)
    if min(cfg.features, cfg.hidden, cfg.eval_every, cfg.steps) < 1:
        raise ValueError("features, hidden, eval_every and steps must each be at least 1.")
    if cfg.steps % cfg.eval_every:
        raise ValueError(f"{cfg.steps} steps are no multiple of eval_every, {cfg.eval_every}.")
    if not 0 < cfg.fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1]; got {cfg.fraction}.")


def _check_n(n: int) -> None:
    if n < 3:
        raise ValueError(f"D_n needs n >= 3, not {n}: D_1 is Z_2 and D_2 is Z_2 x Z_2.")


def coset_list(of_each: Shaped[Array, "G members"]) -> list[Int[Array, " members"]]:
    """The distinct rows as ascending sets, by least element; row x is the coset of x."""
    least = of_each.min(1)
    return [np.unique(of_each[x]) for x in np.flatnonzero(least == np.arange(len(of_each)))]
