"""Betti numbers of a cloud of points: circle (1, 1, 0), disc (1, 0, 0), torus (1, 2, 1).

    1  centre, and keep the principal components that hold 99 % of the variance (8 at most)
    2  landmarks: farthest points first, until 120 or until no point is left that is not (up to
       1e-6 of the radius) one of them. Dropping duplicates is not optional: the logits of a
       network are n distinct points n times over, and persistence of 300 duplicates takes minutes
    3  scale the landmarks to mean squared radius 1
    4  persistent homology of their Vietoris-Rips complex, over the field with two elements
    5  count the bars longer than a threshold: 0.6 for H0 and H1, 0.35 for H2

The thresholds suit sets that fill a circle, disc or torus evenly. They decide: `Betti.sensitivity`
counts again at others. Two traps: a hole smaller than a threshold is not seen (the annulus of a
pizza's logits has inner radius sin(pi/2n), 0.027 of the outer one at n = 59, and reads as a disc);
and clusters of a few neurons or half trained give noise (`too_small`).

Needs the packages of the extra `topology`: ripser, or gudhi in its place.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from jaxtyping import Float, Real

from shared.experiment.errors import BadInput, MissingExtra

Array = np.ndarray
Engine = Literal["ripser", "gudhi"]
NEEDS: dict[Engine, tuple[str, ...]] = {"ripser": ("ripser",), "gudhi": ("gudhi", "sklearn")}
ROUNDING = 1e-6  # bars shorter than this; ripser computes in float32
Bars = tuple[Float[Array, "_ 2"], ...]


@dataclass(frozen=True)
class Recipe:
    """How points become Betti numbers; lengths are in units of the root mean squared radius.

    Attributes:
        variance: share that the principal components hold. most_components: their maximum.
        landmarks: points that are kept at most. same: points closer than this are one point.
        h0, h1, h2: bars longer than this count. max_dim: the highest homology, 0 to 2.
        least_points: with fewer distinct points there is no shape to speak of.
    """

    variance: float = 0.99
    most_components: int = 8
    landmarks: int = 120
    same: float = 1e-6
    h0: float = 0.6
    h1: float = 0.6
    h2: float = 0.35
    max_dim: int = 2
    least_points: int = 12

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise BadInput(f"variance is a share in (0, 1]; got {self.variance}.")
        if self.max_dim not in (0, 1, 2):
            raise BadInput(f"max_dim is 0, 1 or 2; got {self.max_dim}.")
        if self.landmarks < self.least_points or self.least_points < 3:
            raise BadInput(
                f"Landmarks are least_points or more, and these 3 or more; got {self.landmarks} "
                f"and {self.least_points}."
            )
        if self.most_components < 1 or self.same < 0 or min(self.thresholds) <= 0:
            raise BadInput("Components, thresholds and `same` are positive.")

    @property
    def thresholds(self) -> tuple[float, float, float]:
        return self.h0, self.h1, self.h2


@dataclass(frozen=True, eq=False)
class Betti:
    """Betti numbers, and the bars that they were counted from.

    Attributes:
        numbers: (b0, b1, b2), as far as `recipe.max_dim`.
        bars: births and deaths in each dimension, the longest first; what never dies is left
            out of dimension 0 (one component) and dies with the complex otherwise.
        points: distinct points that were used. components: principal components kept.
    """

    numbers: tuple[int, ...]
    bars: Bars
    points: int
    components: int
    engine: Engine
    recipe: Recipe

    def recount(
        self, h0: float | None = None, h1: float | None = None, h2: float | None = None
    ) -> tuple[int, ...]:
        """The Betti numbers at other thresholds; None leaves one as it is."""
        given = zip((h0, h1, h2), self.recipe.thresholds, strict=True)
        return _count(self.bars, [usual if other is None else other for other, usual in given])

    def sensitivity(
        self, factors: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.25)
    ) -> list[tuple[int, ...]]:
        """The Betti numbers with all thresholds multiplied by each factor."""
        return [_count(self.bars, [f * h for h in self.recipe.thresholds]) for f in factors]


def betti(
    x: Real[Array, "..."], recipe: Recipe | None = None, engine: Engine | None = None
) -> Betti:
    """Betti numbers of the rows of `x` [points, dimensions].

    Args:
        engine: `ripser`, or `gudhi`; by default the first of them that is installed.

    Raises:
        BadInput: too few distinct points. MissingExtra: no engine is installed.
    """
    recipe = Recipe() if recipe is None else recipe
    engine = _installed(engine)
    if x.ndim != 2 or len(x) < 1 or x.shape[1] < 1 or not np.isfinite(x).all():
        raise BadInput(f"Points are finite rows of [points, dimensions]; got {list(x.shape)}.")
    projected = _principal(x.astype(float), recipe)
    chosen = _landmarks(projected, recipe)
    if len(chosen) < recipe.least_points:
        raise BadInput(
            f"The topology of {len(chosen)} distinct points says nothing; "
            f"it takes {recipe.least_points} or more."
        )
    chosen = chosen / np.sqrt((chosen**2).sum(axis=1).mean())
    distances = np.sqrt(((chosen[:, None] - chosen) ** 2).sum(axis=2))
    compute = {"ripser": _by_ripser, "gudhi": _by_gudhi}[engine]
    # Beyond this length the complex is a cone, and nothing more is born or dies.
    longest = float(distances.max(axis=1).min()) * (1 + 1e-5)
    bars = tuple(_ordered(b, longest) for b in compute(distances, longest, recipe.max_dim))
    numbers = _count(bars, recipe.thresholds)
    return Betti(numbers, bars, len(chosen), projected.shape[1], engine, recipe)


def too_small(
    size: int, r2: float, *, least_neurons: int = 20, least_r2: float = 0.9
) -> str | None:
    """Why a cluster of this size and mean R^2 is nothing for `betti`, in a sentence; None if it is.

    Clusters below these floors give Betti numbers like (1, 0, 2), which are noise.
    """
    if size < least_neurons:
        return f"A cluster of {size} neurons is too small for topology ({least_neurons} needed)."
    if not r2 >= least_r2:
        return f"A cluster of mean R^2 {r2:.2f} is too impure for topology ({least_r2} needed)."
    return None


def _principal(x: Float[Array, "p d"], recipe: Recipe) -> Float[Array, "p k"]:
    centred = x - x.mean(axis=0)
    if x.shape[1] <= x.shape[0]:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, scores = values[::-1], centred @ vectors[:, ::-1]
    else:
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        values, scores = s**2, u * s
    held = np.cumsum(np.maximum(values, 0.0))
    needed = int(np.searchsorted(held, recipe.variance * held[-1] * (1 - 1e-12))) + 1
    return scores[:, : min(needed, recipe.most_components)]


def _landmarks(x: Float[Array, "p k"], recipe: Recipe) -> Float[Array, "l k"]:
    """Farthest points first, from the one farthest out; no two of them are the same point."""
    radius = np.sqrt((x**2).sum(axis=1))
    same = recipe.same * np.sqrt((radius**2).mean())
    chosen = [int(radius.argmax())]
    away = np.full(len(x), np.inf)
    while len(chosen) < recipe.landmarks:
        away = np.minimum(away, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
        farthest = int(away.argmax())
        if np.sqrt(away[farthest]) <= same:
            break
        chosen.append(farthest)
    return x[chosen]


def _count(bars: Bars, thresholds: Sequence[float]) -> tuple[int, ...]:
    """Bars longer than their dimension's threshold, and one component that never dies."""
    long = [int((b[:, 1] - b[:, 0] > h).sum()) for b, h in zip(bars, thresholds, strict=False)]
    return (1 + long[0], *long[1:])


