"""What only a real GPU can show; skipped, with the reason, where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.gpu.devices import setup
from shared.gpu.memory import default_budget, over_seeds_fitted
from shared.gpu.seeds import over_seeds, seed_keys

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu():
    if jax.default_backend() != "gpu":
        pytest.skip(f"needs a GPU: JAX runs on {jax.default_backend()} here")
    return jax.local_devices()[0]


def walk(state):
    key, step_key = jax.random.split(state["key"])
    w = jnp.tanh(state["w"] @ state["w"]) + jax.random.normal(step_key, state["w"].shape)
    return {"key": key, "w": w}, {"sum": w.sum()}


def test_report(gpu, monkeypatch):
    monkeypatch.setenv("CORROBORATE_CACHE", "off")
    report = setup("gpu", "highest")
    assert report["platform"] == "gpu"
    assert report["kind"] == gpu.device_kind
    assert report["memory_bytes"] > 2**30


def test_seeds_on_the_gpu_equal_the_loop_on_the_cpu():
    state = {"key": seed_keys(range(4), "walk"), "w": np.ones((4, 8, 8), np.float32) / 8}
    with jax.default_matmul_precision("highest"):
        on_cpu = [
            over_seeds(walk, devices=jax.devices("cpu")[:1])(
                jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], state)
            )[1]["sum"][0]
            for i in range(4)
        ]
        _, metrics = over_seeds(walk)(state)
    np.testing.assert_allclose(metrics["sum"], on_cpu, rtol=1e-4, atol=1e-4)


def test_precision_is_what_was_asked_for():
    x = np.random.default_rng(0).normal(size=(256, 256))

    def error(precision):
        with jax.default_matmul_precision(precision):
            product = jax.jit(jnp.matmul)(np.float32(x), np.float32(x))
        return np.abs(product - x @ x).max()

    assert error("highest") < 1e-3
    # TF32 keeps 10 bits of mantissa where the card has it; it is never better than float32.
    assert error("default") >= error("highest")


def test_a_real_out_of_memory_error_halves_the_block(gpu):
    """Four seeds want 1.08 times the memory, two want 0.54 of it."""
    rows = int(0.3 * default_budget([gpu])) // 2**22

    def step(x):
        # What a loop carries lies in memory.
        filled = jnp.full((rows, 2**20), x)
        return x, {"max": jax.lax.fori_loop(0, 20, lambda _, y: y + 1, filled).max()}

    notes = []
    run = over_seeds_fitted(step, budget_bytes=10**15, note=notes.append)
    state, metrics = run(np.arange(4, dtype=np.float32))
    np.testing.assert_array_equal(metrics["max"], np.arange(4) + 20)
    np.testing.assert_array_equal(state, np.arange(4))
    assert notes
    assert all(note.startswith("Out of device memory") for note in notes)
