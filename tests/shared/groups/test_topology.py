"""Betti numbers of sets whose topology is known, with both engines, and the traps."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from shared.experiment.errors import BadInput, MissingExtra
from shared.groups.circuits import network_logits
from shared.groups.similarity import Kind, reference
from shared.groups.topology import Betti, Engine, Recipe, betti, too_small
from tests.shared.groups.built import pizza, torus
from tests.shared.groups.test_neurons import grid, noise

INSTALLED: list[Engine] = [e for e in ("ripser", "gudhi") if find_spec(e) is not None]
needs_engine = pytest.mark.skipif(not INSTALLED, reason="needs the extra `topology`")
FEW = Recipe(landmarks=90)


def lifetimes(found: Betti, dim: int) -> np.ndarray:
    return found.bars[dim][:, 1] - found.bars[dim][:, 0]


@needs_engine
@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("circle", (1, 1, 0)), ("disc", (1, 0, 0)), ("torus", (1, 2, 1)), ("annulus", (1, 0, 0))],
)
def test_reference_sets(kind: Kind, numbers: tuple[int, ...], engine: Engine) -> None:
    """The annulus has a hole that is too small to see: it reads as a disc, always."""
    found = betti(reference(59, 7, kind), engine=engine)
    assert found.numbers == numbers and found.engine == engine
    assert found.sensitivity() == [numbers] * 5


@needs_engine
def test_lifetimes_of_the_reference_sets() -> None:
    """In unscaled coordinates: circle H1 1.643; torus H1 about 1.23 twice, then 0.29; H2 0.886."""
    circle = betti(reference(59, 7, "circle"))
    assert circle.points == 59  # of 3481, all others are duplicates
    assert lifetimes(circle, 1) == pytest.approx([1.643], abs=1e-3)
    assert lifetimes(betti(reference(59, 7, "disc")), 1).max() * np.sqrt(2) < 0.3
    found = betti(reference(59, 7, "torus"))
    assert found.points == 120 and found.components == 4
    assert lifetimes(found, 1)[:2] * np.sqrt(2) == pytest.approx([1.233, 1.233], abs=0.05)
    assert lifetimes(found, 1)[2] * np.sqrt(2) < 0.5
    assert lifetimes(found, 2)[0] * np.sqrt(2) == pytest.approx(0.886, abs=0.08)
    assert lifetimes(found, 2)[1] * np.sqrt(2) < 0.15


@needs_engine
@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs ripser and gudhi")
def test_both_engines_find_the_same_bars() -> None:
    cloud = noise(200, 3)
    ours, theirs = (betti(cloud, FEW, engine) for engine in INSTALLED)
    for dim in range(3):
        assert len(ours.bars[dim]) == len(theirs.bars[dim])
        assert np.allclose(lifetimes(ours, dim), lifetimes(theirs, dim), rtol=0, atol=1e-5)


@needs_engine
def test_bars_by_hand() -> None:
    """Twelve points on a circle: their sides are born as one component, the loop at a side."""
    turn = 2 * np.pi * np.arange(12) / 12
    found = betti(5 + 3 * np.stack([np.cos(turn), np.sin(turn)], 1), Recipe(max_dim=1))
    side = 2 * np.sin(np.pi / 12)
    assert lifetimes(found, 0) == pytest.approx([side] * 11, abs=1e-5)
    # The loop is filled when three points a third of the circle apart are joined.
    assert np.allclose(found.bars[1], [[side, np.sqrt(3)]], rtol=0, atol=1e-5)
    assert found.numbers == (1, 1)
    assert found.recount(h0=0.5) == (12, 1) and found.recount(h1=1.3) == (1, 0)
    assert found.recount() == found.numbers


@needs_engine
def test_two_circles_are_two_components() -> None:
    circle = reference(31, 1, "circle")
    both = np.concatenate([circle, circle + np.array([6.0, 0.0])])
    found = betti(both, Recipe(h1=0.1))
    assert found.numbers == (2, 2, 0)


@needs_engine
@pytest.mark.parametrize("kind", ["disc", "torus"])
def test_clusters_of_neurons_with_noise(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    x = reference(59, 11, kind) @ rng.normal(size=(4 if kind == "torus" else 2, 40))
    x = x + 0.05 * x.std() * rng.normal(size=x.shape)
    assert betti(x).numbers == ((1, 2, 1) if kind == "torus" else (1, 0, 0))


@needs_engine
def test_layers_of_ideal_networks() -> None:
    """Torus neurons lead to a circle of logits; a pizza's logits read as a disc."""
    left, right, out = torus(59, (7,), 5)
    assert betti(grid(left, right).reshape(59**2, -1)).numbers == (1, 2, 1)
    logits = network_logits((left, right), out).reshape(59**2, -1)
    assert betti(logits).numbers == (1, 1, 0)
    left, right, out = pizza(59, (7,), 16)
    assert betti(grid(left, right).reshape(59**2, -1)).numbers == (1, 0, 0)
    logits = network_logits((left, right), out).reshape(59**2, -1)
    assert betti(logits).numbers == (1, 0, 0)


