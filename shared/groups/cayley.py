"""Cayley graphs, the graphs of cosets that they collapse to, and whether two graphs are the same.

Cay(G, S) joins x to x s for every s in S. For a normal subgroup N it collapses to a graph on the
cosets, x N to x s N, which is the Cayley graph of G/N with the images of S. Multiplication from
the left is a symmetry of Cay(G, S), so every vertex looks the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from shared.experiment.errors import BadInput
from shared.groups.group import Group
from shared.groups.subgroups import Members, quotient

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class CayleyGraph:
    """Cay(G, S), or the graph of cosets that it collapses to.

    Attributes:
        order: number of vertices; vertex i is element (or coset) i.
        generators: S, as elements of G.
        arcs: [arcs, 3], from x, to x s, and which generator s is (its place in `generators`).
    """

    order: int
    generators: tuple[int, ...]
    arcs: Int[Array, "arcs 3"]

    @property
    def adjacency(self) -> Bool[Array, "v v"]:
        """Whether an edge joins two vertices, either way round; loops are left out."""
        joined = np.zeros((self.order, self.order), bool)
        joined[self.arcs[:, 0], self.arcs[:, 1]] = True
        joined |= joined.T
        np.fill_diagonal(joined, False)
        return joined

    @property
    def edges(self) -> Int[Array, "edges 2"]:
        """Each edge once, its lower end first, ascending."""
        return np.argwhere(np.triu(self.adjacency))


def cayley_graph(group: Group, generators: Sequence[int]) -> CayleyGraph:
    """Cay(G, S): an arc from x to x s for every x and every s in `generators`."""
    for s in generators:
        if not 0 <= s < group.order:
            raise BadInput(f"{group.name} has the elements 0..{group.order - 1}; {s} is none.")
        if s == 0:
            raise BadInput("The identity, 0, joins every vertex to itself: it is no generator.")
    x = np.arange(group.order)
    arcs = [np.stack([x, group.table[:, s], np.full_like(x, i)], 1)
            for i, s in enumerate(generators)]  # fmt: skip
    stacked = np.concatenate([np.empty((0, 3), int), *arcs])
    return CayleyGraph(group.order, tuple(int(s) for s in generators), stacked)


def coset_graph(group: Group, normal: Members, generators: Sequence[int]) -> CayleyGraph:
    """Cay(G, S) with each coset of N drawn together: vertex i is coset i of `quotient`.

    Arcs inside a coset disappear.
    """
    projection = quotient(group, normal).projection
    graph = cayley_graph(group, generators)
    arcs = graph.arcs.copy()
    arcs[:, :2] = projection[arcs[:, :2]]
    arcs = np.unique(arcs[arcs[:, 0] != arcs[:, 1]], axis=0)
    return CayleyGraph(int(projection.max()) + 1, graph.generators, arcs)


def is_coset_graph(
    adjacency: Shaped[Array, "v v"], group: Group, normal: Members, generators: Sequence[int]
) -> bool:
    """Whether a graph, its vertices in any order, is Cay(G/N, images of S)."""
    of_cosets = quotient(group, normal)
    images = of_cosets.projection[list(generators)]
    wanted = cayley_graph(of_cosets.group, np.unique(images[images != 0]).tolist())
    return isomorphism(adjacency, wanted.adjacency) is not None


def spectrum(adjacency: Shaped[Array, "v v"]) -> Float[Array, " v"]:
    """Eigenvalues of an undirected graph, ascending."""
    return np.linalg.eigvalsh(_undirected(adjacency).astype(float))


def isomorphism(a: Shaped[Array, "v v"], b: Shaped[Array, "w w"]) -> Int[Array, " v"] | None:
    """A map of vertices with a[i, j] = b[map[i], map[j]] for two undirected graphs, or None.

    Exact: colour refinement of both graphs at once, then one vertex of the first is paired with
    each candidate of the second in turn. Quick for graphs with many symmetries or with none.
    """
    a, b = _undirected(a), _undirected(b)
    if a.shape != b.shape:
        return None
    both = np.zeros((2 * len(a), 2 * len(a)))
    both[: len(a), : len(a)], both[len(a) :, len(a) :] = a, b
    return _search(both, np.zeros(len(both), int))


def _search(both: Float[Array, "u u"], colours: Int[Array, " u"]) -> Int[Array, " v"] | None:
    n = len(both) // 2
    colours = _refined(both, colours)
    counts = np.bincount(colours[:n], minlength=colours.max() + 1)
    if not np.array_equal(counts, np.bincount(colours[n:], minlength=len(counts))):
        return None
    if counts.max() == 1:  # settled colours agree on all neighbours: the map is an isomorphism
        place = np.empty(n, int)
        place[colours[n:]] = np.arange(n)
        return place[colours[:n]]
    cell = int(np.argmin(np.where(counts > 1, counts, len(both))))
    vertex = int(np.flatnonzero(colours[:n] == cell)[0])
    for candidate in np.flatnonzero(colours[n:] == cell):
        paired = colours.copy()
        paired[[vertex, n + candidate]] = len(counts)
        found = _search(both, paired)
        if found is not None:
            return found
    return None


def _refined(both: Float[Array, "u u"], colours: Int[Array, " u"]) -> Int[Array, " u"]:
    """Split colours by how many neighbours of each colour a vertex has, until that is settled."""
    number = 0
    while number < colours.max() + 1:
        number = int(colours.max()) + 1
        neighbours = (both @ np.eye(number)[colours]).astype(int)
        signature = np.c_[colours, neighbours]
        colours = np.unique(signature, axis=0, return_inverse=True)[1].reshape(-1)
    return colours


def _undirected(adjacency: Shaped[Array, "v v"]) -> Bool[Array, "v v"]:
    joined = np.asarray(adjacency) != 0
    one_way = np.argwhere(joined != joined.T)
    if len(one_way):
        i, j = one_way[0]
        raise BadInput(f"The graph is directed: only one of {i} -> {j} and {j} -> {i} is an edge.")
    return joined
