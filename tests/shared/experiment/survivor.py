"""A small real training task that can be killed anywhere.

`python -m tests.shared.experiment.survivor FOLDER [RUN/INSTANT:N ...]` gives the run in FOLDER/RUN
a life, each a process of its own, one after the other, and prints their exit codes. INSTANT is
where a life kills itself (SIGKILL), N the how-manieth time that it gets there:
    step    before its N-th chunk of the first loop is computed
    row     before it writes to metrics.jsonl for the N-th time
    rename  before its N-th rename; the saving of a checkpoint makes two
    never   it lives to the end
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from shared.experiment import loop, store
from shared.experiment.spec import Run, Task

TASK = Task("agent=survivor", seeds=(4, 5))
OPTIMISER = optax.adam(1e-2)


@jax.jit
@jax.vmap
def fresh(seed: jax.Array) -> tuple[Any, Any, Any]:
    """Model, optimiser state and key of one seed."""
    key = jax.random.key(seed)
    model = eqx.nn.Linear(3, 1, key=key)
    return model, OPTIMISER.init(model), key  # pyright: ignore[reportArgumentType]


def initial_state() -> dict[str, Any]:
    """Two seeds of a linear model, Adam, typed keys, a host generator and counters."""
    model, optimiser, keys = fresh(jnp.array(TASK.seeds))
    host = np.random.PCG64(0).state
    new = dict(model=model, optimiser=optimiser, keys=keys, host=host, steps=0)
    return {**new, "nothing": None}


@jax.jit
@jax.vmap
def update(model: Any, optimiser: Any, key: Any) -> tuple[Any, Any, Any, Any]:
    """One chunk for one seed: five noisy gradient steps."""
    arrays, static = eqx.partition(model, eqx.is_array)

    def one(carry: Any, _: None) -> tuple[Any, Any]:
        arrays, optimiser, key = carry
        key, draw = jax.random.split(key)
        x = jax.random.normal(draw, (8, 3))

        def loss(arrays: Any) -> Any:
            return jnp.mean((jax.vmap(eqx.combine(arrays, static))(x)[:, 0] - x.sum(1)) ** 2)

        value, gradient = jax.value_and_grad(loss)(arrays)
        with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to its integer count
            change, optimiser = OPTIMISER.update(gradient, optimiser)
        return (optax.apply_updates(arrays, change), optimiser, key), value

    carry, losses = jax.lax.scan(one, (arrays, optimiser, key), None, length=5)
    return (*carry, losses.mean())


def step(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One chunk of the first loop."""
    model, optimiser, keys, loss = update(state["model"], state["optimiser"], state["keys"])
    bits = np.random.PCG64()
    bits.state = state["host"]
    draw = int(bits.random_raw() % 1000)
    new = dict(model=model, optimiser=optimiser, keys=keys, host=bits.state, nothing=None)
    return {**new, "steps": state["steps"] + 5}, {"loss": loss, "draw": draw}


def second_step(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One chunk of the second loop, which continues from the first."""
    total = state["total"] * 0.9 + jnp.sum(jnp.abs(state["model"].weight))
    return {**state, "total": total}, {"total": total}


def run_task(run: Run) -> dict[str, np.ndarray]:
    """Both loops; returns all there is to compare, as arrays."""
    state, past = run.loop(initial_state(), step, 6, per_chunk=5)
    state, late = run.loop({**state, "total": jnp.zeros(())}, second_step, 3, name="evaluate")
    leaves = jax.tree.leaves({**state, "keys": jax.random.key_data(state["keys"])})
    numbers = [np.asarray(x) if not isinstance(x, int | str) else np.array(str(x)) for x in leaves]
    return {**{f"leaf{i:02d}": x for i, x in enumerate(numbers)}, **past, **late}


def execute(root: Path) -> store.RunFolder:
    """Run the task in `root`, saving after every second chunk."""
    folder = store.RunFolder(root)
    stop = loop.StopFlag()
    run = loop.TaskRun(None, TASK, folder, lambda _: None, stop, checkpoint_chunks=2)
    # Not save_outcome: it would drop the checkpoints, which the tests want to see.
    store.write_npz(folder.outcome_path(TASK), run_task(run))
    return folder


def kill_at(instant: str, count: int) -> None:
    """Arrange for SIGKILL right before the `count`-th passage of `instant`."""
    left = count

    def dying(function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    if instant == "step":
        globals()["step"] = dying(step)
    elif instant == "row":
        loop.TaskRun._append = dying(loop.TaskRun._append)
    elif instant == "rename":
        os.replace = dying(os.replace)


def live(folder: Path, life: str) -> int:
    """Execute the task in a process of its own; its exit code, negative for a signal."""
    process = os.fork()  # before jax has started any thread: the imports need not be repeated
    if process == 0:
        run, _, instant = life.partition("/")
        instant, _, count = instant.partition(":")
        kill_at(instant, int(count or 0))
        execute(folder / run)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    # All lives compile the same few programs; only the first needs to.
    jax.config.update("jax_compilation_cache_dir", f"{sys.argv[1]}/compiled")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    print(*(live(Path(sys.argv[1]), life) for life in sys.argv[2:]))
