"""The dihedral experiment as a whole: configuration, tasks, results, verdicts, figures."""

from pathlib import Path

import numpy as np
import pytest

from papers.dihedral import claims, experiment, figures, groups_table, measure
from papers.dihedral.config import PRESETS, Config
from papers.dihedral.drawings import about, pretty, remapped
from papers.dihedral.subject import subject
from shared import plotting
from shared.experiment.ledger import judge
from shared.experiment.spec import Estimate, Verdict

Array = np.ndarray


# --- Configuration and tasks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0."),
        ({"headline": 2}, "headline, sizes, onehot-sizes, deep-sizes and grid-n must be"),
        ({"sizes": (5, 1)}, "headline, sizes, onehot-sizes, deep-sizes and grid-n must be"),
        ({"architectures": ("cnn",)}, "architectures must be mlp1, mlp2, mlp3, onehot, shared"),
        ({"train_fraction": 0.0}, "train-fraction must be in (0, 1]; got 0.0."),
        ({"train_fraction": 1.5}, "train-fraction must be in (0, 1]; got 1.5."),
        ({"learning_rate": 0.0}, "learning rates must be positive; got 0.0."),
        ({"steps": 150}, "steps must be a multiple of log-every, 100; got 150."),
        ({"batch": -1}, "batch must be at least 0; got -1."),
        ({"draws": 3}, "draws must be at least 100; got 3."),
        ({"group": "S4", "table": Path("x.npy")}, "group and table both name the one group"),
    ],
)
def test_bad_configuration_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        Config(**fields)  # pyright: ignore[reportArgumentType]
    assert str(error.value).startswith(sentence) and "\n" not in str(error.value)


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    from shared.experiment.errors import BadInput
    from tests.papers.test_dihedral_circuit import trained

    config = Config(seeds=1, steps=20, log_every=20, width=8, features=4, batch=1000)
    with pytest.raises(BadInput) as error:
        trained(config, "D5", "mlp1", seeds=1)
    assert "1000" in str(error.value) and "\n" not in str(error.value)


def test_the_paper_preset_is_the_official_scale() -> None:
    paper = PRESETS["paper"]
    assert (paper.headline, paper.histogram_seeds, paper.learning_rate) == (18, 1000, 5e-4)
    assert (paper.features, paper.width, paper.l2) == (128, 512, 1e-4)
    # 3500 epochs of 58 batches of 18 pairs.
    assert paper.steps == pytest.approx(3500 * 58, rel=0.05)


def test_one_group_alone() -> None:
    tasks = experiment.tasks(Config(group="SL(2,3)", architectures=()))
    keys = [task.key for task in tasks]
    assert keys == ["exact", "net/group=SL-2-3/arch=mlp1", "permuted/group=SL-2-3/arch=mlp1"]


def test_every_combination_is_a_task_with_its_own_key() -> None:
    for config in PRESETS.values():
        keys = [task.key for task in experiment.tasks(config)]
        assert len(set(keys)) == len(keys)


# --- Results from made-up outcomes ----------------------------------------------------------------

SMALL = Config(
    seeds=6,
    headline=9,
    histogram_seeds=8,
    sizes=(5, 7, 14),
    onehot_sizes=(5, 7),
    deep_sizes=(5, 7),
    architectures=("mlp2", "transformer"),
    groups=("S4", "SL(2,3)", "D3xD3"),
    grid_n=5,
    grid_rates=(1e-3, 1e-2),
    grid_l2=(1e-4,),
    grid_seeds=2,
    draws=100,
)