def _ordered(bars: Float[Array, "_ 2"], longest: float) -> Float[Array, "_ 2"]:
    bars = np.minimum(bars, longest)
    bars = bars[bars[:, 1] - bars[:, 0] > ROUNDING]
    return bars[np.argsort(bars[:, 0] - bars[:, 1], kind="stable")]


# The engines --------------------------------------------------------------------------------------


def _installed(engine: Engine | None) -> Engine:
    if engine is not None and engine not in NEEDS:
        raise BadInput(f"Engines are {' and '.join(NEEDS)}; {engine!r} is none.")
    wanted = tuple(NEEDS) if engine is None else (engine,)
    for name in wanted:
        if all(find_spec(package) is not None for package in NEEDS[name]):
            return name
    raise MissingExtra(
        f"Betti numbers need {' or '.join(wanted)}, not installed here: uv sync --extra topology"
    )


def _by_ripser(distances: Float[Array, "p p"], longest: float, max_dim: int) -> list[Array]:
    with warnings.catch_warnings():  # of the packages that it imports, not of its work
        warnings.simplefilter("ignore")
        from ripser import ripser
    found = ripser(distances, maxdim=max_dim, thresh=longest, distance_matrix=True)["dgms"]
    components = found[0][np.isfinite(found[0][:, 1])]
    return [components.astype(float), *(bars.astype(float) for bars in found[1:])]


def _by_gudhi(distances: Float[Array, "p p"], longest: float, max_dim: int) -> list[Array]:
    """By gudhi's fork of ripser; its simplex trees take seconds for 120 points in dimension 2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gudhi.sklearn.rips_persistence import RipsPersistence
    rips = RipsPersistence(
        homology_dimensions=list(range(max_dim + 1)),
        threshold=longest,
        input_type="full distance matrix",
        homology_coeff_field=2,
    )
    found = rips.fit_transform([distances])[0]
    return [found[0][np.isfinite(found[0][:, 1])], *found[1:]]
