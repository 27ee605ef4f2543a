"""What the paper states, how it is measured here, and the rules that decide, fixed beforehand.

The paper's own numbers are not known to us (its text was not at hand), so rules compare a model
with what it should beat, or with the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from papers.distributional_sm.config import POLICIES
from shared.experiment.spec import Claim, Estimate, Results, Verdict

if TYPE_CHECKING:
    import numpy as np

PAIR = ("top", "gamble")
CLOSE = 0.03
"""Mean W1 as a share of the range of possible returns that counts as close."""


def _decide(whole: bool, part: bool = False) -> Verdict:
    if whole:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if part else Verdict.NOT_REPRODUCED


# --- Exact: C1, C2, C3, C10 -----------------------------------------------------------------------


def _measure_return_law(results: Results) -> list[Estimate]:
    w1, noise = results["exact/laws/w1"], results["exact/laws/noise"]
    return [
        Estimate.exact(results["exact/identities/variance"].max(), "variance, relative difference"),
        Estimate.exact((w1 / noise).mean(), "W1 of the two routes / of two runs of one"),
        Estimate.exact(results["exact/laws/particles"].max(), "particles to roll-outs, W1 / std"),
    ]


def _judge_return_law(estimates: Sequence[Estimate]) -> Verdict:
    variance, ratio, particles = (e.value for e in estimates)
    return _decide(variance < 1e-8 and ratio < 1.5 and particles < 0.1, variance < 1e-8)


def _measure_fixed_point(results: Results) -> list[Estimate]:
    return [
        Estimate.exact(results["exact/identities/residual"].max(), "largest residual"),
        Estimate.exact(results["exact/fractal/coin"], "coin flip, W1 to the uniform law"),
    ]


def _judge_fixed_point(estimates: Sequence[Estimate]) -> Verdict:
    residual, coin = (e.value for e in estimates)
    return _decide(residual < 1e-10 and coin < 1e-6, residual < 1e-10)


def _measure_contraction(results: Results) -> list[Estimate]:
    ratio = results["exact/contraction/ratio"]
    return [
        Estimate.exact(ratio[:, k].max(), f"largest W1 after {k + 1} backups / (gamma^k start)")
        for k in range(ratio.shape[1])
    ]


def _judge_contraction(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(all(e.value <= 1 + 1e-7 for e in estimates))


def _measure_fractal(results: Results) -> list[Estimate]:
    names = {
        "inside": "share where the triangle has its hole",
        "even_inside": "the same of an even density",
        "dimension": "box-counting dimension",
        "even_dimension": "the same of an even density",
    }
    return [Estimate.exact(results[f"exact/fractal/{n}"], label) for n, label in names.items()]


def _judge_fractal(estimates: Sequence[Estimate]) -> Verdict:
    inside, even, dimension, whole = (e.value for e in estimates)
    hole = inside == 0 and even > 0.2
    return _decide(hole and abs(dimension - 1.584963) < 0.01 and whole > 1.8, hole)


# --- Trained models: C4 to C9 ---------------------------------------------------------------------


def _relative(results: Results, key: str, truth: str) -> np.ndarray | None:
    """Mean W1 over sources and rewards, each over its range of returns; one number a seed."""
    if f"{key}/w1" not in results:
        return None
    return (results[f"{key}/w1"] / results[f"{truth}/range"]).mean((1, 2))


def _places(results: Results) -> Iterator[tuple[str, str]]:
    """(process, policy) of every truth."""
    for key in results:
        if key.startswith("truth/") and key.endswith("/range"):
            _, process, policy, _ = key.split("/")
            yield process, policy


def _first_policies(results: Results) -> Iterator[tuple[str, str]]:
    """The places that baselines and ablations are run at."""
    yield from ((x, policy) for x, policy in _places(results) if policy == POLICIES[x][0])


def _mean(values: np.ndarray, label: str) -> Estimate:
    from shared import stats

    return stats.bootstrap(values, stats.mean, seed=0).to_estimate(label)


def _gap(better: np.ndarray, worse: np.ndarray, label: str) -> Estimate:
    """worse - better, paired by seed: positive if `better` is."""
    from shared import stats

    found = stats.paired_difference(worse, better, seed=0)
    return found.interval.to_estimate(label, detectable=found.detectable)


def _measure_unseen(results: Results) -> list[Estimate] | None:
    found = []
    for process, policy in _places(results):
        errors = _relative(results, f"model/{process}/{policy}/delta", f"truth/{process}/{policy}")
        if errors is None or len(errors) < 2:
            continue
        found.append(_mean(errors, f"W1 / range, {process}, {policy}"))
        for name, label in (("ks", "Kolmogorov-Smirnov"), ("cvm", "Cramer-von Mises")):
            values = results[f"model/{process}/{policy}/delta/{name}"].mean((1, 2))
            found.append(_mean(values, f"{label}, {process}, {policy}"))
    return found or None


def _judge_unseen(estimates: Sequence[Estimate]) -> Verdict:
    w1 = [e for e in estimates if e.label.startswith("W1")]
    return _decide(all(e.high <= CLOSE for e in w1), all(e.value <= 2 * CLOSE for e in w1))


def _measure_baselines(results: Results) -> list[Estimate] | None:
    found = []
    for process, policy in _places(results):
        truth = f"truth/{process}/{policy}"
        delta = _relative(results, f"model/{process}/{policy}/delta", truth)
        for baseline in ("ensemble", "one-step"):
            other = _relative(results, f"model/{process}/{policy}/{baseline}", truth)
            if delta is not None and other is not None and len(other) > 1:
                found.append(_gap(delta, other, f"{baseline} - delta, {process}"))
    return found if {e.label.split(" - ")[0] for e in found} == {"ensemble", "one-step"} else None


def _judge_baselines(estimates: Sequence[Estimate]) -> Verdict:
    ensembles = [e for e in estimates if e.label.startswith("ensemble")]
    rolled = [e for e in estimates if e.label.startswith("one-step")]
    better = all(e.low > 0 for e in ensembles)
    return _decide(better and all(e.high >= 0 for e in rolled), any(e.low > 0 for e in estimates))


def _measure_ranking(results: Results) -> list[Estimate] | None:
    if not all(f"model/windy/{policy}/delta/returns" in results for policy in PAIR):
        return None
    import numpy as np

    levels = [1.0, *(float(tau) for tau in results["risk_levels"])]
    predicted = np.stack([_predicted_order(results, tau) for tau in levels])
    true, clear = (
        np.stack(x) for x in zip(*(_true_order(results, t) for t in levels), strict=True)
    )
    right = predicted == true[:, None]
    split = clear[0] & clear[1:] & (true[0] != true[1:])  # [tau, reward]
    if not split.any() or right.shape[1] < 2:
        return None
    orders = right.transpose(1, 0, 2)[:, clear].mean(1)
    both = (right[0] & right[1:]).transpose(1, 0, 2)[:, split].mean(1)
    return [
        _mean(orders, "share of orders as in Monte Carlo"),
        Estimate.exact(split.sum(), "cases where mean and CVaR disagree"),
        _mean(both, "share of these with both orders right"),
    ]


def _predicted_order(results: Results, tau: float) -> np.ndarray:
    """Sign of CVaR_tau (1: the mean) of `top` less that of `gamble`, [seed, reward]."""
    import numpy as np

    from papers.distributional_sm.tabular import cvar

    first, second = (
        cvar(results[f"model/windy/{policy}/delta/returns"][:, 0].astype(np.float64), tau)
        for policy in PAIR
    )
    return np.sign(first - second)


def _true_order(results: Results, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of Monte Carlo [reward], and whether it is known within 3 standard errors."""
    import numpy as np

    values, errors = [], []
    for policy in PAIR:
        truth = f"truth/windy/{policy}"
        if tau == 1:
            found = results[f"{truth}/mean"][0], results[f"{truth}/mean_error"][0]
        else:
            place = int(np.argmin(np.abs(results["risk_levels"] - tau)))
            found = (
                results[f"{truth}/cvar"][0, :, place],
                results[f"{truth}/cvar_error"][0, :, place],
            )
        values.append(found[0])
        errors.append(found[1])
    gap = values[0] - values[1]
    return np.sign(gap), np.abs(gap) > 3 * np.hypot(*errors)