def fake(config: Config, task: object, *, graphs: float = 1.0, fail: int = 0) -> dict[str, Array]:
    """Outcome of a task whose networks did what the paper says; `graphs` of the clusters pass."""
    from papers.dihedral.circuit import SUBSETS
    from shared.experiment.spec import Task

    assert isinstance(task, Task)
    who, many = subject(task.params["group"]), len(task.seeds)
    reps, order = len(who.reps), who.group.order
    rng = np.random.default_rng(len(task.key))
    permuted = task.params["labels"] == "permuted"
    good = np.ones(many)
    good[:fail] = 0
    learned = np.zeros(many) if permuted else good
    count = 0.8 * np.log(order) * np.ones(many) + 0.1 * rng.standard_normal(many)
    if task.params["arch"] == "onehot":
        count = np.full(many, reps - 1.0)
    size = np.zeros((many, reps))
    for i in range(many):
        size[i, 1 + (np.arange(3) + i) % (reps - 1)] = 10
    ones = dict.fromkeys(
        ("arcs", "arcs_all", "proper_sets", "kernel_sets", "clusters_only", "ideal", "explained",
         "first_agree", "first_share", "first_pure", "last_share", "last_out_agree",
         "last_out_share"),
        np.ones(many),
    )  # fmt: skip
    found = {
        **ones,
        **{name: 0.0 * good for name in ("last_others", "rest", "identity")},
        **{name: 0.1 + 0.0 * good for name in ("untrained_arcs", "untrained_agree",
                                               "untrained_share", "untrained_pure")},
        "perfect": learned, "train_accuracy": learned, "test_accuracy": learned,
        "margin_min": 3 + rng.standard_normal(many), "first_perfect": 300 * good,
        "count": count, "count_2d": count - 1, "size": size,
        "passed": np.stack([graphs * 10 * (0 if permuted else 1) * good, (1 - graphs) * 10 * good,
                            10 * good], 1).round(),
        "random": np.tile([0.0, 0, 10], (many, 1)), "untrained": np.tile([0.0, 0, 10], (many, 1)),
        "counts": np.tile(count[:, None, None, None], (1, 3, 3, 2)),
    }  # fmt: skip
    for name in ("passes", "half", "correlation", "half_correlation", "within", "answer", "fit",
                 "without", "alone", "even_left", "even_right"):  # fmt: skip
        found[name] = np.where(size > 0, 0.9, np.nan)
    found["betti"] = np.where((size > 0)[..., None], [2.0, 2.0, 0.0], np.nan)
    found["betti_pairs"] = np.where((size > 0)[..., None], [1.0, 1.0, 0.0], np.nan)
    rows = np.full((many, SUBSETS, 4), np.nan)
    rows[:, :3] = [[0.5, 0.5, 1, 2], [1, 0.99, 0.99, 3], [0.1, 0.1, 1, 1]]
    found["ablation"] = rows
    looks = task.params["steps"] // config.log_every
    for name in ("train_accuracy", "test_accuracy", "count", "share"):
        found[f"history/{name}"] = np.tile(np.linspace(0, 1, looks), (many, 1))
    found["history/mass"] = np.full((many, looks, reps), 1 / reps)
    shown = rng.normal(size=(many, 3, order, 3))
    found |= {
        "show_irrep": np.tile([reps - 1.0, reps - 2, 1], (many, 1)),
        "show_points": shown, "show_cloud": shown[:, :, :8], "show_spread": np.ones((many, 3)),
        "show_neuron": rng.uniform(-1, 1, (many, 3, order, order)),
        "show_power": np.full((many, 3, reps, reps), 1 / reps**2),
        "show_pca": rng.normal(size=(many, 8, 3)), "show_ratio": np.full((many, 3), 0.3),
        "show_pairs": rng.integers(0, order, (many, 8, 2)) * 1.0,
        **{f"rival_{name}": 0.5 * good for name in ("composition", "rank_one", "coset",
                                                    "all_irreps")},
    }  # fmt: skip
    return found


def results_of(graphs: float = 1.0, fail: int = 0) -> dict[str, Array]:
    from papers.dihedral import exact

    outcomes = {"exact": exact.by_hand() | exact.theorem(SMALL.draws)}
    for task in experiment.tasks(SMALL)[1:]:
        outcomes[task.key] = fake(SMALL, task, graphs=graphs, fail=fail)
    return dict(experiment.collect(SMALL, outcomes))


