"""The table of other groups on the paper's page, from the evidence kept in git.

    python -m papers.dihedral.groups_table

prints it; a test holds the page against it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from papers.dihedral.measure import is_other, learned
from shared.experiment import store
from shared.experiment.spec import Results

Array = np.ndarray
HEADER = (
    "| group (order) | learned | representations, of | live neurons with share ≥ .9 | "
    "median share (untrained) | Cayley graphs | accuracy of the clusters alone | "
    "error of accuracy predicted from kernels |"
)


def table(results: Results) -> str:
    """A row a group, over the networks that learned; the headline dihedral group first."""
    cases = [str(results["headline"])]
    cases += [str(case) for case in results["cases"] if is_other(str(case))]
    rows = [HEADER, "|---" * (HEADER.count("|") - 1) + "|"]
    return "\n".join(rows + [_row(results, case) for case in cases])


def _row(results: Results, case: str) -> str:
    good = learned(results, case)

    def mean(name: str) -> float:
        return float(np.mean(np.asarray(results[f"case/{case}/{name}"])[good]))

    passed = np.asarray(results[f"case/{case}/passed"])[good].sum(0).astype(int)
    order = int(results[f"case/{case}/order"])
    untrained = float(np.mean(results[f"case/{case}/untrained_share"]))
    cells = (
        f"{case.split()[0]} ({order})",
        f"{int(good.sum())} of {len(good)}",
        f"{mean('count'):.1f} of {int(results[f'case/{case}/irreps'])}",
        f"{mean('first_pure'):.2f}",
        f"{mean('first_share'):.3f} ({untrained:.2f})",
        f"{passed[0]} of {passed[2]}",
        f"{mean('clusters_only'):.3f}",
        f"{mean('ablation_error'):.4f}",
    )
    return "| " + " | ".join(cells) + " |"


def published(preset: str = "cpu") -> Results:
    """The results of the evidence of a preset."""
    path = Path(__file__).parent / "results" / f"{preset}.json"
    return store.decode_results(store.read_json(path)["results"], path.name)


if __name__ == "__main__":
    print(table(published()))
