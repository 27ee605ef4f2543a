"""CKA, distance correlations and two published measures: closed forms and naive recomputation."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from shared.experiment.errors import BadInput
from shared.groups.circuits import network_logits
from shared.groups.group import cyclic
from shared.groups.similarity import (
    Kind,
    cka_gram,
    distance_irrelevance,
    gradient_symmetricity,
    linear_cka,
    pc_variance,
    reference,
    rsm,
    rsm_table,
)
from tests.shared.groups.built import pizza, torus
from tests.shared.groups.known import group
from tests.shared.groups.test_neurons import noise

DISC, TORUS, CIRCLE = (reference(59, 7, kind) for kind in ("disc", "torus", "circle"))


def rotation(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(noise(d, d, seed=seed))[0]


# --- reference sets -------------------------------------------------------------------------


def test_reference_sets_by_hand() -> None:
    row = 5 * 13 + 9  # a = 5, b = 9, f = 2
    a, b = 2 * np.pi * 10 / 13, 2 * np.pi * 18 / 13
    c, s = np.cos, np.sin
    assert reference(13, 2, "torus")[row] == pytest.approx([c(a), s(a), c(b), s(b)])
    assert reference(13, 2, "disc")[row] == pytest.approx([c(a) + c(b), s(a) + s(b)])
    assert reference(13, 2, "circle")[row] == pytest.approx([c(a + b), s(a + b)])
    radius = abs(c((a - b) / 2))
    assert reference(13, 2, "annulus")[row] == pytest.approx([radius * c(a + b), radius * s(a + b)])


def test_the_disc_is_a_projection_of_the_torus() -> None:
    project = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    assert np.allclose(TORUS @ project, DISC, rtol=0, atol=1e-12)


def test_the_annulus_has_a_hole_of_sin_pi_over_2n() -> None:
    radius = np.linalg.norm(reference(59, 7, "annulus"), axis=1)
    assert radius.min() / radius.max() == pytest.approx(np.sin(np.pi / 118), abs=1e-9)


# --- CKA ------------------------------------------------------------------------------------


def test_closed_forms_of_cka() -> None:
    assert linear_cka(DISC, TORUS) == pytest.approx(1 / np.sqrt(2), abs=1e-9)
    assert linear_cka(DISC, CIRCLE) < 1e-12
    assert linear_cka(TORUS, CIRCLE) < 1e-12
    assert linear_cka(reference(59, 7, "annulus"), CIRCLE) == pytest.approx(0.81076, abs=5e-6)


def test_cka_of_a_population_with_phase_noise() -> None:
    """rho = exp(-sigma^2/2): torus 1/sqrt(1 + rho^2), disc (1 + rho)/sqrt(2 (1 + rho^2))."""
    rng = np.random.default_rng(0)
    phi = rng.uniform(0, 2 * np.pi, 4000)
    moved = phi + rng.normal(size=4000)
    disc, torus = reference(31, 7, "disc"), reference(31, 7, "torus")
    x = torus @ np.stack([np.cos(phi), -np.sin(phi), np.cos(moved), -np.sin(moved)])
    assert linear_cka(x, disc) == pytest.approx(0.971, abs=3e-3)
    assert linear_cka(x, torus) == pytest.approx(0.855, abs=5e-3)


def test_cka_by_both_routes_and_by_centred_kernels() -> None:
    x, y = noise(40, 7), noise(40, 90, seed=1)
    y[:, :7] += x
    centre = np.eye(40) - 1 / 40
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre  # noqa: E741
    hsic = np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))
    assert linear_cka(x, y) == pytest.approx(hsic, abs=1e-12)
    assert linear_cka(y, x) == pytest.approx(hsic, abs=1e-12)
    assert cka_gram(x, y) == pytest.approx(hsic, abs=1e-12)


def test_cka_does_not_see_rotation_scale_shift_and_order_of_columns() -> None:
    x, y = noise(50, 6), noise(50, 4, seed=1) + noise(50, 6)[:, :4]
    wanted = linear_cka(x, y)
    assert linear_cka(x @ rotation(6), y) == pytest.approx(wanted, abs=1e-12)
    assert linear_cka(3.5 * x, -0.1 * y) == pytest.approx(wanted, abs=1e-12)
    assert linear_cka(x + noise(6, seed=2), y + 100) == pytest.approx(wanted, abs=1e-10)
    assert linear_cka(x[:, ::-1], y) == pytest.approx(wanted, abs=1e-12)
    assert linear_cka(y, x) == pytest.approx(wanted, abs=1e-12)
    assert linear_cka(x, 2 * x @ rotation(6) + 1) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x * np.arange(1.0, 7), y) != pytest.approx(wanted, abs=1e-3)


def test_a_random_set_is_like_nothing() -> None:
    assert linear_cka(noise(59**2, 30), DISC) < 0.01
    assert linear_cka(TORUS @ noise(4, 30), DISC) > 0.5  # whatever lies in the torus is near it


@pytest.mark.parametrize(("m", "tied", "rank"), [(20, True, 2), (20, False, 4), (3, False, 3)])
def test_rank_of_a_cluster(m: int, tied: bool, rank: int) -> None:
    left, right = np.random.default_rng(1).uniform(0, 2 * np.pi, (2, m))
    right = left if tied else right
    x = TORUS @ np.stack([np.cos(left), -np.sin(left), np.cos(right), -np.sin(right)])
    assert (pc_variance(x) > 1e-12).sum() == rank
    assert (linear_cka(x, DISC) > 0.9) == tied


# --- distances and components ---------------------------------------------------------------


def test_distance_correlation_of_disc_and_torus() -> None:
    assert rsm(DISC, TORUS) == pytest.approx(0.578, abs=5e-4)


@pytest.mark.parametrize("block", [50, 2**22])
def test_distance_correlations_in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.groups.similarity.BLOCK", block)
    sets = [noise(61, 3), noise(61, 5, seed=1), 2 * noise(61, 3) @ rotation(3) + 4]
    found = rsm_table(sets)
    wanted = np.corrcoef([pdist(x) for x in sets])
    assert np.allclose(found, wanted, rtol=0, atol=1e-12)
    assert found[0, 2] == pytest.approx(1, abs=1e-12)
    assert rsm(sets[0], sets[1]) == pytest.approx(wanted[0, 1], abs=1e-12)


def test_a_sample_of_points_estimates_the_whole() -> None:
    whole, some = rsm(DISC, TORUS), rsm(DISC, TORUS, points=1500, seed=1)
    assert some == pytest.approx(whole, abs=0.02)
    assert some != whole and some != rsm(DISC, TORUS, points=1500, seed=2)
    assert rsm(DISC, TORUS, points=59**2) == whole


def test_component_shares() -> None:
    x = noise(500, 3) * [3.0, 1.0, 0.0]
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    assert np.allclose(pc_variance(x), values / values.sum())
    assert np.allclose(pc_variance(x.T), pc_variance(x.T @ rotation(500)))
    assert pc_variance(TORUS) == pytest.approx([0.25] * 4)


def test_what_is_undefined_is_nan() -> None:
    point = np.full((9, 2), 0.1)
    assert np.isnan(linear_cka(point, noise(9, 2)))
    assert np.isnan(cka_gram(noise(9, 2), point))
    assert np.isnan(rsm(point, noise(9, 2)))
    assert np.isnan(pc_variance(point)).all()


# --- two measures of the circuit ------------------------------------------------------------


@pytest.mark.parametrize(("made", "wanted"), [(pizza(59, (6, 7, 17), 16), 0.0416),
                                              (torus(59, (6, 7, 17), 8), 0.953)])  # fmt: skip
def test_distance_irrelevance_of_ideal_networks(
    made: tuple[np.ndarray, np.ndarray, np.ndarray], wanted: float
) -> None:
    logits = network_logits(made[:2], made[2])
    assert distance_irrelevance(logits, cyclic(59).table) == pytest.approx(wanted, abs=5e-4)


@pytest.mark.parametrize("n", [7, 8])
def test_distance_irrelevance_by_its_definition(n: int) -> None:
    logits, table = noise(n, n, n), cyclic(n).table
    columns = [[logits[a, (a - d) % n, (2 * a - d) % n] for a in range(n)] for d in range(n)]
    wanted = np.mean([np.std(c) for c in columns]) / np.std(columns)
    assert distance_irrelevance(logits, table) == pytest.approx(wanted)
    correct = np.take_along_axis(logits, table[..., None], 2)[..., 0]
    assert distance_irrelevance(correct, table) == pytest.approx(wanted)


def test_functions_of_the_distance_alone_and_of_the_sum_alone() -> None:
    turn = 2 * np.pi * np.arange(59) / 59
    apart = np.abs(np.cos((turn[:, None] - turn) / 2))
    assert distance_irrelevance(apart, cyclic(59).table) < 1e-12
    of_sum = np.cos(turn[:, None] + turn)
    assert distance_irrelevance(of_sum, cyclic(59).table) == pytest.approx(1)
    made = group("D5")
    by_quotient = noise(10)[made.table[:, made.inverse]]  # a b^{-1}
    assert distance_irrelevance(by_quotient, made.table) < 1e-12
    assert distance_irrelevance(noise(10)[made.table], made.table) > 0.5


def test_constant_logits_have_no_distance_irrelevance() -> None:
    with pytest.warns(RuntimeWarning, match="0/0"):
        assert np.isnan(distance_irrelevance(np.full((7, 7), 0.3), cyclic(7).table))


def test_gradient_symmetricity_by_hand() -> None:
    of_a = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    of_b = np.array([[3.0, 0.0], [1.0, -1.0], [-1.0, 0.0]])
    assert gradient_symmetricity(of_a, of_b) == pytest.approx(0)
    assert gradient_symmetricity(of_a, 5 * of_a) == pytest.approx(1)
    assert np.isnan(gradient_symmetricity(of_a, 0 * of_a))


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="got 5 and 6"):
        linear_cka(noise(5, 2), noise(6, 2))
    with pytest.raises(BadInput, match=r"row by row; got \[5, 6\]"):
        rsm(noise(5, 2), noise(6, 2))
    with pytest.raises(BadInput, match=r"rows of .* got \[5\]"):
        linear_cka(noise(5), noise(5, 2))
    with pytest.raises(BadInput, match="finite"):
        pc_variance(np.full((3, 2), np.inf))
    with pytest.raises(BadInput, match="3 points or more, not 2"):
        rsm(noise(5, 2), noise(5, 2), points=2)
    with pytest.raises(BadInput, match=r"1\.\.29; 30 is not"):
        reference(59, 30, "disc")
    wrong: Kind = "sphere"  # type: ignore[assignment]
    with pytest.raises(Exception, match="sphere"):
        reference(59, 3, wrong)
    with pytest.raises(BadInput, match=r"are \[7, 7, 7\]; these are \[7, 3\]"):
        distance_irrelevance(noise(7, 3), cyclic(7).table)
    with pytest.raises(BadInput, match="no gradients"):
        gradient_symmetricity(np.zeros((0, 3)), np.zeros((0, 3)))
