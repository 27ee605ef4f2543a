"""Modular addition as a whole: configuration, studies, statistics, verdicts, figures."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from papers.modular_crt import analysis, experiment, figures, method, studies, theory
from papers.modular_crt.claims import CLAIMS
from papers.modular_crt.config import PAPER_MLP, PAPER_TRANSFORMER, PRESETS, Config
from papers.modular_crt.studies import Network
from papers.modular_crt.trial_names import CURVES
from shared import plotting
from shared.experiment.ledger import judge
from shared.experiment.spec import Estimate, Verdict

BY_ID = {claim.id: claim for claim in CLAIMS}


def refused(**fields: object) -> str:
    with pytest.raises(ValueError) as error:
        Config(**fields)  # pyright: ignore[reportArgumentType]
    return str(error.value)


# --- Configuration and studies --------------------------------------------------------------------


def test_paper_preset_is_the_papers_table() -> None:
    paper = PRESETS["paper"]
    assert (paper.modulus, paper.width, paper.embed, paper.fraction) == (59, 1024, 128, 0.9)
    assert (paper.learning_rate, paper.l2, paper.seeds) == (7.5e-4, 1e-5 / 2, 500)
    assert paper.onehot_moduli == tuple(range(59, 67))
    assert paper.widths == (512, 2048, 8192, 16384)
    assert (paper.frequency_moduli, paper.frequency_depths) == ((91, 89, 66), (1, 4))
    assert PAPER_MLP[59] == (8e-3, 59, 1e-3, 1770) and PAPER_MLP[113] == (4e-3, 113, 3e-4, 6780)
    assert PAPER_TRANSFORMER[59] == (1e-3, 200, 1e-4, 1770)
    scaling = {(n.architecture, n.modulus): n for n in studies.studies(paper)["scaling"]}
    mlp = scaling["mlp", 59]
    assert (mlp.width, mlp.batch, mlp.fraction) == (472, 59, 1770 / 3481)
    assert (mlp.learning_rate, mlp.l2) == (8e-3, 1e-3 / 2), "l2 w in the gradient"
    pizza = scaling["pizza", 113]
    assert (pizza.embed, pizza.width, pizza.batch) == (128, 512, 500)
    assert ("clock", 13) not in scaling, "the table has no such row"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"modulus": 3}, "modulus must be at least 5; got 3."),
        ({"scaling_moduli": (7, 2)}, "scaling-moduli must be at least 5 each; got 2."),
        ({"architectures": ("mpl",)}, "architectures must be one of mlp, one-hot, add, pizza"),
        ({"architectures": ()}, "architectures must be at least one; got none."),
        ({"architectures": ("quadratic",)}, "architectures must be one of mlp, one-hot, add"),
        ({"decoupled_decay": -1.0}, "decoupled-decay must be at least 0; got -1.0."),
        ({"grid_architectures": ("cnn",)}, "grid-architectures must be one of mlp"),
        ({"fraction": 0.0}, "fraction must be in (0, 1]; got 0.0."),
        ({"fraction": 1.1}, "fraction must be in (0, 1]; got 1.1."),
        ({"width": 0}, "width must be at least 1; got 0."),
        ({"widths": (64, 0)}, "widths must be at least 1 each; got 0."),
        ({"depths": (1, 5)}, "depths must be from 1 to 4; got 5."),
        ({"learning_rate": 0.0}, "learning-rate must be positive; got 0.0."),
        ({"l2": -1.0}, "l2 must be at least 0; got -1.0."),
        ({"noise": (-0.1,)}, "noise must be at least 0; got -0.1."),
        ({"batch": -1}, "batch must be at least 1, or 0 for all pairs; got -1."),
        ({"steps": 100}, "steps must be a multiple of 15 snapshots; got 100."),
        ({"scaling_tuning": "best"}, "scaling-tuning must be fixed or paper; got best."),
        ({"seeds": 0}, "seeds must be at least 1; got 0."),
        ({"embed": 30}, "embed must be a multiple of 4 for transformers; got 30."),
    ],
)
def test_bad_configuration_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    message = refused(**fields)
    assert message.startswith(sentence)
    assert "\n" not in message and message.endswith(".")


def test_a_network_that_two_studies_want_is_trained_once() -> None:
    config = PRESETS["cpu"]
    found = studies.networks(config)
    keys = [task.key for task in experiment.tasks(config)]
    assert len(keys) == len(set(keys)) == len(found) + 1
    main = next(iter(studies.studies(config)["main"]))
    assert main in studies.studies(config)["onehot"] and found[main] >= config.seeds


def test_odd_n_are_studied_with_one_hidden_layer_only() -> None:
    config = replace(SMALL, frequency_moduli=(11, 10), frequency_depths=(1, 4))
    found = [(n.modulus, n.depth) for n in studies.studies(config)["frequencies"]]
    assert found == [(11, 1), (10, 1), (10, 4)]


def test_every_setting_has_a_key_of_its_own() -> None:
    base = next(iter(studies.studies(Config())["main"]))
    other = {"depth": 2, "width": 7, "embed": 8, "steps": 3, "learning_rate": 1.0, "l2": 0.5,
             "fraction": 0.3, "batch": 9, "modulus": 8, "decay": 0.1}  # fmt: skip
    for field, value in other.items():
        assert replace(base, **{field: value}).key != base.key


# --- Results from made-up outcomes ----------------------------------------------------------------

SMALL = Config(
    seeds=6,
    modulus=13,
    snapshots=3,
    steps=300,
    deep_steps=300,
    architectures=("mlp", "pizza", "clock", "one-hot"),
    scaling_moduli=(7, 9, 13, 15, 23, 39),
    onehot_moduli=(13,),
    depth_modulus=13,
    depths=(1, 2),
    width_modulus=13,
    widths=(64, 256),
    grid_modulus=13,
    grid_architectures=("mlp", "pizza", "clock"),
    grid_learning_rates=(1e-3, 1e-2),
    grid_l2=(1e-5, 1e-3),
    grid_seeds=4,
    frequency_moduli=(11, 10),
    frequency_seeds=12,
    noise=(0.0, 0.2, 0.4),
    draws=200,
    theory_moduli=(59, 113, 251),
)


def outcome(network: Network, seeds: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What a network would return in a world where every claim holds."""
    n, half = network.modulus, network.modulus // 2
    handful = 1 + np.log(n) + 0.1 * rng.standard_normal(seeds)
    onehot = network.architecture == "one-hot" and network.depth == 1
    count = np.full(seeds, float(half)) if onehot else handful - 0.5 * (network.depth - 1)
    later = 0.02 * np.log(network.width / 64) + 0.95
    f = np.arange(1, half + 1)
    weight = np.where(np.gcd(f, n) > 1, 4.0, 1.0)
    sizes = np.zeros((seeds, half))
    for row in sizes:
        chosen = rng.choice(half, size=min(3, half), replace=False, p=weight / weight.sum())
        row[chosen] = np.where(n // np.gcd(f, n)[chosen] <= 3, 20, 60)
    transformer = network.architecture in ("pizza", "clock")
    one = {
        "accuracy": 1.0, "loss": 0.05 / network.depth, "margin": 2 * handful + 3 * network.depth,
        "least_margin": 1.0, "first_perfect": 100.0, "alive": 60.0,
        "r2": later + 0.001 * rng.standard_normal(seeds), "r2_median": 0.99, "second": 0.01,
        "count": count, "agree": 1.0, "count_any": count, "count_r2": count,
        "count_5pc": count, "half_integer": 0.0, "simple_loss": 0.1, "both": 1.0,
        "simple": 0.9 if transformer and network.depth > 1 else 1.0,
        "layer1_both": 1.0, "first_share": 0.95, "layer2_simple": 0.9, "layer2_both": 1.0,
        "tuned": np.where(np.arange(seeds) % 4 == 0, 5.0, 0.0), "tuned_3pc": 5.0,
        "tuned_10pc": 0.0, "tuned_any": 5.0, "without_tuned": 1.0, "equivariance": 0.1,
        "equivariance_best": 0.05, "profile": 1.0, "pc_peak": 0.95, "pc_circular": 0.5,
        "pc_lissajous_peak": 0.9,
    }  # fmt: skip
    rise = np.array([1.0, 1.5, 3.0])
    return {name: np.broadcast_to(value, seeds).astype(float) for name, value in one.items()} | {
        "sizes": sizes,
        "cluster_r2": np.where(sizes == 20, 0.999, 0.97) * (sizes > 0),
        "counts": np.ones((seeds, 4, 4)),
        "noise_accuracy": np.ones((seeds, 3)),
        "noise_loss": 0.01 * np.tile(rise, (seeds, 1)),
        "noise_one_accuracy": np.ones((seeds, 3)),
        "noise_one_loss": 0.01 * np.tile(rise, (seeds, 1)),
        "removal": np.ones((seeds, 5)),
        "curves": np.tile(np.linspace(0.1, 1, 3)[:, None], (seeds, 1, len(CURVES))),
        "example": np.round(100 * rng.uniform(-1, 1, (seeds, n, n))),
        "example_frequency": np.full(seeds, 2.0),
        "example_logits": rng.uniform(-1, 1, (seeds, 3, n)),
        "example_r2": np.linspace(0.9, 1.0, seeds),
    }


@pytest.fixture(scope="module")
def exact() -> dict[str, np.ndarray]:
    return experiment._theory(SMALL)


@pytest.fixture(scope="module")
def good(exact: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    found = {f"net/{n.key}": outcome(n, s, rng) for n, s in studies.networks(SMALL).items()}
    return {"theory": exact, **found}


def changed(
    outcomes: dict[str, dict[str, np.ndarray]], part: str, **values: float | np.ndarray
) -> dict[str, np.ndarray]:
    """Results with these arrays of the tasks whose key holds `part` set to something else."""
    new = {}
    for key, arrays in outcomes.items():
        if part in key:
            arrays = arrays | {
                k: np.broadcast_to(np.asarray(v, float), arrays[k].shape) for k, v in values.items()
            }
        new[key] = arrays
    return dict(experiment.collect(SMALL, new))


def verdict(results: dict[str, np.ndarray], name: str) -> str:
    return next(row["verdict"] for row in judge(CLAIMS, results) if row["id"] == name)


def test_results_hold_every_run_once(good: dict[str, dict[str, np.ndarray]]) -> None:
    results = experiment.collect(SMALL, good)
    assert len(results["run/count"]) == sum(studies.networks(SMALL).values())
    runs = analysis.rows(results, "main", architecture="mlp")
    assert results["run/seed"][runs].tolist() == [0, 1, 2, 3, 4, 5]
    network = results["run/network"][runs]
    assert set(results["network/architecture"][network].tolist()) == {"mlp"}
    assert set(results["network/modulus"][network].tolist()) == {13}
    np.testing.assert_allclose(
        results["run/r2"][runs], good[f"net/{main_key('mlp')}"]["r2"], rtol=1e-3
    )
    assert len(results["probe/noise_loss"]) == 24, "the main study, six seeds each"
    assert results["example/pizza"].shape == (13, 13)
    assert analysis.settings(results, "scaling", "modulus") == [7, 9, 13, 15, 23, 39]


def main_key(name: str) -> str:
    return next(n.key for n in studies.studies(SMALL)["main"] if n.architecture == name)


def test_a_world_where_all_claims_hold(good: dict[str, dict[str, np.ndarray]]) -> None:
    results = dict(experiment.collect(SMALL, good))
    found = {row["id"]: row["verdict"] for row in judge(CLAIMS, results)}
    exceptions = {"C4": "partly", "C12": found["C12"], "C13": found["C13"]}
    assert found == {f"C{i}": "reproduced" for i in range(1, 18)} | exceptions
    assert found["C12"] in ("reproduced", "partly")


@pytest.mark.parametrize(
    ("name", "part", "values", "expected"),
    [
        ("C1", "/pizza/", {"r2": 0.7}, "partly"),
        ("C1", "/", {"r2": 0.7}, "not reproduced"),
        ("C5", "/", {"margin": 5.0}, "partly"),
        ("C6", "/clock/", {"count": 3.0}, "partly"),
        ("C6", "net/", {"count": 3.0}, "not reproduced"),
        ("C7", "one-hot/n=13/depth=2", {"count": 12.0}, "partly"),
        ("C7", "one-hot/n=13/depth=1", {"count": 3.0}, "not reproduced"),
        ("C8", "depth=2", {"loss": 1.0}, "partly"),
        ("C9", "width=64", {"r2": 0.999}, "not reproduced"),
        ("C10", "pizza", {"both": 0.5}, "partly"),
        ("C10", "mlp", {"simple": 0.99}, "not reproduced"),
        ("C11", "depth=2", {"first_share": 0.6}, "partly"),
        ("C11", "depth=2", {"first_share": 0.1}, "not reproduced"),
        ("C14", "mlp", {"without_tuned": 0.5}, "partly"),
        ("C14", "mlp", {"tuned": 0.0}, "not reproduced"),
        ("C15", "/mlp/", {"equivariance": 1.0}, "partly"),
        ("C15", "/", {"equivariance": 1.0}, "not reproduced"),
        ("C16", "/", {"noise_loss": np.array([0.01, 0.1, 0.2])}, "partly"),
        ("C17", "/clock/", {"pc_peak": 0.5}, "partly"),
        ("C17", "/", {"pc_peak": 0.5}, "not reproduced"),
    ],
)
def test_rules_notice(
    good: dict[str, dict[str, np.ndarray]],
    name: str,
    part: str,
    values: dict[str, float | np.ndarray],
    expected: str,
) -> None:
    results = changed(good, part if part != "/" else "net/", **values)
    assert verdict(results, name) == expected


def test_networks_below_100_percent_are_counted_and_left_out(
    good: dict[str, dict[str, np.ndarray]],
) -> None:
    results = changed(good, f"net/{main_key('mlp')}", accuracy=np.array([1.0, 0.98, 1, 1, 1, 1]),
                      r2=np.array([0.99, 0.0, 0.99, 0.99, 0.99, 0.99]))  # fmt: skip
    runs = analysis.rows(results, "main", architecture="mlp")
    assert analysis.solved(results, runs).tolist() == [True, False, True, True, True, True]
    assert analysis.column(results, "r2", runs).tolist() == pytest.approx([0.99] * 5)
    assert len(analysis.column(results, "r2", runs, unsolved=True)) == 6
    row = next(row for row in judge(CLAIMS, results) if row["id"] == "C1")
    assert row["verdict"] == "reproduced"
    told = [e for e in row["estimates"] if "left out" in e["label"]]
    assert [(e["value"], e["label"]) for e in told] == [
        (1.0, "networks of 24 below 100 %, left out")
    ]
    too_few = changed(
        good, f"net/{main_key('mlp')}", accuracy=np.array([1.0, 0.98, 0.9, 0.9, 0.9, 1.0])
    )
    assert verdict(too_few, "C1") == "not run at this preset"


def test_theorem_claim_needs_its_promise_kept(exact: dict[str, np.ndarray]) -> None:
    probability = exact["theorem/probability"]
    kept = exact | {"theorem/probability": np.ones_like(probability)}
    broken = exact | {"theorem/probability": np.zeros_like(probability)}
    claim = BY_ID["C4"]
    for results, expected in ((kept, Verdict.REPRODUCED), (exact, Verdict.PARTLY),
                              (broken, Verdict.NOT_REPRODUCED)):  # fmt: skip
        estimates = claim.measure(results)
        assert estimates is not None and claim.judge(estimates) is expected
    labels = [e.label for e in claim.measure(exact) or ()]
    assert len(labels) == len(theory.DELTAS) * len(theory.RHOS)


def test_exact_claims_notice_a_wrong_number() -> None:
    def values(*numbers: float) -> list[Estimate]:
        return [Estimate.exact(x) for x in numbers]

    assert BY_ID["C2"].judge(values(1, 0.1)) is Verdict.REPRODUCED
    assert BY_ID["C2"].judge(values(0.999, 0.1)) is Verdict.NOT_REPRODUCED
    assert BY_ID["C3"].judge(values(1, 1)) is Verdict.REPRODUCED
    assert BY_ID["C3"].judge(values(1, 0.9)) is Verdict.NOT_REPRODUCED


def test_corollary_grows_with_the_logarithm(exact: dict[str, np.ndarray]) -> None:
    """C ln n frequencies, interpolated: gaps rise for every C, wrong classes fade for large C."""
    gap, mass = exact["corollary/gap"], exact["corollary/log_mass"]
    assert (np.diff(gap[1:], axis=1) > 0).all() and (np.diff(mass[2]) < 0).all()
    assert (mass < 0).all(), "logarithms of shares"
    by_hand = np.log(method.wrong_mass(59, (3, 7)))
    h = method.ideal_logits(59, (3, 7))
    odds = np.log(np.exp(h[1:]).sum()) - 2
    assert by_hand == pytest.approx(odds - np.logaddexp(0, odds))


def test_theory_numbers(exact: dict[str, np.ndarray]) -> None:
    assert exact["remap/ours"] == 1.0 and exact["remap/printed"] < 0.3
    assert exact["cosets/equal"] == 1.0 and exact["cosets/paths"] == 1.0
    assert exact["cosets/sizes"].tolist() == [29, 33, 33, 29]
    assert exact["hand/crt_accuracy"] == 1.0 and exact["hand/crt_neurons"] == 20
    assert (np.diff(exact["ideal/gaps"][:, 0]) > 0).all()


def chosen_results(picks: list[list[int]], n: int, small: int) -> dict[str, np.ndarray]:
    """Results in which network i of a frequency study modulo n has the frequencies picks[i]."""
    config = replace(SMALL, frequency_moduli=(n,), frequency_depths=(1,),
                     frequency_seeds=len(picks))  # fmt: skip
    rng = np.random.default_rng(0)
    found = {f"net/{k.key}": outcome(k, s, rng) for k, s in studies.networks(config).items()}
    (network,) = studies.studies(config)["frequencies"]
    sizes = np.zeros((len(picks), n // 2))
    for row, freqs in zip(sizes, picks, strict=True):
        row[np.array(freqs) - 1] = 60
        for f in freqs:
            row[f - 1] = small if n // np.gcd(f, n) <= 3 else 60
    found[f"net/{network.key}"] |= {"sizes": sizes, "cluster_r2": np.where(sizes == 60, 0.9, 0.99)}
    return dict(experiment.collect(config, {"theory": experiment._theory(config), **found}))


def test_preference_for_exact_cosets_is_noticed() -> None:
    """At n = 12, 2, 3, 4, 6 of 1 ... 6 share a factor, 4 and 6 have cosets of 3 and 2 vertices."""
    prefers = [[4, 6, 1], [4, 6, 5], [6, 2, 3], [4, 3, 2]] * 5
    avoids = [[1, 5], [1, 5, 4], [1, 5, 6]] * 5
    assert verdict(chosen_results(prefers, 12, 20), "C12") == "reproduced"
    assert verdict(chosen_results(prefers, 12, 90), "C12") == "partly", "not smaller"
    assert verdict(chosen_results(avoids, 12, 20), "C12") == "not reproduced"


def test_uniform_frequencies_and_rare_doubles_are_noticed() -> None:
    """Modulo 11, up to sign, doubling goes 1, 2, 4, 3, 5, 1."""
    apart = [[1, 4], [2, 3], [4, 5], [3, 1], [5, 2]] * 8
    doubles = [[1, 2], [2, 4], [4, 3], [3, 5], [5, 1]] * 8
    assert verdict(chosen_results(apart, 11, 60), "C13") == "reproduced"
    assert verdict(chosen_results(doubles, 11, 60), "C13") == "partly", "uniform only"
    assert verdict(chosen_results([[1, 2], [1, 5]] * 20, 11, 60), "C13") == "not reproduced"


# --- Statistics -----------------------------------------------------------------------------------


def test_slope_and_share_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    e = analysis.slope(x, 3 - 2 * x, "")
    assert (e.value, e.low, e.high) == pytest.approx((-2, -2, -2))
    p = analysis.share(np.array([True] * 8 + [False] * 2), "")
    assert (p.value, p.low, p.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-3)
    assert [n for n in range(20) if analysis.is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19]


def test_ratios_by_hand() -> None:
    """Frequencies 1, 2, 5 modulo 11: 2/1 = 2, 1/2 = 6 = -5, 5/1 = 5, 1/5 = 9 = -2, 5/2 = 8 = -3,
    2/5 = 18 = 7 = -4."""
    chosen = np.array([[True, True, False, False, True]])
    assert analysis.ratio_shares(chosen, 11).tolist() == [[0, 2, 1, 1, 2]]


def test_uniformity_knows_uniform_from_not() -> None:
    rng = np.random.default_rng(0)
    even = np.array([rng.permutation(8) < 3 for _ in range(60)])
    assert analysis.uniformity(even)[1] > 0.01
    skewed = np.array([np.argsort(rng.random(8) - [1, 1, 0, 0, 0, 0, 0, 0]).argsort() < 3
                       for _ in range(60)])  # fmt: skip
    assert analysis.uniformity(skewed)[1] < 0.01


# --- Figures --------------------------------------------------------------------------------------


def test_every_figure_can_be_drawn(good: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    drawn = dict(figures.figures(experiment.collect(SMALL, good)))
    expected = {**figures.DRAWINGS, **figures.figures_studies.DRAWINGS}
    assert set(drawn) == set(expected)
    for name, figure in drawn.items():
        real = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
        assert all(axes.get_xlabel() for axes in real), f"{name}: an axis has no label"
        assert plotting.save(figure, tmp_path / name)[0].stat().st_size > 10_000


def keys(pairs: Iterable[tuple[str, object]]) -> set[str]:
    return {name for name, _ in pairs}


def test_a_run_without_studies_still_has_figures(exact: dict[str, np.ndarray]) -> None:
    config = PRESETS["smoke"]
    rng = np.random.default_rng(0)
    found = {f"net/{n.key}": outcome(n, s, rng) for n, s in studies.networks(config).items()}
    results = experiment.collect(replace(config, noise=SMALL.noise), {"theory": exact, **found})
    drawn = keys(figures.figures(results))
    assert {"neurons", "training", "solved", "theorem"} <= drawn
    assert not {"growth", "onehot", "substitution"} & drawn
