"""The bench harness: what it times, how it summarises, what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bench import Contest, Entry, measure
from shared.experiment.errors import BadInput
from tools import bench, report


def fake(prepare=lambda: Contest(float, float), floor=3.0):
    return Entry("sum", "a slower sum", "terms", floor, prepare)


@pytest.mark.parametrize("cores", [1, 2])
def test_sides_take_turns_and_rates_are_work_over_time(monkeypatch, cores):
    calls, ticks = [], iter(range(1000))
    clock = "process_time" if cores == 1 else "perf_counter"
    monkeypatch.setattr(f"shared.bench.time.{clock}", lambda: float(next(ticks)))  # 1 s a side

    def side(name, work):
        return lambda: calls.append(name) or work

    contest = Contest(side("ours", 12.0), side("theirs", 4.0), 2.5)
    measured = measure(replace(fake(lambda: contest), cores=cores), 5)
    assert calls == ["ours", "theirs"] * 6  # the first pair warms up
    assert measured["ratios"] == [3.0] * 5
    assert (measured["ours_rate"], measured["yardstick_rate"]) == (12.0, 4.0)
    assert measured["compile_seconds"] == 2.5


def test_sides_that_disagree_are_not_timed():
    def disagree():
        raise AssertionError("not equal")

    with pytest.raises(AssertionError, match="not equal"):
        measure(fake(disagree), 5)


def test_row_is_the_median_inside_its_interval_and_what_the_report_reads(tmp_path: Path):
    measured = {"ratios": [2.0, 9.0, 4.0, 3.0, 5.0], "ours_rate": 1234.5,
                "yardstick_rate": 300.0, "compile_seconds": 1.0}  # fmt: skip
    row = bench.row(fake(), measured)
    assert row["ratio"] == 4.0 and 2.0 <= row["low"] < 4.0 < row["high"] <= 9.0
    assert row["ours"] == "1,234 terms/s" and row["repeats"] == 5
    room = tmp_path / "papers" / "sums"
    (room / "results").mkdir(parents=True)
    (room / "results" / "bench.json").write_text(
        json.dumps({"format": 1, "rows": [row], "provenance": {}})
    )
    shown = report.bench_table(room)
    assert "a slower sum: 300 terms/s" in shown and "| 3 |" in shown


def test_table_names_a_missed_floor():
    measured = {"ratios": [2.0] * 5, "ours_rate": 2.0, "yardstick_rate": 1.0, "compile_seconds": 0}
    assert "MISSED" in bench.table([bench.row(fake(), measured)])
    assert "MISSED" not in bench.table([bench.row(fake(floor=2.0), measured)])


def test_entries_of_superiority_are_cheap_to_list_and_cover_the_promised_ratios():
    found = bench.entries("superiority")
    floors = {name: entry.floor for name, entry in found.items()}
    assert list(floors.values()) == [3, 6, 10, 12]
    assert "superiority" in bench.papers()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["nowhere"], "No paper 'nowhere'"),
        (["superiority", "--repeats", "4"], "--repeats must be at least 5"),
        (["superiority", "--only", "omega=7"], "No entry of superiority contains"),
        (["superiority", "--only", "omega=1", "--save"], "--save needs a whole bench"),
        (["superiority", "--sav"], "no option --sav"),
    ],
)
def test_bad_arguments(argv, says):
    with pytest.raises(BadInput, match=says):
        bench.main(argv)
