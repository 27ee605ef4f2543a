"""Byte-stable files, stable looks, honest intervals, and nothing global left behind."""

import errno
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from shared import plotting
from shared.experiment.errors import ExperimentError
from shared.stats import Interval

NAMES = ("QR-DQN", "DAU", "DSUP(1/2)")
LOOKS = plotting.looks(*NAMES)


def drawing() -> Any:
    """A figure with every kind of mark the house offers."""
    x = np.array([1.0, 10.0, 100.0])
    runs = np.random.default_rng(0).normal(size=(3, 6))
    with plotting.style():
        fig, axes = plotting.figure(2, 2)
        for offset, name in enumerate(NAMES):
            intervals = [Interval(v, v / 2, v * 2) for v in (offset + 1) * x**0.5]
            plotting.band(axes[0, 0], x, intervals, name, LOOKS[name])
        axes[0, 0].set(xscale="log", yscale="log", xlabel="ω (1/day)", ylabel="gap")
        plotting.slope_guide(axes[0, 0], 0.5, (1.0, 0.5), 100.0)
        bars = [Interval(1.0, 0.5, 1.5), Interval(2.0, -np.inf, np.inf), Interval(0.0, -1.0, 1.0)]
        plotting.interval_bars(axes[0, 1], NAMES, bars, LOOKS, reference=0.0)
        plotting.box_by_group(axes[1, 0], ["1", "35"], {"DAU": list(runs[:2])}, LOOKS)
        plotting.legend_outside(fig)
    return fig


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return plotting.save(drawing(), tmp_path_factory.mktemp("figures") / "gap.omega=0.5", svg=True)


def test_the_same_figure_gives_the_same_bytes(saved: list[Path], tmp_path: Path) -> None:
    random.seed(1)  # nothing random or dated may enter, nor the user's own settings
    np.random.seed(1)  # noqa: NPY002
    with matplotlib.rc_context({"svg.hashsalt": None, "font.size": 30, "savefig.dpi": 10}):
        again = plotting.save(drawing(), tmp_path / "new folder" / "gap.omega=0.5", svg=True)
    assert [p.name for p in again] == ["gap.omega=0.5.png", "gap.omega=0.5.svg"]
    for one, two in zip(saved, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size < 300 * 1024


def test_png_has_slide_resolution_and_svg_no_date(saved: list[Path]) -> None:
    width = struct.unpack(">I", saved[0].read_bytes()[16:20])[0]
    assert width == plotting.WIDTH * plotting.PNG_DPI
    text = saved[1].read_text()
    assert text.startswith("<?xml") and "<dc:date>" not in text


def test_save_closes_also_a_pyplot_figure(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot([0, 1], [1, 0])
    assert plt.fignum_exists(fig.number)
    assert [p.name for p in plotting.save(fig, tmp_path / "notebook")] == ["notebook.png"]
    assert plt.get_fignums() == [] and fig.axes == []


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = tmp_path / "figure"
    plotting.save(plotting.figure(width=2.0)[0], stem)
    old = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(ExperimentError, match=r"figure\.png"):
            plotting.save(plotting.figure(width=3.0)[0], stem)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == old
    plotting.save(plotting.figure(width=3.0)[0], stem)  # the drawing itself differs
    assert all((tmp_path / name).read_bytes() != data for name, data in old.items())


def test_style_leaves_no_trace() -> None:
    before = dict(matplotlib.rcParams)
    with plotting.style():
        assert dict(matplotlib.rcParams) != before
        sizes = [
            matplotlib.rcParams[key]
            for key in ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
        ]
        assert min(sizes) >= 9
    plotting.close(drawing())
    assert dict(matplotlib.rcParams) == before


def test_every_text_is_legible() -> None:
    from matplotlib.text import Text

    fig = drawing()
    fig.draw_without_rendering()
    texts = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text()]
    assert len(texts) > 20 and min(t.get_fontsize() for t in texts) >= 9


def test_a_series_keeps_its_look() -> None:
    assert LOOKS["DAU"] == plotting.looks("QR-DQN", "DAU")["DAU"]
    everything = plotting.looks(*"abcdefg").values()
    assert len({look.colour for look in everything}) == 7
    assert len({look.marker for look in everything}) == 7


def test_colours_differ_in_lightness_or_hue_for_the_colour_blind() -> None:
    # Vienot, Brettel & Mollon (1999), protanopia and deuteranopia, in linear RGB.
    from matplotlib.colors import to_rgb

    linear = np.array([to_rgb(c) for c in plotting.COLOURS]) ** 2.2
    protan = np.array([[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.004, -0.004, 1]])
    deutan = np.array([[0.2928, 0.7072, 0], [0.2928, 0.7072, 0], [-0.0223, 0.0223, 1]])
    for seen_as in (protan, deutan):
        seen = np.clip(linear @ seen_as.T, 0, 1) ** (1 / 2.2)
        gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
        assert gaps.min() > 0.1


def test_band_draws_the_interval_and_skips_unknown_bounds() -> None:
    fig, axes = plotting.figure()
    ax = axes[0, 0]
    intervals = [Interval(1.0, 0.5, 2.0), Interval(2.0, 1.0, 3.0), Interval(3.0, -np.inf, np.inf)]
    plotting.band(ax, [1.0, 2.0, 3.0], intervals, "DAU", LOOKS["DAU"])
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 2.0, 3.0])
    corners = ax.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.5, 3.0)
    assert corners[:, 0].max() == 2.0
    fig.savefig(os.devnull, format="png")  # draws without a warning


