"""What the claims C10 to C17 are measured by, and the rules that judge them; see `claims`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from papers.modular_crt import analysis
from papers.modular_crt.evidence import PAPER_ARCHITECTURES, decide, labelled, present
from shared.experiment.spec import Estimate, Results, Verdict

# --- C10, C11: substitution -----------------------------------------------------------------------


def measure_substitution(results: Results) -> list[Estimate] | None:
    found = []
    for name in analysis.settings(results, "grid", "architecture"):
        for depth in analysis.settings(results, "grid", "depth"):
            runs = analysis.rows(results, "grid", architecture=name, depth=depth)
            kinds = {"simple": "first order"}
            if depth > 1:
                kinds["both"] = "second order after layer 1"
            kinds["layer1_both"] = "second order in all layers"
            for kind, label in kinds.items():
                values = analysis.column(results, kind, runs)
                if not analysis.enough(values):
                    return None
                found.append(analysis.share(values == 1, f"{name}, {_layers(depth)}, {label}"))
    return [*found, analysis.missed(results, "grid")] if found else None


def _layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def judge_substitution(estimates: Sequence[Estimate]) -> Verdict:
    first = [e for e in estimates if e.label.endswith("first order")]
    mlp = [e.low > 0.5 for e in first if e.label.startswith("mlp")]
    transformer = [
        e.low > 0.5
        for e in estimates
        if e.label.startswith(("pizza", "clock"))
        and e.label.endswith(("1 layer, first order", "second order after layer 1"))
    ]
    one = [e.low > 0.5 for e in first if e.label.startswith("mlp, 1 layer")]
    enough = len(mlp) > 1 and len(transformer) >= 4  # two depths of MLP, pizza and clock
    return decide(enough and all(mlp) and all(transformer), bool(one) and all(one))


def measure_later(results: Results) -> list[Estimate] | None:
    found = []
    for name in ("pizza", "clock"):
        if name not in analysis.settings(results, "grid", "architecture"):
            continue
        for depth in analysis.settings(results, "grid", "depth"):
            if depth < 2:
                continue
            cells = _first_shares(results, name, depth)
            if not cells:
                return None
            found.append(
                analysis.mean(np.concatenate(list(cells.values())), f"{name}, all settings")
            )
            best = max(cells, key=lambda cell: float(cells[cell].mean()))
            rate, l2 = best
            label = f"{name}, best setting (rate {rate:g}, L2 {l2:g})"
            found.append(Estimate.exact(cells[best].mean(), label))
    return [*found, analysis.missed(results, "grid")] if found else None


def _first_shares(results: Results, name: str, depth: int) -> dict[tuple[float, float], np.ndarray]:
    """By setting, the share of layer-2 neurons that first-order terms fit best, of solved runs."""
    cells = {}
    for rate in analysis.settings(results, "grid", "learning_rate"):
        for l2 in analysis.settings(results, "grid", "l2"):
            runs = analysis.rows(
                results, "grid", architecture=name, depth=depth, learning_rate=rate, l2=l2
            )
            values = analysis.column(results, "first_share", runs)
            if len(values):
                cells[rate, l2] = values
    return cells


def judge_later(estimates: Sequence[Estimate]) -> Verdict:
    best = [e.value for e in estimates if "best setting" in e.label]
    return decide(max(best) >= 0.9, max(best) >= 0.5)


# --- C12, C13: which frequencies ------------------------------------------------------------------


def _composite(results: Results) -> list[int]:
    moduli = analysis.settings(results, "frequencies", "modulus")
    return [n for n in moduli if n % 2 == 0]


def measure_preference(results: Results) -> list[Estimate] | None:
    found = []
    depths = analysis.settings(results, "frequencies", "depth")
    for n in _composite(results):
        f = np.arange(1, n // 2 + 1)
        shared = np.gcd(f, n) > 1
        null = float(shared.mean())
        for depth in depths:
            sizes, r2 = analysis.learned(results, n, depth)
            if len(sizes) < 2 * analysis.FEWEST:
                return None
            found.append(_preference(sizes > 0, shared, null, f"n={n}, {_layers(depth)}: "))
            strong = n // np.gcd(f, n) <= 3
            found += _strong(sizes, r2, strong, f"n={n}, {_layers(depth)}: ")
    return [*found, analysis.missed(results, "frequencies")] if found else None


def _preference(chosen: np.ndarray, shared: np.ndarray, null: float, start: str) -> Estimate:
    def excess(sample: np.ndarray) -> float:
        return float(sample[:, shared].sum() / max(1, sample.sum())) - null

    label = start + f"share of frequencies with gcd(f, n) > 1, less {null:.3f} by chance"
    return analysis.interval_of(excess, chosen, label)


def _strong(sizes: np.ndarray, r2: np.ndarray, strong: np.ndarray, start: str) -> list[Estimate]:
    """Clusters whose cosets have 2 or 3 vertices against the others: size and R^2."""
    if not (sizes[:, strong] > 0).any():
        return []

    def contrast(values: np.ndarray) -> float:
        size, value = values[..., 0], values[..., 1]
        there = size > 0
        if not there[:, strong].any():
            return float("nan")
        return float(value[:, strong][there[:, strong]].mean()
                     - value[:, ~strong][there[:, ~strong]].mean())  # fmt: skip

    own = np.stack([sizes, sizes], axis=-1).astype(float)
    fits = np.stack([sizes, r2], axis=-1).astype(float)
    return [
        analysis.interval_of(contrast, own, start + "neurons, n' <= 3 less others"),
        analysis.interval_of(contrast, fits, start + "R^2, n' <= 3 less others"),
    ]


def judge_preference(estimates: Sequence[Estimate]) -> Verdict:
    prefers = [e.low > 0 for e in estimates if "by chance" in e.label]
    smaller = [e.high < 0 for e in estimates if "neurons, n'" in e.label]
    simpler = [e.low > 0 for e in estimates if "R^2, n'" in e.label]
    whole = all(prefers) and bool(smaller) and all(smaller) and all(simpler)
    return decide(whole, any(prefers))


def measure_uniform(results: Results) -> list[Estimate] | None:
    found = []
    for n in analysis.settings(results, "frequencies", "modulus"):
        if n % 2 == 0:
            continue
        chosen = analysis.learned(results, n, 1)[0] > 0
        if len(chosen) < 2 * analysis.FEWEST:
            return None
        _, p = analysis.uniformity(chosen)
        found.append(Estimate.exact(p, f"n={n}: p of uniform frequencies ({len(chosen)} networks)"))
        if analysis.is_prime(n):
            found.append(_doubles(chosen, n))
    if not any("half or double" in e.label for e in found):
        return None
    return [*found, analysis.missed(results, "frequencies")]


def _doubles(chosen: np.ndarray, n: int) -> Estimate:
    """How often two frequencies of one network are f and 2f, as a multiple of chance."""
    counts = analysis.ratio_shares(chosen, n)
    half = pow(2, -1, n)
    classes = {min(r, n - r) - 1 for r in (2, half)}
    expected = len(classes) / (n // 2 - 1)

    def multiple(sample: np.ndarray) -> float:
        total = sample.sum()
        if not total:
            return float("nan")
        return float(sample[:, list(classes)].sum() / total / expected)

    return analysis.interval_of(
        multiple, counts, f"n={n}: pairs that are half or double, of chance"
    )


def judge_uniform(estimates: Sequence[Estimate]) -> Verdict:
    uniform = all(e.value >= 0.01 for e in estimates if ": p of uniform" in e.label)
    rarer = all(e.high < 1 for e in estimates if "half or double" in e.label)
    return decide(uniform and rarer, uniform or rarer)


# --- C14 to C17: more about single networks -------------------------------------------------------


def measure_tuned(results: Results) -> list[Estimate] | None:
    runs = np.concatenate([analysis.rows(results, s, architecture="mlp", depth=1, decay=0.0)
                           for s in ("main", "width", "scaling", "onehot")])  # fmt: skip
    runs = np.unique(runs)
    tuned = analysis.column(results, "tuned", runs)
    if len(tuned) < 2 * analysis.FEWEST:
        return None
    found = [analysis.share(tuned >= 3, "runs with 3 or more such neurons (MLP, all n)")]
    for name, label in (
        ("tuned_3pc", "lines above 3 %"),
        ("tuned_10pc", "lines above 10 %"),
        ("tuned_any", "any harmonics"),
    ):
        found.append(
            analysis.share(analysis.column(results, name, runs) >= 3, f"the same, {label}")
        )
    kept = analysis.column(results, "without_tuned", runs)[tuned >= 3]
    if len(kept):
        found.append(Estimate.exact(kept.mean(), "mean accuracy without them"))
    return found


def judge_tuned(estimates: Sequence[Estimate]) -> Verdict:
    rate = estimates[0]
    kept = labelled(estimates, "mean accuracy")
    return decide(rate.low <= 0.25 <= rate.high and bool(kept) and kept[0].value >= 0.99,
                   rate.value > 0)  # fmt: skip


def measure_equivariance(results: Results) -> list[Estimate] | None:
    if not present(results, "main", PAPER_ARCHITECTURES):
        return None
    found = []
    for name in PAPER_ARCHITECTURES:
        runs = analysis.rows(results, "main", architecture=name)
        found.append(analysis.mean(analysis.probe(results, "equivariance", runs), f"error, {name}"))
        profile = analysis.probe(results, "profile", runs)
        found.append(analysis.mean(profile, f"profile is a cosine of f, {name}", "R^2"))
    found.append(Estimate.exact(results["hand/disc_equivariance"][-1], "ideal disc (reference)"))
    return found


def judge_equivariance(estimates: Sequence[Estimate]) -> Verdict:
    errors = labelled(estimates, "error")
    return decide(all(e.high <= 0.5 for e in errors), any(e.high <= 0.5 for e in errors))


def measure_noise(results: Results) -> list[Estimate] | None:
    sigma = results["config/noise"]
    if not present(results, "main", PAPER_ARCHITECTURES) or len(sigma) < 3:
        return None
    found = []
    for name in PAPER_ARCHITECTURES:
        runs = analysis.rows(results, "main", architecture=name)
        for part, label in (("noise", "all neurons"), ("noise_one", "the largest cluster")):
            loss = analysis.probe(results, f"{part}_loss", runs)
            doubled = np.array([_doubling(sigma, row) for row in loss])
            found.append(analysis.mean(doubled, f"sigma that doubles the loss, {label}, {name}"))
        accuracy = analysis.probe(results, "noise_accuracy", runs)
        at = int(np.abs(sigma - 0.225).argmin())
        label = f"accuracy at sigma {sigma[at]:g}, all neurons, {name}"
        found.append(analysis.mean(accuracy[:, at], label))
    return found


def _doubling(sigma: np.ndarray, loss: np.ndarray) -> float:
    """Where the loss first reaches twice its value without noise; the last sigma if it does not."""
    above = np.flatnonzero(loss >= 2 * loss[0])
    if not len(above):
        return float(sigma[-1])
    i = int(above[0])
    low, high = np.log(loss[i - 1]), np.log(loss[i])
    part = (np.log(2 * loss[0]) - low) / (high - low)
    return float(sigma[i - 1] + part * (sigma[i] - sigma[i - 1]))


def judge_noise(estimates: Sequence[Estimate]) -> Verdict:
    doubling = [e for e in estimates if "doubles the loss, all neurons" in e.label]
    accurate = [e for e in estimates if e.label.startswith("accuracy")]
    return decide(all(e.low >= 0.2 for e in doubling), all(e.low >= 0.99 for e in accurate))


def measure_embedding(results: Results) -> list[Estimate] | None:
    if not present(results, "main", PAPER_ARCHITECTURES):
        return None
    found = []
    for name in PAPER_ARCHITECTURES:
        runs = analysis.rows(results, "main", architecture=name)
        found += [
            analysis.mean(analysis.probe(results, "pc_peak", runs),
                          f"DFT peak of a component, {name}"),
            analysis.mean(analysis.probe(results, "pc_circular", runs),
                          f"neighbouring components of one frequency, {name}"),
        ]  # fmt: skip
        pure = analysis.probe(results, "pc_lissajous_peak", runs)
        pure = pure[np.isfinite(pure)]
        if analysis.enough(pure):
            label = f"DFT peak, neighbours of two frequencies, {name}"
            found.append(analysis.mean(pure, label))
    return found


def judge_embedding(estimates: Sequence[Estimate]) -> Verdict:
    peaks = [e for e in estimates if e.label.startswith("DFT peak of a")]
    mixed = [e for e in estimates if e.label.startswith("neighbouring")]
    both = any(0 < e.value < 1 for e in mixed)
    return decide(all(e.low >= 0.8 for e in peaks) and both, any(e.low >= 0.8 for e in peaks))
