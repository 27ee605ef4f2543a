"""Programs here are small and run for a second at most: compile them quickly."""

import jax
import pytest


@pytest.fixture(autouse=True)
def compile_quickly():
    """Without most of XLA's optimisations."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)
