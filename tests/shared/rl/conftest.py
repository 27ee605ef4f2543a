"""Programs here are compiled for one test and run for milliseconds: compile them quickly."""

import jax
import pytest


@pytest.fixture(autouse=True)
def compile_quickly(request):
    """Fewer of XLA's optimisations, but for tests marked as training something."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, "trains" not in request.fixturenames)
    yield
    jax.config.update(name, before)


@pytest.fixture
def trains():
    """Ask for this where a program runs for seconds."""
