"""Figures of what stands behind the numbers: thresholds, training, readout, controls, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from papers.clock_pizza.drawing import (
    LOOKS,
    colour,
    headline,
    interval_rows,
    perfect,
    shown,
    steps_note,
    title,
)
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


def sensitivity(results: Results) -> Figure:
    """The number of clusters at every threshold: what the count depends on."""
    rows = shown(results)
    fig, axes = plotting.figure(1, len(rows), height=3.4, width=12.0, sharey=True)
    shares = results["share_steps"]
    looks = plotting.looks(*(f"R² ≥ {r2:g}" for r2 in results["r2_steps"]))
    for ax, (row, name) in zip(axes[0], rows, strict=True):
        for line, (label, look) in enumerate(looks.items()):
            cells = [tuple(cell) for cell in results["counts"][row, line]]
            plotting.band(ax, np.arange(len(shares)), cells, label, look)
        ax.set_xticks(range(len(shares)), ["any\nneuron", *(f"{100 * s:g} %" for s in shares[1:])])
        ax.set_title(title(name), fontsize=11)
        ax.set_xlabel("least cluster size")
    axes[0, 0].set_ylabel("frequencies per network")
    headline(fig, steps_note(results))
    plotting.legend_outside(fig)
    return fig


def movie(results: Results) -> Figure:
    """Training as a film: accuracy, clusters, energy shares and geometry against the step."""
    panels = (
        ("test_accuracy", "test accuracy"),
        ("clusters", "major clusters"),
        ("first", "first-order share of energy"),
        ("second", "second-order share of energy"),
        ("disc", "CKA with disc"),
        ("torus", "CKA with torus"),
    )
    steps = results["frame_steps"]
    fig, axes = plotting.figure(2, 3, height=6.2, sharex=True)
    for ax, (name, words) in zip(axes.flat, panels, strict=True):
        for row, variant in shown(results):
            cells = results[f"movie/{name}"][row]
            hue = LOOKS[variant].colour
            known = np.where(np.isfinite(cells), cells, np.nan)
            ax.fill_between(steps, known[:, 1], known[:, 2], color=hue, alpha=0.18, linewidth=0)
            ax.plot(steps, cells[:, 0], color=hue, label=title(variant), linewidth=1.6)
        ax.set_ylabel(words)
    for row in results["movie/failed"]:
        axes[0, 0].plot(steps, row[1:], color=colour(results, int(row[0])), linestyle=":",
                        linewidth=1.0, label="missed 100 % (excluded)")  # fmt: skip
    axes[0, 1].set_ylim(bottom=0)
    for ax in axes[1]:
        ax.set_xlabel("gradient step")
    axes[0, 0].set_xscale("log")
    headline(fig, f"Training: {steps_note(results)}")
    plotting.legend_outside(fig)
    return fig


def readout(results: Results) -> Figure:
    """The small second order: how much of a cluster the readout sees, and what it is needed for."""
    rows = list(enumerate(map(str, results["variants"])))
    names = [title(name) for _, name in rows]
    looks = plotting.looks("disc", "circle", "second order out", "all mixed terms out",
                           "first order out")  # fmt: skip
    fig, axes = plotting.figure(1, 3, height=4.0, width=13.0, sharey=True)
    for label in ("disc", "circle"):
        cells = [tuple(results[f"table/seen_{label}"][row]) for row, _ in rows]
        interval_rows(axes[0, 0], cells, looks[label], label)
    axes[0, 0].set_xlabel("CKA of the part that the readout sees")
    cells = [tuple(results["table/seen_share"][row]) for row, _ in rows]
    interval_rows(axes[0, 1], cells, looks["disc"], "")
    axes[0, 1].set_xlabel("share of the cluster's variance in that part")
    for label, column in (("second order out", "second"), ("all mixed terms out", "mixed"),
                          ("first order out", "first")):  # fmt: skip
        for place, (row, _) in enumerate(rows):
            values = results[f"net/accuracy_{column}"][row][perfect(results, row)]
            y = place + 0.25 * (np.arange(len(values)) * 0.618034 % 1 - 0.5)
            axes[0, 2].plot(values, y, looks[label].marker, color=looks[label].colour,
                            markersize=5, alpha=0.6, label=label)  # fmt: skip
    axes[0, 2].set_xlabel("accuracy on all pairs without that part")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    headline(fig, "What the readout sees of layer 1, and what the network loses without it")
    plotting.legend_outside(fig)
    return fig


def controls(results: Results) -> Figure:
    """Controls of similarity: nothing but trained circuits reads as a disc."""
    rows = shown(results)
    fig, axes = plotting.figure(1, 2, height=4.2, sharey=True)
    looks = plotting.looks("trained", "phases dealt anew", "random neurons",
                           *(str(c) for c in results["controls"]))  # fmt: skip
    names = [title(name) for _, name in rows]
    for ax, kind in zip(axes[0], ("disc", "torus"), strict=True):
        sets = {
            "trained": [results[f"table/pre_cka_{kind}"][r] for r, _ in rows],
            "phases dealt anew": [results[f"table/shuffled_{kind}"][r] for r, _ in rows],
            "random neurons": [_mean(results, f"random_{kind}", r) for r, _ in rows],
        }
        places = {str(v): i for i, v in enumerate(results["cheap_variants"])}
        for control in map(str, results["controls"]):
            table = results[f"control/{control}/pre_cka_{kind}"]
            none = np.full(3, np.nan)
            sets[control] = [table[places[n]] if n in places else none for _, n in rows]
        for label, cells in sets.items():
            interval_rows(ax, [tuple(cell) for cell in cells], looks[label], label)
        ax.set_xlabel(f"CKA with the {kind}")
        ax.set_xlim(0, 1.02)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    headline(fig, "Controls: untrained, trained on permuted labels, and clusters taken apart")
    plotting.legend_outside(fig)
    return fig


def ablations(results: Results) -> Figure:
    """Similarity with one setting changed: what the manifold depends on."""
    names = [str(name) for name in results["cheap_variants"]]
    changes = ["none", *map(str, results["ablations"])]
    labels = [change.replace(",", "\n") for change in changes]
    rows = [[str(v) for v in results["variants"]].index(name) for name in names]
    fig, axes = plotting.figure(1, len(names), height=3.8, sharey=True)
    looks = plotting.looks("disc, layer 1", "torus, layer 1", "circle, logits")
    for place, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        for (label, look), column in zip(
            looks.items(), ("pre_cka_disc", "pre_cka_torus", "logits_cka_circle"), strict=True
        ):
            cells = [results[f"table/{column}"][rows[place]]]
            cells += [results[f"ablation/{column}"][i, place] for i in range(len(changes) - 1)]
            interval_rows(ax, cells, look, label)
        ax.set_title(title(name), fontsize=11)
        ax.set_xlabel("CKA, mean and 95 % interval")
        ax.set_xlim(0.5, 1.02)
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    axes[0, 0].set_ylabel("what is changed")
    good, every = results["ablation/perfect"].sum(axis=(0, 1))
    headline(
        fig, f"One setting changed: {int(good)} of {int(every)} networks at 100 % test accuracy"
    )
    plotting.legend_outside(fig)
    return fig


def _mean(results: Results, column: str, row: int) -> Any:
    values = results[f"net/{column}"][row][perfect(results, row)]
    return (np.mean(values) if len(values) else np.nan, np.nan, np.nan)