def _judge_ranking(estimates: Sequence[Estimate]) -> Verdict:
    orders, count, both = estimates
    return _decide(
        orders.low >= 0.9 and count.value >= 1 and both.low >= 0.75, orders.value >= 0.75
    )


def _ablation(
    changes: Sequence[tuple[str, str, str]],
) -> Callable[[Results], list[Estimate] | None]:
    """Gains in W1, (worse, better, label) each."""

    def measure(results: Results) -> list[Estimate] | None:
        found = []
        for process, policy in _first_policies(results):
            truth = f"truth/{process}/{policy}"
            for worse, better, label in changes:
                errors = [
                    _relative(results, f"ablation/{process}/{name}", truth)
                    for name in (worse, better)
                ]
                if errors[0] is not None and errors[1] is not None and len(errors[0]) > 1:
                    found.append(_gap(errors[1], errors[0], f"{label}, {process}"))
        return found or None

    return measure


def _judge_gains(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(all(e.low > 0 for e in estimates), any(e.low > 0 for e in estimates))


def _measure_atoms(results: Results) -> list[Estimate] | None:
    gains = _ablation(
        [("atoms=5", "unchanged", "5 to 11 atoms"), ("unchanged", "atoms=21", "11 to 21 atoms")]
    )(results)
    if gains is None:
        return None
    for process, policy in _first_policies(results):
        truth = f"truth/{process}/{policy}"
        for place, m in enumerate(results["atoms"]):
            key = f"ablation/{process}/" + (f"atoms={m}" if place else "unchanged")
            if f"{key}/w1" in results and len(results["atoms"]) > 1:
                over = (results[f"{key}/w1"].mean(0) - results[f"{truth}/quantised"][place]).min()
                gains.append(Estimate.exact(over, f"least W1 over the floor, m={m}, {process}"))
    return gains


def _judge_atoms(estimates: Sequence[Estimate]) -> Verdict:
    gains = [e for e in estimates if "to" in e.label.split()]
    above = all(e.value >= -1e-6 for e in estimates if e.label.startswith("least"))
    return _decide(above and all(e.low > 0 for e in gains), above and any(e.low > 0 for e in gains))


_ALL_CHAINS = "200 random chains of 2 to 6 states, gamma 0.5, 0.8, 0.95"
CLAIMS = (
    Claim(
        "C1",
        "The return of any reward has the law of (1 - gamma)^-1 times the mean reward under the "
        "random occupancy measure.",
        "abstract; equation of the return law",
        f"{_ALL_CHAINS}: variance of returns from Cov(M) against its own recursion; on 20, W1 of "
        "returns from occupancies and from roll-outs, against that of two sets of roll-outs",
        "reproduced if variances agree to 1e-8 and W1 is below 1.5 times that of chance",
        _measure_return_law,
        _judge_return_law,
    ),
    Claim(
        "C2",
        "The distributional successor measure is the fixed point of a distributional Bellman "
        "equation.",
        "theory section",
        f"{_ALL_CHAINS}: residual of first and second moments over 1, 2 and 3 steps; the fixed "
        "point of a fair coin against the uniform law",
        "reproduced if residuals are below 1e-10 and the coin's W1 below 1e-6",
        _measure_fixed_point,
        _judge_fixed_point,
    ),
    Claim(
        "C3",
        "Its Bellman operator is a gamma-contraction in the largest Wasserstein distance over "
        "states.",
        "theory section",
        "200 random chains of 3 states, exact laws: W1 by a transport LP, total variation below",
        "reproduced if no ratio to gamma^k times the start exceeds 1 (to 1e-7)",
        _measure_contraction,
        _judge_contraction,
        paper_value="gamma",
    ),
    Claim(
        "C4",
        "A delta-model trained without rewards predicts return distributions of unseen rewards "
        "close to Monte Carlo.",
        "experiments",
        "W1 between m predicted returns and simulated ones, over the range of possible returns, "
        "which decides; Kolmogorov-Smirnov and Cramer-von Mises; means over sources and rewards",
        f"reproduced if its interval ends below {CLOSE:.0%} on every process; partly if all means "
        f"are below {2 * CLOSE:.0%}",
        _measure_unseen,
        _judge_unseen,
    ),
    Claim(
        "C5",
        "It beats an ensemble of gamma-models and is no worse than rolling out a one-step model.",
        "experiments",
        "difference of the same errors, paired by seed",
        "reproduced if it is better than every ensemble and not clearly worse than any roll-out",
        _measure_baselines,
        _judge_baselines,
    ),
    Claim(
        "C6",
        "Policies are ranked by mean and by CVaR under a new reward as Monte Carlo does, also "
        "where the two orders differ.",
        "experiments, Windy Gridworld",
        "two policies from the origin, five rewards, mean and CVaR at three levels; orders that "
        "Monte Carlo knows within 3 standard errors",
        "reproduced if 90 % of the orders and 75 % of the split cases are right (lower ends)",
        _measure_ranking,
        _judge_ranking,
    ),
    Claim(
        "C7",
        "n-step bootstrapped targets help.",
        "ablation",
        "error with n = 1 and with n = 3, less that with n = 6, at equal gradient steps",
        "reproduced if both gains are clear; partly if one is",
        _ablation(
            [("horizon=1", "unchanged", "n=1 - n=6"), ("horizon=3", "unchanged", "n=3 - n=6")]
        ),
        _judge_gains,
    ),
    Claim(
        "C8",
        "A learned state kernel and an adaptive bandwidth help.",
        "section on tuning the MMD",
        "error of the fixed kernel less that of the learned one and of median width; of a "
        "fixed bandwidth of the outer kernel less that of its median",
        "reproduced if all gains are clear; partly if one is",
        _ablation(
            [
                ("kernel=fixed", "kernel=learned", "fixed - learned kernel"),
                ("kernel=fixed", "kernel=median", "fixed - median kernel"),
                ("bandwidth=1", "unchanged", "bandwidth 1 - median"),
            ]
        ),
        _judge_gains,
    ),
    Claim(
        "C9",
        "More model atoms make predictions better; none can be nearer than the best m equal atoms.",
        "review of an earlier version",
        "error with 5, 11 and 21 atoms; W1 over that of quantile midpoints",
        "reproduced if both gains are clear and no W1 is below its floor; partly if one gain is",
        _measure_atoms,
        _judge_atoms,
    ),
    Claim(
        "C10",
        "In small chains the law of the occupancy can be a fractal.",
        "figures",
        "three equally likely letters, gamma = 1/2: points in the hole of a Sierpinski triangle; "
        "the box-counting dimension (log 3 / log 2 = 1.585)",
        "reproduced if the hole is empty and the dimension is 1.585 within 0.01",
        _measure_fractal,
        _judge_fractal,
    ),
)
