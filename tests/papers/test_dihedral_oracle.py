"""The network written down by hand, margins of characters, and the bound on their number."""

import numpy as np
import pytest

from papers.dihedral import circuit, exact, method, oracle
from papers.dihedral.oracle import (
    chance_of_margin,
    construct,
    enough_representations,
    ideal_margin,
    kind,
    least_representations,
)
from papers.dihedral.subject import subject


@pytest.mark.parametrize(
    ("n", "names", "expected"),
    [
        (18, ("2D_4", "2D_5", "2D_6"), 3.935822),
        (18, ("2D_6", "2D_8"), 0.0),
        (18, ("2D_6", "2D_8", "rp"), 2.0),
        (18, ("2D_5",), 0.120615),
        (18, tuple(f"2D_{k}" for k in range(1, 9)), 16.0),
        (17, ("sign", "2D_3", "2D_4", "2D_5"), 3.790905),
        (17, tuple(f"2D_{k}" for k in range(1, 9)), 16.0),
        (24, ("rp", "srp", "2D_2", "2D_3", "2D_8"), 4.0),
        (18, (), 0.0),
    ],
)
def test_margins_of_characters(n: int, names: tuple[str, ...], expected: float) -> None:
    assert ideal_margin(n, names) == pytest.approx(expected, abs=1e-6)


def test_a_margin_is_zero_exactly_where_kernels_meet() -> None:
    reps = method.irreps(12)
    rng = np.random.default_rng(0)
    for _ in range(40):
        names = [rho.name for rho in reps[1:] if rng.random() < 0.35]
        common = np.arange(24)
        for rho in oracle.named(reps, names):
            common = common[np.isin(common, rho.kernel)]
        assert (ideal_margin(12, names) > 1e-9) == (len(common) == 1)


@pytest.mark.parametrize(
    ("n", "names", "neurons", "margin"),
    [
        (18, ("rp", "2D_4", "2D_5", "2D_6"), 194, 3.2371),
        (17, ("2D_3", "2D_4", "2D_5"), 192, 3.1781),
        (24, ("rp", "srp", "2D_2", "2D_3", "2D_8"), 196, 2.1088),
    ],
)
def test_the_network_by_hand(n: int, names: tuple[str, ...], neurons: int, margin: float) -> None:
    net, who = construct(n, names), subject(f"D{n}")
    logits = method.logits(net)
    assert net.out.shape == (neurons, 2 * n)
    assert method.accuracy(logits, who.table) == 1.0
    assert method.margin(logits, who.table) == pytest.approx(margin, abs=1e-4)
    found = method.clusters(circuit.last_labels(circuit.view_of(net), who), who.reps)
    assert list(found) == list(names)


def test_it_multiplies_pair_by_pair() -> None:
    """Independent of the arrays: one neuron's formula at one pair."""
    net, n = construct(5, ("2D_1",), (4, 4, 4)), 5
    rho = method.irrep_2d(1, n).mats
    x, y, z = (np.array([np.cos(t), np.sin(t)]) for t in (np.pi / 2, 2 * np.pi * 1.25 / 4, np.pi))
    j = np.ravel_multi_index((1, 1, 2), (4, 4, 4))
    assert net.left[7, j] == pytest.approx(x @ rho[7] @ y)
    assert net.right[3, j] == pytest.approx(y @ rho[3] @ z)
    assert net.out[j, 8] == pytest.approx(16 / 64 * x @ rho[8] @ z)


def test_half_of_the_circle_is_not_enough() -> None:
    broken = construct(18, ("rp", "2D_4", "2D_5", "2D_6"), turn=0.5)
    assert method.accuracy(method.logits(broken), method.mult_table(18)) < 0.2


def test_kinds() -> None:
    assert [kind(name, 18) for name in ("rp", "2D_5", "2D_4")] == ["line", "approximate", "coset"]


def test_the_bound() -> None:
    assert enough_representations(59, 0.1, 0.9) == pytest.approx(4.6475, abs=1e-4)
    assert enough_representations(590, 0.1, 0.9) - enough_representations(59, 0.1, 0.9) == (
        pytest.approx(2 * np.log(10) / (np.log(np.pi / 0.1) - 1))
    )


def test_monte_carlo_of_one_irrep_is_exact() -> None:
    """m = 1: the margin of 2D_k on D_n is that of x = r^{+-d}, if k is prime to n; else 0."""
    delta = 1 - np.cos(2 * np.pi / 7)
    assert chance_of_margin(7, 1, delta - 1e-9, 200, 0) == 1.0
    assert chance_of_margin(7, 1, delta + 1e-9, 200, 0) == 0.0
    # D_9: 2D_3 alone has margin 0, and one of four irreps is it.
    assert chance_of_margin(9, 1, 0.01, 4000, 0) == pytest.approx(0.75, abs=0.03)
    assert least_representations(7, 0.01, 0.9, 200, 0) == 1


def test_monte_carlo_against_a_loop() -> None:
    rng = np.random.default_rng([3, 11, 4])
    k = rng.integers(1, 6, size=(100, 4))
    table, reps = method.mult_table(11), {rho.freq: rho.character for rho in method.irreps(11)}
    assert table.shape == (22, 22)
    good = 0
    for row in k:
        chi = np.sum([reps[f] for f in row], axis=0)
        good += (chi[0] - chi[1:]).min() / 2 > 0.3 * 4
    assert chance_of_margin(11, 4, 0.3, 100, 3) == pytest.approx(good / 100)


def test_the_exact_task_says_all_of_this() -> None:
    found = exact.by_hand() | exact.theorem(100)
    assert found["hand/recovered"].all() and not found["hand/others"].any()
    assert (found["hand/accuracy"] == 1).all() and found["hand/half"] < 0.2
    assert (found["theorem/enough"] > found["theorem/bound"]).all()


def test_bad_input_is_one_sentence() -> None:
    for call, start in (
        (lambda: construct(18, ("2D_9",)), "There is no irrep '2D_9'; there are triv, sign"),
        (lambda: construct(18, ()), "A network needs at least one irrep."),
        (lambda: ideal_margin(5, ("rp",)), "There is no irrep 'rp'; there are triv, sign, 2D_1"),
        (lambda: enough_representations(9, 2.0, 0.9), "The bound needs 0 < delta < pi/e and"),
        (lambda: enough_representations(9, 0.1, 1.0), "The bound needs 0 < delta < pi/e and"),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value).startswith(start) and "\n" not in str(error.value)
