"""Pictures: drawn where this machine can, one sentence where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.mujoco import Batch, film_strip, frames, render, run_episodes, tasks
from shared.mujoco.render import NoRenderer


@pytest.fixture
def drawing() -> None:
    try:
        render.renderer()
    except NoRenderer as error:
        pytest.skip(str(error))


def test_a_film_strip_shows_a_pendulum_move(drawing: None) -> None:
    def push(obs: np.ndarray) -> np.ndarray:
        return np.ones((1, 1))

    task = replace(tasks.get("pendulum_swingup"), horizon=40)
    run = run_episodes(task, push, 1, keep_physics=True)
    strip = film_strip(task, run.physics[0], count=3, height=64, width=48)
    assert strip.shape == (64, 144, 3) and strip.dtype == np.uint8
    first, second, third = strip[:, :48], strip[:, 48:96], strip[:, 96:]
    assert first.std() > 5  # not one colour
    assert (first != second).any() and (second != third).any()
    again = film_strip(task, run.physics[0], count=3, height=64, width=48)
    np.testing.assert_array_equal(strip, again)


def test_a_target_stands_where_the_start_put_it(drawing: None) -> None:
    batch = Batch("reacher_easy", 2)
    batch.reset()
    saved = batch.get_state()
    targets = [{"geom_pos": values} for values in saved["varies"]["geom_pos"]]
    pair = [frames("reacher_easy", saved["physics"][:1], 64, 64, varies=t)[0] for t in targets]
    assert (pair[0] != pair[1]).any()


def test_bad_input() -> None:
    with pytest.raises(BadInput, match=r"States of cheetah_run have shape \(frames, \d+\); got"):
        frames("cheetah_run", np.zeros((3, 2)))
    with pytest.raises(BadInput, match="needs states and moments; got 0 and 8"):
        film_strip("cheetah_run", np.zeros((0, 2)))


def test_without_a_library_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, width: int, height: int) -> None:
        raise ImportError(f"no {name} here")

    monkeypatch.setattr(render, "_context", absent)
    with pytest.raises(NoRenderer, match=r"egl: ImportError: no egl here; osmesa: .*install Mesa"):
        render.renderer.__wrapped__()