def test_triples_and_intervals_draw_the_same() -> None:
    fig, axes = plotting.figure(1, 2)
    plotting.band(axes[0, 0], [0.0, 1.0], [(1.0, 0.0, 2.0), (2.0, 1.0, 3.0)], "a", LOOKS["DAU"])
    same = [Interval(1.0, 0.0, 2.0), Interval(2.0, 1.0, 3.0)]
    plotting.band(axes[0, 1], [0.0, 1.0], same, "a", LOOKS["DAU"])
    left, right = (ax.collections[0].get_paths()[0].vertices for ax in axes[0])
    np.testing.assert_array_equal(left, right)
    assert fig.axes[0].get_legend_handles_labels()[1] == ["a"]


def test_interval_bars_from_top_to_bottom() -> None:
    _, axes = plotting.figure()
    ax = axes[0, 0]
    bars = [Interval(1.0, 0.5, 1.5), Interval(2.0, -np.inf, np.inf), Interval(0.0, -1.0, 1.0)]
    plotting.interval_bars(ax, NAMES, bars, LOOKS)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(NAMES)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    spans = [tuple(c.get_segments()[0][:, 0]) for c in ax.collections]
    assert spans == [(0.5, 1.5), (-1.0, 1.0)]  # the unknown interval has no bar


def test_boxes_stand_side_by_side_with_every_run_shown() -> None:
    _, axes = plotting.figure()
    ax = axes[0, 0]
    runs = np.random.default_rng(0).normal(size=(2, 3, 7))
    series = {"QR-DQN": list(runs[0]), "DAU": list(runs[1])}
    plotting.box_by_group(ax, ["1", "10", "35"], series, LOOKS)
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["QR-DQN", "DAU"]
    for handle, values in zip(handles, runs, strict=True):
        np.testing.assert_array_equal(handle.get_ydata(), values.ravel())
        groups = np.round(handle.get_xdata())
        np.testing.assert_array_equal(groups, np.repeat([0, 1, 2], 7))
    left, right = (handle.get_xdata() for handle in handles)
    assert left[:7].max() < right[:7].min()
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 2.2]
    np.testing.assert_allclose(medians, np.median(runs, axis=-1).ravel())


def test_slope_guide_has_its_slope() -> None:
    _, axes = plotting.figure()
    plotting.slope_guide(axes[0, 0], -1.5, (0.1, 2.0), 10.0)
    x, y = axes[0, 0].lines[0].get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-1.5)
    assert (x[0], y[0]) == (0.1, 2.0)
    assert axes[0, 0].texts[0].get_text() == "slope -1.5"


def test_legend_names_each_series_once() -> None:
    (legend,) = drawing().legends
    assert [t.get_text() for t in legend.get_texts()] == list(NAMES)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: plotting.looks("a", "a"), "name of its own"),
        (lambda: plotting.looks(*"abcdefgh"), "At most 7"),
        (
            lambda: plotting.box_by_group(
                plotting.figure()[1][0, 0], ["1", "2"], {"DAU": [np.ones(3)]}, LOOKS
            ),
            "has 1 groups; there are 2",
        ),
    ],
)
def test_bad_input_is_one_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_import_is_cheap_and_needs_no_pyplot() -> None:
    code = (
        "import sys, shared.plotting as p; print('matplotlib' in sys.modules);"
        "p.figure(); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
