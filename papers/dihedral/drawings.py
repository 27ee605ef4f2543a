"""Pictures of single networks: clusters on their learned coordinates, neurons as heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from papers.dihedral.method import mult_table, step_size
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
VIEW = np.linalg.qr(np.array([[0.9, 0.35, 0.2], [-0.3, 0.9, 0.45], [0.1, -0.4, 0.9]]))[0]
ROTATIONS, REFLECTIONS = plotting.COLOURS[0], plotting.COLOURS[1]


def pretty(name: str) -> str:
    """2D_5 -> ρ with index 5; other names as they are."""
    return f"ρ$_{{{name[3:]}}}$" if name.startswith("2D_") else name


def about(name: str, n: int) -> str:
    """What an irrep of D_n stands for, in a line."""
    if not name.startswith("2D_"):
        return "two cosets, index 2"
    g, period, d = step_size(int(name[3:]), n)
    whose = "approximate cosets" if g == 1 else f"cosets of a kernel of {g}"
    return f"{whose}, n' = {period}, d = {d}"


def cayley(results: Results) -> Figure:
    """Clusters of one network as Cayley graphs, every vertex where the network puts it.

    The class means of the logits that a cluster writes, in the two principal components of the
    rotations (outer ring) and of the reflections (inner ring, drawn at 60 %); solid edges join
    x and x r^{+-d}, dotted ones x and x s.
    """
    irreps, names = _ints(results, "show/head/irrep"), _names(results, "show/head/names")
    group = str(results["show/head/group"])
    slots = [slot for slot in range(3) if irreps[slot] >= 0]
    fig, axes = plotting.figure(1, max(len(slots), 1), height=4.6)
    dihedral = int(results["head/n"])
    for ax, slot in zip(axes[0], slots, strict=False):
        points = np.asarray(results["show/head/points"])[slot]
        cloud = np.asarray(results["show/head/cloud"])[slot]
        edges = np.asarray(results["show/head/edges"])[slot]
        edges = edges[edges[:, 0] >= 0]
        name = names[irreps[slot]]
        if dihedral:
            if name.startswith("2D_"):
                _prism(ax, points, cloud, edges, dihedral)
            else:
                _line(ax, points, dihedral)
            ax.set_title(f"{pretty(name)}: {about(name, dihedral)}", fontsize=10)
        else:
            _plain(ax, points, edges)
            ax.set_title(pretty(name))
        spread = float(np.asarray(results["show/head/spread"])[slot])
        ax.set_xlabel(f"1st coordinate\n({100 * spread:.1f} % of the variance)", fontsize=10)
        ax.set_ylabel("2nd coordinate" if slot == slots[0] else "", fontsize=10)
        _bare(ax)
    seed = int(results["show/head/seed"])
    fig.suptitle(
        f"One network on {group} (seed {seed}): blue rotations, orange reflections, "
        "grey the contributions of single pairs, dotted the edges by s",
        x=0.01, ha="left", fontsize="medium",
    )  # fmt: skip
    return fig


def _line(ax: Any, points: Array, n: int) -> None:
    """A 1-D irrep: two cosets on a line; elements one above the other, to be told apart."""
    x = points[:, 0] / (np.abs(points[:, 0]).max() or 1.0)
    y = np.tile(np.linspace(-0.85, 0.85, n), 2) + np.repeat([0.0, 0.85 / n], n)
    for half, colour, letter in (
        (slice(0, n), ROTATIONS, "r"),
        (slice(n, 2 * n), REFLECTIONS, "s"),
    ):
        ax.plot(x[half], y[half], linestyle="none", marker="o", markersize=6, color=colour)
        for side in (-1, 1):
            mine = np.flatnonzero(np.sign(x[half]) == side)
            if len(mine):
                power = "all m" if len(mine) == n else "even m" if mine[0] % 2 == 0 else "odd m"
                text = "r$^m$" if letter == "r" else "s r$^m$"
                ax.text(0.86 * side, 0.15 * (1 if letter == "r" else -1), f"{text}\n{power}",
                        ha="right" if side > 0 else "left", va="center", color=colour,
                        fontsize=9)  # fmt: skip
    ax.set_xlim(-1.35, 1.35)
    ax.set_ylim(-1.35, 1.35)


def _prism(ax: Any, points: Array, cloud: Array, edges: Array, n: int) -> None:
    scale = np.abs(points[:n, :2]).max() or 1.0
    inner = 0.6 * scale / (np.abs(points[n:, :2]).max() or 1.0)
    xy = np.concatenate([points[:n, :2], inner * points[n:, :2]])
    reach = 1.35 * scale
    near = cloud[np.abs(cloud[:, :2]).max(1) < reach]
    ax.plot(near[:, 0], near[:, 1], linestyle="none", marker=".", color="#CCCCCC", markersize=3,
            zorder=0)  # fmt: skip
    for a, b in edges:
        colour = ROTATIONS if max(a, b) < n else REFLECTIONS if min(a, b) >= n else "#999999"
        ax.plot(xy[[a, b], 0], xy[[a, b], 1], color=colour, linewidth=1.3, zorder=1)
    for m in range(n):
        ends = xy[[m, n + (-m) % n]]  # r^m s = s r^{-m}
        ax.plot(ends[:, 0], ends[:, 1], color="#AAAAAA", linewidth=0.8, linestyle=":", zorder=0)
    for half, colour, label in (
        (np.arange(n), ROTATIONS, "r"),
        (np.arange(n, 2 * n), REFLECTIONS, "s"),
    ):
        ax.plot(xy[half, 0], xy[half, 1], linestyle="none", marker="o", markersize=9, zorder=2,
                color=colour, markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
        _vertex_names(ax, xy[half], label)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)


def _vertex_names(ax: Any, xy: Array, label: str) -> None:
    """The exponents m at each vertex; a coset has several, of which the first are named."""
    seen: dict[tuple[int, ...], list[int]] = {}
    scale = np.abs(xy).max() or 1.0
    for m, place in enumerate(xy):
        seen.setdefault(tuple(np.round(place / scale * 8).astype(int)), []).append(m)
    if len(seen) > 20:
        return
    for members in seen.values():
        middle = xy[members].mean(0)
        text = ",".join(str(m) for m in members[:3]) + ("…" if len(members) > 3 else "")
        out = middle * (1.17 if label == "r" else 0.72)
        ax.text(out[0], out[1], text, ha="center", va="center", fontsize=7.5, color="#333333")


def _plain(ax: Any, points: Array, edges: Array) -> None:
    """Any group: an oblique view of three coordinates."""
    xyz = points @ VIEW
    depth = (xyz[:, 2] - xyz[:, 2].min()) / (np.ptp(xyz[:, 2]) or 1.0)
    for a, b in edges:
        shade = 0.25 + 0.6 * (depth[a] + depth[b]) / 2
        ax.plot(xyz[[a, b], 0], xyz[[a, b], 1], color=ROTATIONS, alpha=shade, linewidth=1.2)
    ax.scatter(xyz[:, 0], xyz[:, 1], s=30 + 60 * depth, color=REFLECTIONS, zorder=2,
               edgecolor="white")  # fmt: skip


def other_group(results: Results) -> Figure:
    """Clusters of a network on a group that is not dihedral, in three learned coordinates."""
    irreps, names = _ints(results, "show/other/irrep"), _names(results, "show/other/names")
    slots = [slot for slot in range(3) if irreps[slot] >= 0]
    fig, axes = plotting.figure(1, max(len(slots), 1), height=4.4)
    for ax, slot in zip(axes[0], slots, strict=False):
        points = np.asarray(results["show/other/points"])[slot]
        edges = np.asarray(results["show/other/edges"])[slot]
        edges = _short(points, edges[edges[:, 0] >= 0])
        _plain(ax, points, edges)
        spread = float(np.asarray(results["show/other/spread"])[slot])
        ax.set_title(names[irreps[slot]])
        ax.set_xlabel(f"three coordinates, seen obliquely\n({100 * spread:.0f} % of the variance)")
        _bare(ax)
    group, seed = str(results["show/other/group"]), int(results["show/other/seed"])
    fig.suptitle(
        f"One network on {group} (seed {seed}): class means of its three largest clusters, "
        "edges to the nearest elements", x=0.01, ha="left", fontsize="medium",
    )  # fmt: skip
    return fig


def _short(points: Array, edges: Array) -> Array:
    """The edges that are shortest in the picture: a projection draws the others through it."""
    if len(edges) == 0:
        return edges
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    return edges[length <= max(1.25 * np.quantile(length, 0.3), length.min() * 1.05)]


def neurons(results: Results) -> Figure:
    """A neuron of each kind: pre-activation, remapped by its irrep, and its power by irreps."""
    irreps, names = _ints(results, "show/head/irrep"), _names(results, "show/head/names")
    n = int(results["head/n"])
    slots = [slot for slot in range(3) if irreps[slot] >= 0]
    many = max(len(slots), 1)
    fig, axes = plotting.figure(many, 3, width=9.0, height=2.45 * many)
    for row, slot in enumerate(slots):
        pre = np.asarray(results["show/head/neuron"])[slot]
        power = np.asarray(results["show/head/power"])[slot]
        name = names[irreps[slot]]
        order = remapped(name, n) if n else np.arange(len(pre))
        left, middle, right = axes[row]
        image = _heat(left, pre)
        _heat(middle, pre[np.ix_(order, order)])
        fig.colorbar(image, ax=middle, label="pre-activation / largest")
        right.imshow(np.sqrt(power), cmap="magma_r", origin="lower")
        right.set_xticks(range(len(names)), [pretty(m) for m in names], rotation=90, fontsize=6)
        right.set_yticks(range(len(names)), [pretty(m) for m in names], fontsize=6)
        right.grid(visible=False)
        left.set_title(f"{pretty(name)}: pre(a, b)", fontsize=11)
        middle.set_title("in the order of its cycle", fontsize=11)
        right.set_title("√power by irreps", fontsize=11)
        halves = "(rotations | reflections)"
        for ax, x, y in ((left, f"b {halves}", "a"), (middle, "b, remapped", "a, remapped"),
                         (right, "irrep of b", "irrep of a")):  # fmt: skip
            ax.set_xlabel(x)
            ax.set_ylabel(y)
    return fig


def pairs(results: Results) -> Figure | None:
    """Contributions of the first cluster to the logits, by a, by b and by a b.

    Three principal components, seen obliquely; colours are positions in the cycle that the irrep
    steps along, circles rotations and crosses reflections.
    """
    irrep, n = _ints(results, "show/head/irrep")[0], int(results["head/n"])
    if irrep < 0 or not n:
        return None
    name = _names(results, "show/head/names")[irrep]
    xyz = np.asarray(results["show/head/pca"]) @ VIEW
    a, b = np.asarray(results["show/head/pairs"]).astype(int).T
    _, period, _ = step_size(int(name[3:]), n) if name.startswith("2D_") else (1, 2, 1)
    k = int(name[3:]) * period // n if name.startswith("2D_") else 1
    fig, axes = plotting.figure(1, 3, width=9.0, height=3.6)
    for ax, (label, x) in zip(axes[0], (("a", a), ("b", b), ("a b", mult_table(n)[a, b])),
                              strict=True):  # fmt: skip
        place = k * (x % n) % period
        dots = [
            ax.scatter(xyz[mine, 0], xyz[mine, 1], c=place[mine], cmap="twilight", vmin=0,
                       vmax=period, marker=marker, s=16)
            for mine, marker in ((x < n, "o"), (x >= n, "X"))
        ]  # fmt: skip
        if label == "a b":
            fig.colorbar(dots[0], ax=ax, label="place in the cycle of n' cosets")
        ax.set_title(f"coloured by {label}")
        ax.set_xlabel("3 components, seen obliquely", fontsize=10)
        _bare(ax)
    ratio = np.asarray(results["show/head/ratio"])
    axes[0, 0].set_ylabel("one dot a pair (a, b)")
    shares = ", ".join(f"{100 * part:.0f} %" for part in ratio)
    fig.suptitle(f"What the cluster {pretty(name)} adds to the logits (components: {shares} of the "
                 "variance)", x=0.01, ha="left", fontsize="medium")  # fmt: skip
    return fig


def remapped(name: str, n: int) -> Array:
    """Elements in steps of d, kernel cosets together, rotations first."""
    if not name.startswith("2D_"):
        even = np.argsort(np.arange(n) % 2, kind="stable")
        return np.concatenate([even, n + even])
    _, period, d = step_size(int(name[3:]), n)
    cycle = np.concatenate([np.arange(d * y % period, n, period) for y in range(period)])
    return np.concatenate([cycle, n + cycle])


def _heat(ax: Any, values: Array) -> Any:
    image = ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower")
    half = len(values) / 2 - 0.5
    ax.axhline(half, color="black", linewidth=0.6)
    ax.axvline(half, color="black", linewidth=0.6)
    ax.grid(visible=False)
    return image


def _bare(ax: Any) -> None:
    ax.set_aspect("equal", adjustable="box")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)


def _ints(results: Results, name: str) -> list[int]:
    return [int(i) for i in np.asarray(results[name])]


def _names(results: Results, name: str) -> list[str]:
    return [str(one) for one in np.asarray(results[name])]