@needs_engine
def test_rotation_scale_shift_order_and_copies_change_nothing() -> None:
    x = reference(31, 3, "torus")
    wanted = betti(x, FEW)
    rotated = x @ np.linalg.qr(noise(4, 4))[0] * 1e-4 + 7
    assert betti(rotated, FEW).numbers == wanted.numbers == (1, 2, 1)
    shuffled = np.random.default_rng(0).permutation(np.repeat(x, 3, axis=0))
    found = betti(shuffled, FEW)
    assert found.numbers == wanted.numbers and found.points == wanted.points == 90
    wide = betti(np.concatenate([x, np.zeros((len(x), 2000))], 1), FEW)  # more columns than rows
    assert wide.numbers == wanted.numbers and wide.components == 4


@needs_engine
def test_duplicates_up_to_rounding_are_one_point() -> None:
    circle = np.tile(reference(29, 1, "circle")[:29], (100, 1))
    found = betti(circle + 1e-9 * noise(*circle.shape))
    assert found.points == 29 and found.numbers == (1, 1, 0)


@needs_engine
def test_too_few_points_say_nothing() -> None:
    with pytest.raises(BadInput, match=r"topology of 3 distinct points .* 12 or more"):
        betti(np.tile(noise(3, 2), (50, 1)))
    with pytest.raises(BadInput, match="of 1 distinct"):
        betti(np.ones((50, 2)))


def test_small_or_impure_clusters_are_named() -> None:
    assert too_small(20, 0.95) is None
    assert too_small(19, 0.95) == "A cluster of 19 neurons is too small for topology (20 needed)."
    reason = "A cluster of mean R^2 0.80 is too impure for topology (0.9 needed)."
    assert too_small(20, 0.8) == reason
    assert too_small(20, float("nan")) is not None
    assert too_small(5, 0.1, least_neurons=4, least_r2=0.0) is None


def test_without_the_extra_one_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.groups.topology.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"need ripser or gudhi, .*: uv sync --extra topology"):
        betti(noise(30, 2))
    with pytest.raises(ImportError, match="need gudhi, "):
        betti(noise(30, 2), engine="gudhi")


@pytest.mark.skipif("gudhi" not in INSTALLED, reason="needs gudhi")
def test_gudhi_takes_over_where_ripser_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shared.groups.topology.find_spec", lambda name: None if name == "ripser" else name
    )
    assert betti(reference(31, 1, "circle")).engine == "gudhi"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"variance": 0.0}, r"share in \(0, 1\]; got 0"),
        ({"max_dim": 3}, "0, 1 or 2; got 3"),
        ({"landmarks": 10}, "got 10 and 12"),
        ({"h1": 0.0}, "positive"),
    ],
)
def test_recipes_that_make_no_sense(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Recipe(**given)


@needs_engine
def test_points_that_are_none() -> None:
    with pytest.raises(BadInput, match=r"finite rows .* got \[30\]"):
        betti(noise(30))
    with pytest.raises(BadInput, match="finite rows"):
        betti(np.full((30, 2), np.nan))