@pytest.fixture(scope="module")
def results() -> dict[str, Array]:
    return results_of()


def verdicts(results: dict[str, Array]) -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in judge(claims.CLAIMS, results)}


def test_what_the_paper_says_is_reproduced(results: dict[str, Array]) -> None:
    found = verdicts(results)
    assert {found[f"C{i}"] for i in (1, 2, 3, 4, 5, 7, 8, 10)} == {"reproduced"}, found
    assert found["C11"] == "reproduced"


def test_cycles_of_cosets_make_it_partly() -> None:
    found = verdicts(results_of(graphs=0.5))
    assert found["C3"] == "partly" and found["C10"] == "not reproduced"
    assert found["C7"] == "partly"


def test_networks_that_did_not_learn_are_counted_and_left_out() -> None:
    results = results_of(fail=2)
    assert results["case/D9 mlp1/perfect"].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    estimate = measure.of_case(results, "D9 mlp1", "arcs", "")
    assert estimate.n == 6
    assert np.isnan(results["sweep/count"][:, :2]).all()
    assert np.isfinite(results["sweep/count"][:, 2:]).all()
    few = results_of(fail=4)
    assert verdicts(few)["C1"] == "not run at this preset"  # four networks decide nothing


def test_results_have_their_places(results: dict[str, Array]) -> None:
    assert results["sweep/n"].tolist() == [5, 7, 9, 14]
    assert results["sweep/count"].shape == (4, 6)
    assert results["grid/count"].shape == (2, 1, 2)
    # mlp2 on D_5, D_7 by at most five networks, on D_9 by all six.
    assert results["mlp2/n"].tolist() == [5, 7, 9]
    assert np.isfinite(results["mlp2/count"]).sum(1).tolist() == [5, 5, 6]
    assert results["head/history/mass"].shape[1] == len(subject("D9").reps)
    assert str(results["headline"]) == "D9 mlp1"
    assert results["head/ablation"].shape == (24, 4)


def exact(*values: float) -> list[Estimate]:
    return [Estimate.exact(value) for value in values]


def by_id(name: str, *values: float) -> Verdict:
    claim = next(claim for claim in claims.CLAIMS if claim.id == name)
    return claim.judge(exact(*values))


def test_rules_notice_a_wrong_number() -> None:
    assert by_id("C1", 0.99, 1, 0.1) is Verdict.REPRODUCED
    assert by_id("C1", 0.9, 1, 0.1) is Verdict.PARTLY
    assert by_id("C1", 0.99, 1, 0.6) is Verdict.NOT_REPRODUCED
    assert by_id("C2", 1, 1, 0.95, 0.9, 0.1) is Verdict.REPRODUCED
    assert by_id("C2", 1, 0.5, 0.95, 0.9, 0.1) is Verdict.PARTLY
    assert by_id("C2", 1, 1, 0.95, 0.9, 0.9) is Verdict.NOT_REPRODUCED
    assert by_id("C3", 0.95, 1, 1, 0, 0, 0) is Verdict.REPRODUCED
    assert by_id("C3", 0.8, 1, 1, 0, 0, 0) is Verdict.PARTLY
    assert by_id("C3", 0.8, 0.8, 1, 0, 0, 0) is Verdict.NOT_REPRODUCED
    assert by_id("C3", 1, 1, 1, 0, 0.5, 0) is Verdict.NOT_REPRODUCED
    wide = [Estimate(0.95, 0.85, 1.0)] * 2  # the value is there, the certainty is not
    claim = next(claim for claim in claims.CLAIMS if claim.id == "C3")
    assert claim.judge([*wide, *exact(1, 0, 0, 0)]) is Verdict.PARTLY
    assert by_id("C4", 0, 0, 11, 11) is Verdict.REPRODUCED
    assert by_id("C4", 0, 0, 10, 11) is Verdict.PARTLY
    assert by_id("C4", 0.1, 0, 11, 11) is Verdict.NOT_REPRODUCED
    good = [1e-9, 1, 1, 0.5, 0.01, 0.9, 0.8, 0, 1, 1]
    assert by_id("C5", *good) is Verdict.REPRODUCED
    for place, wrong, verdict in ((0, 0.1, "not reproduced"), (1, 0.9, "not reproduced"),
                                  (4, 0.2, "partly"), (7, 0.3, "partly"),
                                  (8, 0, "not reproduced")):  # fmt: skip
        changed = [*good[:place], wrong, *good[place + 1 :]]
        assert by_id("C5", *changed) == verdict, place
    assert by_id("C6", 1.2, 0.7, 0.6, 0.4, 0.3, 1) is Verdict.REPRODUCED
    assert by_id("C6", -0.1, 0.7, 0.6, 0.4, 0.3, 1) is Verdict.PARTLY
    assert by_id("C6", 1.2, 0.7, 0.6, 0.9, 0.3, 1) is Verdict.NOT_REPRODUCED
    assert by_id("C11", 1, 0.5) is Verdict.REPRODUCED
    assert by_id("C11", 1, 0.8) is Verdict.PARTLY
    assert by_id("C11", 0.5, 0.8) is Verdict.NOT_REPRODUCED


