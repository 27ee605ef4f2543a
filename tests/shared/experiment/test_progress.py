"""What a person sees: the time left by hand, plain lines, the display on a forced terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from shared.experiment.progress import Header, Lines, Live, Tally, amount, choose, duration, plural

HEADER = Header(
    title="A Title",
    paper="toy",
    preset="quick",
    device="cpu (model)",
    precision="highest",
    tasks=2,
    runs=3,
    workers=2,
    folder="runs/toy/x",
    seconds=60.0,
    memory_mb=2048.0,
    work={"a": 30.0, "b/seeds-0-0": 60.0, "b/seeds-1-1": 30.0},
)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(task: str, fraction: float) -> dict[str, object]:
    return {
        "event": "progress",
        "task": task,
        "fraction": fraction,
        "loop": "train",
        "unit": "updates",
        "done": round(100 * fraction),
        "total": 100,
        "metrics": {"loss": 0.123456, "return": 1.0, "third": 9.0},
    }


def done(task: str) -> dict[str, object]:
    return {"event": "done", "task": task, "seconds": 12.0}


# The time left ------------------------------------------------------------------------------------


def test_the_part_that_is_done_is_weighted_by_the_predicted_work() -> None:
    tally = Tally.of(HEADER, 0.0)
    tally.take(progress("b/seeds-0-0", 0.5))
    assert tally.fraction() == pytest.approx(30 / 120)
    tally.take(done("a"))
    assert tally.fraction() == pytest.approx(60 / 120)
    tally.take({"event": "failed", "task": "b/seeds-0-0", "text": "?"})
    assert tally.fraction() == pytest.approx(90 / 120)
    assert tally.ended == {"a", "b/seeds-0-0"}


def test_the_time_left_is_the_prediction_first_and_the_measured_pace_later() -> None:
    tally = Tally.of(HEADER, 100.0)
    assert tally.seconds_left(110.0) == pytest.approx(50.0)
    tally.take(progress("b/seeds-0-0", 1.0))  # half of the work, in 90 s instead of 30
    assert tally.seconds_left(190.0) == pytest.approx(90.0)


def test_half_way_to_trust_the_two_are_mixed() -> None:
    tally = Tally.of(HEADER, 0.0)
    tally.take(progress("b/seeds-0-0", 0.2))  # a tenth of the work in 12 s: 108 s left at that pace
    assert tally.seconds_left(12.0) == pytest.approx(0.5 * 108 + 0.5 * 48)


def test_what_an_earlier_run_finished_counts_as_done_but_not_as_pace() -> None:
    tally = Tally.of(replace(HEADER, finished=frozenset({"b/seeds-0-0"})), 0.0)
    assert tally.fraction() == pytest.approx(0.5)
    tally.take(done("a"))  # half of what was missing, in 20 s
    assert tally.seconds_left(20.0) == pytest.approx(20.0)


def test_a_run_without_work_is_done() -> None:
    tally = Tally.of(replace(HEADER, work={}), 0.0)
    assert (tally.fraction(), tally.seconds_left(1.0)) == (0.0, 59.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(float(seconds)) == text


def test_amounts_and_plurals() -> None:
    assert [amount(300.0), amount(2560.0)] == ["300 MiB", "2.5 GiB"]
    assert [plural(1, "task"), plural(2, "task")] == ["1 task", "2 tasks"]


# Plain lines --------------------------------------------------------------------------------------


def test_plain_lines_off_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock=clock)
    lines.start(HEADER)
    lines.event({"event": "start", "task": "b/seeds-0-0"})
    for second in range(1, 21):
        clock.now = float(second)
        lines.event(progress("b/seeds-0-0", second / 40))
    lines.event({"event": "note", "task": "a", "text": "A checkpoint is damaged."})
    lines.event(done("b/seeds-0-0"))
    lines.finish()
    assert stream.getvalue().splitlines() == [
        "A Title",
        "  paper toy, preset quick, device cpu (model), precision highest",
        "  2 tasks, 3 seeded runs in 3 blocks, 2 workers",
        "  expected: 60 s, memory about 2.0 GiB",
        "  folder runs/toy/x",
        "start b/seeds-0-0",
        "[ 12%] 0/3 blocks, 62 s left  b/seeds-0-0 25/100 updates  loss 0.1235  return 1",
        "[ 25%] 0/3 blocks, 60 s left  b/seeds-0-0 50/100 updates  loss 0.1235  return 1",
        "note a: A checkpoint is damaged.",
        "[ 50%] 1/3 blocks, 20 s left  done b/seeds-0-0 (12 s)",
    ]


def test_quiet_says_only_what_went_wrong() -> None:
    stream = io.StringIO()
    lines = Lines(stream, quiet=True)
    lines.start(HEADER)
    for event in ({"event": "start", "task": "a"}, progress("a", 0.5), done("a")):
        lines.event(event)
    assert stream.getvalue() == ""
    lines.event({"event": "failed", "task": "a", "text": "It broke."})
    lines.event({"event": "died", "task": "a", "text": "killed"})
    assert stream.getvalue() == "FAILED a: It broke.\nretry a: killed\n"


def test_the_display_is_chosen_by_where_it_goes() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(choose(False, io.StringIO()), Lines)
    assert isinstance(choose(False, Terminal()), Live)
    assert isinstance(choose(True, Terminal()), Lines)


# The live display ---------------------------------------------------------------------------------


def test_live_display_on_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    live = Live(console, clock)
    live.start(HEADER)
    clock.now = 20.0
    live.event({"event": "start", "task": "b/seeds-0-0"})
    live.event(progress("b/seeds-0-0", 0.5))
    shown = "".join(part.text for part in console.render(live._progress.get_renderable()))
    overall, block = shown.strip().splitlines()
    assert overall.startswith("all") and "25%" in overall and "0/3 blocks, 60 s left" in overall
    assert block.startswith("b/seeds-0-0") and "50%" in block and "loss 0.1235" in block
    live.event({"event": "failed", "task": "b/seeds-0-0", "text": "It [broke]."})
    assert len(live._progress.tasks) == 1
    live.event(done("a"))
    live.finish()
    live.finish()
    text = stream.getvalue()
    assert "A Title" in text and "FAILED b/seeds-0-0: It [broke]." in text
    assert "\x1b[?25l" in text and text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
