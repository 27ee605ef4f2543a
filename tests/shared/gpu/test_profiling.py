"""Traces and times: what is written and counted, never how long it took."""

import warnings
from functools import partial

import jax
import numpy as np
import pytest

from shared.gpu.profiling import Timing, profile, time_compiled

ONES = np.ones(4, np.float32)


def test_no_folder_no_trace(monkeypatch):
    monkeypatch.setattr(jax.profiler, "trace", None)  # calling it would fail
    with profile(None):
        pass


def test_trace_files_are_written(tmp_path):
    with profile(tmp_path / "deep" / "trace"):
        jax.block_until_ready(jax.jit(lambda x: x + 1)(ONES))
    traces = list((tmp_path / "deep" / "trace").rglob("*.xplane.pb"))
    assert len(traces) == 1
    assert traces[0].stat().st_size > 0


def test_an_error_inside_passes_and_ends_the_trace(tmp_path):
    with pytest.raises(KeyError), profile(tmp_path / "one"):
        raise KeyError
    with profile(tmp_path / "two"):  # a trace that still ran would refuse a second
        pass


def test_compiles_once_and_runs_as_often_as_asked():
    traced = []

    def double(x):
        traced.append(x)
        return 2 * x

    timing = time_compiled(double, (ONES,), repeats=3)
    assert len(traced) == 1
    assert len(timing.run_seconds) == 3
    assert timing.compile_seconds > 0
    assert min(timing.run_seconds) > 0
    np.testing.assert_array_equal(timing.result, 2 * ONES)


def test_a_function_that_donates_can_be_timed():
    @partial(jax.jit, donate_argnums=0)
    def step(state):
        return {"x": state["x"] + 1, "key": state["key"]}

    state = {"x": jax.device_put(ONES), "key": jax.random.key(0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timing = time_compiled(step, (state,), repeats=2)
    assert not state["x"].is_deleted()
    np.testing.assert_array_equal(timing.result["x"], ONES + 1)


def test_median_by_hand():
    assert Timing(1.0, (3.0, 1.0, 2.0), None).median_seconds == 2.0
    with pytest.raises(ValueError, match="at least 1; got 0"):
        time_compiled(abs, (ONES,), repeats=0)