def test_the_growth_claim_follows_the_counts(results: dict[str, Array]) -> None:
    assert verdicts(results)["C6"] in ("reproduced", "partly")
    row = next(row for row in judge(claims.CLAIMS, results) if row["id"] == "C6")
    labels = [estimate["label"] for estimate in row["estimates"]]
    assert labels[-2:] == ["mlp2: slope on ln n", "transformer: slope on ln n"]
    linear = dict(results)
    linear["sweep/count"] = np.tile(results["sweep/n"][:, None] / 2.0, (1, 6))
    assert verdicts(linear)["C6"] == "not reproduced"


def test_wilson_by_hand() -> None:
    estimate = measure.wilson(10.0, 10.0, "")
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.7225, abs=1e-4)
    half = measure.wilson(5.0, 10.0, "")
    assert (half.low, half.high) == (
        pytest.approx(0.2366, abs=1e-4),
        pytest.approx(0.7634, abs=1e-4),
    )
    assert measure.wilson(0.0, 0.0, "").high == 1.0
    none = measure.proportion(np.zeros(4), np.full(4, 5.0), "")
    assert none.low == 0 and none.high == pytest.approx(0.1611, abs=1e-3)


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_can_be_drawn(results: dict[str, Array], tmp_path: Path) -> None:
    drawn = dict(figures.figures(results))
    assert set(drawn) == set(figures.DRAWINGS)
    for name, figure in drawn.items():
        assert figure.axes[0].get_xlabel() or name == "movie", name
        assert figure.axes[0].get_ylabel() or name in ("cayley", "other_group"), name
        assert plotting.save(figure, tmp_path / name)[0].stat().st_size > 10_000


def test_names_in_figures() -> None:
    assert pretty("2D_5") == "ρ$_{5}$" and pretty("rp") == "rp"
    assert about("2D_4", 18) == "cosets of a kernel of 2, n' = 9, d = 5"
    assert about("2D_5", 18) == "approximate cosets, n' = 18, d = 11"
    assert remapped("2D_5", 18)[:3].tolist() == [0, 11, 4]
    assert remapped("2D_4", 18)[:4].tolist() == [0, 9, 5, 14]
    assert sorted(remapped("rp", 6).tolist()) == list(range(12))


# --- The page -------------------------------------------------------------------------------------


def test_the_table_of_groups_on_the_page_is_that_of_the_evidence() -> None:
    page = (Path(figures.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert groups_table.table(groups_table.published()) in page


def test_a_row_of_that_table_counts_only_networks_that_learned() -> None:
    rows = groups_table.table(results_of(fail=2)).splitlines()
    assert rows[2].startswith("| D9 (18) | 6 of 8 |") and len(rows) == 2 + 4
    assert rows[3].startswith("| S4 (24) | 4 of 6 |")
    assert all(row.count("|") == rows[0].count("|") for row in rows)
