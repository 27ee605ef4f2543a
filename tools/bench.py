"""Measure the speed figures of the READMEs, each beside its yardstick in the same run.

    python -m tools.bench                    all papers that have a bench.py
    python -m tools.bench superiority        one paper
    python -m tools.bench superiority --only "omega=1" --repeats 9
    python -m tools.bench superiority --save

Each entry runs in a process of its own, pinned to its cores; both sides first compute the same
results, then take turns. The ratio is the median over the repeats with a bootstrap interval;
compile time is shown apart. `--save` writes papers/<name>/results/bench.json:
{"format": 1, "rows": [{name, ours, yardstick, ratio, low, high, floor, unit, repeats,
compile_seconds}], "provenance": {...}}.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared import bench
from shared.experiment import provenance, store
from shared.experiment.errors import BadInput, TaskFailed
from tools import _cli, _repo

MIN_REPEATS = 5
# XLA sizes its thread pool by NPROC. Two threads on small kernels are much slower than one.
_ONE_THREAD = dict.fromkeys(
    ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


def papers(root: Path = _repo.ROOT) -> list[str]:
    """Papers that have speed claims."""
    return sorted(path.parent.name for path in root.glob("papers/*/bench.py"))


def entries(paper: str) -> dict[str, bench.Entry]:
    """A paper's entries by name. Raises BadInput where it has none."""
    if paper not in papers():
        raise BadInput(f"No paper {paper!r} with a bench{_repo.nearest(paper, papers())}.")
    return {e.name: e for e in importlib.import_module(f"papers.{paper}.bench").ENTRIES}


def measure(paper: str, entry: bench.Entry, repeats: int) -> dict[str, Any]:
    """One row of the table, measured in a fresh process on the entry's cores."""
    command = [sys.executable, "-m", "tools.bench", paper, "--worker", entry.name]
    command += ["--repeats", str(repeats)]
    environment = os.environ | _ONE_THREAD | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=_repo.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise TaskFailed(f"The bench entry {entry.name!r} failed; its message stands above.")
    return row(entry, json.loads(done.stdout.splitlines()[-1]))


def row(entry: bench.Entry, measured: dict[str, Any]) -> dict[str, Any]:
    """The medians of a measurement, with a 95 % bootstrap interval of the ratio."""
    import numpy as np

    from shared import stats

    ratio = stats.bootstrap(np.asarray(measured["ratios"]), np.median, seed=0)
    return {
        "name": entry.name,
        "ours": f"{measured['ours_rate']:,.0f} {entry.unit}/s",
        "yardstick": f"{entry.yardstick}: {measured['yardstick_rate']:,.0f} {entry.unit}/s",
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "floor": entry.floor,
        "unit": "times",
        "repeats": len(measured["ratios"]),
        "compile_seconds": measured["compile_seconds"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as plain text."""
    head = ("entry", "ours", "ratio [95 %]", "floor", "compile", "yardstick")
    body = [
        (r["name"], r["ours"], f"{r['ratio']:.1f} [{r['low']:.1f}, {r['high']:.1f}]",
         f"{r['floor']:g}" + ("" if r["ratio"] >= r["floor"] else "  MISSED"),
         f"{r['compile_seconds']:.1f} s", r["yardstick"])
        for r in rows
    ]  # fmt: skip
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)) for x in (head, *body)]
    return "\n".join(line.rstrip() for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, or 1 where a ratio is below its floor."""
    parser = _cli.parser("bench", __doc__)
    parser.add_argument("paper", nargs="?", help="a paper's name (default: all that have a bench)")
    parser.add_argument("--only", help="only entries whose name contains this")
    parser.add_argument("--repeats", type=int, default=MIN_REPEATS, help="at least 5")
    parser.add_argument("--save", action="store_true", help="write results/bench.json")
    parser.add_argument("--worker", help="measure this one entry here and print JSON")
    options = _cli.parse(parser, argv)
    if options.repeats < MIN_REPEATS:
        raise BadInput(f"--repeats must be at least {MIN_REPEATS}; got {options.repeats}.")
    if options.worker is not None:
        print(json.dumps(_work(options.paper, options.worker, options.repeats)))
        return 0
    if options.save and options.only:
        raise BadInput("--save needs a whole bench: leave out --only.")
    fell_short = False
    for paper in [options.paper] if options.paper else papers():
        chosen = [e for name, e in entries(paper).items() if (options.only or "") in name]
        if not chosen:
            raise BadInput(f"No entry of {paper} contains {options.only!r}.")
        rows = []
        for number, entry in enumerate(chosen, 1):
            print(f"{paper}: {entry.name} ({number} of {len(chosen)}) ...", flush=True)
            rows.append(measure(paper, entry, options.repeats))
        print(table(rows))
        fell_short |= any(r["ratio"] < r["floor"] for r in rows)
        if options.save:
            _save(paper, rows)
    return int(fell_short)


def _work(paper: str, name: str, repeats: int) -> dict[str, Any]:
    entry = entries(paper)[name]
    if hasattr(os, "sched_setaffinity"):  # before JAX starts its threads
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, available[-entry.cores :])
    return bench.measure(entry, repeats)


def _save(paper: str, rows: list[dict[str, Any]]) -> None:
    path = _repo.ROOT / "papers" / paper / "results" / "bench.json"
    path.parent.mkdir(exist_ok=True)
    origin = provenance.describe(["python", "-m", "tools.bench", paper, "--save"])
    store.write_json(path, {"format": store.FORMAT, "rows": rows, "provenance": origin})
    print(f"Wrote {path.relative_to(_repo.ROOT)}.")


if __name__ == "__main__":
    sys.exit(_cli.run(main))
