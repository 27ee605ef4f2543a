"""Training as it is usually written, in PyTorch, as a yardstick for speed and a second opinion.

One network, full batch: both embeddings looked up for every training pair, concatenated, through
the first layer, ReLU, the readout; cross-entropy plus the penalty; autograd; torch.optim.Adam. The
same mathematics as `training.py` does for `embed_concat` with one hidden layer.

`entry` is what a paper's bench.py lists. Both sides do the recipe of the core on Z_59.
"""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.bench import Contest, Entry

if TYPE_CHECKING:
    from shared.groups.networks import ModelSpec
    from shared.groups.training import TrainState

ORDER, EMBED, WIDTH, STEPS = 59, 64, 256, 1500
CHUNK = 100  # updates of one call of our program, and between the yardstick's looks at the test set
SECONDS = 1.5  # of work in one repeat

FirstLayer = tuple[np.ndarray, np.ndarray]
"""Pre-activations left[a] + right[b] of the hidden layer, two arrays [n, m]."""


class TorchLoop:
    """One network of `training.init_train`, trained on by PyTorch.

    Args:
        params: E [n, d], W_a, W_b [d, m], b [m], U [m, n]. mask, labels: [n, n].
        steps, warmup, lr, b1, b2, l2: the recipe, cosine to 0.
    """

    def __init__(
        self,
        params: dict[str, Any],
        mask: np.ndarray,
        labels: np.ndarray,
        steps: int = STEPS,
        warmup: int = 10,
        lr: float = 5e-3,
        b1: float = 0.9,
        b2: float = 0.98,
        l2: float = 1e-4,
    ) -> None:
        from shared.gpu.torch_helpers import import_torch

        self.torch = torch = import_torch()

        def parameter(values: Any) -> Any:
            return torch.nn.Parameter(torch.tensor(np.array(values, np.float32)))

        self.embed, self.bias = parameter(params["E"]), parameter(params["b"])
        self.weight = parameter(np.concatenate([params["W_a"], params["W_b"]]))
        self.readout = parameter(params["U"])
        self.params = [self.embed, self.weight, self.bias, self.readout]
        train, test = (torch.tensor(np.argwhere(part)) for part in (mask, ~mask))
        answers = torch.tensor(np.array(labels, np.int64))
        self.train_pairs, self.train_labels = train, answers[train[:, 0], train[:, 1]]
        self.test_pairs, self.test_labels = test, answers[test[:, 0], test[:, 1]]
        self.l2 = l2
        self.optimiser = torch.optim.Adam(self.params, lr=lr, betas=(b1, b2))

        def factor(t: int) -> float:
            done = min(max((t - warmup) / (steps - warmup), 0.0), 1.0)
            return min((t + 1) / warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * done))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.updates, self.losses, self.test_accuracy = 0, [], 0.0

    def logits(self, pairs: Any) -> Any:
        """[pairs, n]."""
        torch = self.torch
        x = torch.cat([self.embed[pairs[:, 0]], self.embed[pairs[:, 1]]], dim=1)
        return torch.relu(x @ self.weight + self.bias) @ self.readout

    def step(self) -> Any:
        """One update; returns the cross-entropy before it. Gradients are left in the parameters."""
        torch = self.torch
        loss = torch.nn.functional.cross_entropy(self.logits(self.train_pairs), self.train_labels)
        penalty = sum((p**2).sum() for p in self.params)
        self.optimiser.zero_grad()
        (loss + self.l2 * penalty).backward()
        self.optimiser.step()
        self.schedule.step()
        return loss.detach()

    def train(self, updates: int) -> float:
        """So many updates, with a look at the test set every CHUNK of them; returns how many."""
        torch = self.torch
        for _ in range(updates):
            self.losses.append(self.step())
            self.updates += 1
            if self.updates % CHUNK == 0:
                with torch.no_grad():
                    right = self.logits(self.test_pairs).argmax(1) == self.test_labels
                    self.test_accuracy = float(right.float().mean())
        return float(updates)


# Both sides --------------------------------------------------------------------------------------


def _spec(order: int = ORDER, d: int = EMBED, m: int = WIDTH) -> ModelSpec:
    from shared.groups.networks import ModelSpec

    return ModelSpec("embed_concat", order, d_embed=d, width=m)


def _state(spec: ModelSpec, steps: int, seed: int) -> tuple[TrainState, Any]:
    """A fresh network on Z_n, and how it is trained."""
    from shared.gpu.seeds import seed_keys
    from shared.groups.group import cyclic
    from shared.groups.task import CayleyTask, stacked_labels, train_masks
    from shared.groups.training import TrainSpec, init_train

    task, tspec = CayleyTask(cyclic(spec.order)), TrainSpec(steps)
    keys = seed_keys([seed], "network")
    masks = train_masks(task, [seed])
    return init_train(keys, spec, tspec, masks, stacked_labels(task, 1)), tspec


def _loop(state: TrainState, steps: int) -> TorchLoop:
    from shared.groups.training import network_params

    mask, labels = np.asarray(state.mask[0]), np.asarray(state.labels[0])
    return TorchLoop(network_params(state.params, 0), mask, labels, steps)


def check_equal(order: int = ORDER, d: int = EMBED, m: int = WIDTH) -> None:
    """Raise AssertionError unless both sides have the same gradients and the same first losses."""
    import jax

    from shared.groups.loss import grid_loss
    from shared.groups.training import network_params, train_chunk

    spec, steps = _spec(order, d, m), 20
    state, tspec = _state(spec, steps, seed=0)
    loop = _loop(state, steps)
    params = network_params(state.params, 0)
    gradient, _ = grid_loss(params, spec, state.labels[0], state.mask[0])
    ours = jax.tree.map(lambda g, p: np.asarray(g) + 2 * loop.l2 * p, gradient, params)
    loop.step()
    theirs = {"E": loop.embed, "b": loop.bias, "U": loop.readout}
    theirs |= {"W_a": loop.weight[:d], "W_b": loop.weight[d:]}
    grads = {"E": loop.embed.grad, "b": loop.bias.grad, "U": loop.readout.grad}
    grads |= {"W_a": loop.weight.grad[:d], "W_b": loop.weight.grad[d:]}
    for name, grad in grads.items():
        scale = np.abs(ours[name]).max()
        np.testing.assert_allclose(ours[name], grad.numpy(), rtol=1e-4, atol=1e-5 * scale)
    for _ in range(steps - 1):
        state, _ = train_chunk(state, spec, tspec, 1)
        loop.step()
    _, metrics = train_chunk(state, spec, tspec, 1)
    last = loop.torch.nn.functional.cross_entropy(loop.logits(loop.train_pairs), loop.train_labels)
    np.testing.assert_allclose(float(metrics["train_loss"][0]), float(last.detach()), rtol=1e-4)


@functools.cache
def check_quality(steps: int = STEPS) -> tuple[FirstLayer, FirstLayer]:
    """Raise AssertionError unless both sides end with 100 % of the test pairs right.

    Returns:
        The trained first layers, ours and the yardstick's, for a paper's own idea of quality.
    """
    from shared.groups.training import train_chunk

    state, tspec = _state(_spec(), steps, seed=0)
    loop = _loop(state, steps)
    state, metrics = train_chunk(state, _spec(), tspec, steps)
    assert float(metrics["test_accuracy"][0]) == 1.0
    loop.train(steps)
    assert loop.test_accuracy == 1.0
    return first_layers(state, loop)


def first_layers(state: TrainState, loop: TorchLoop) -> tuple[FirstLayer, FirstLayer]:
    """The first layer of the first network of `state`, and that of the yardstick's."""
    from shared.groups.networks import additive_parts
    from shared.groups.training import network_params

    order, d = (int(size) for size in loop.embed.shape)
    spec = _spec(order, d, int(loop.bias.shape[0]))
    left, right, bias = additive_parts(network_params(state.params, 0), spec)
    embed, weight, shift = (x.detach().numpy() for x in (loop.embed, loop.weight, loop.bias))
    return (
        (np.asarray(left + bias, np.float64), np.asarray(right, np.float64)),
        (embed @ weight[:d] + shift, embed @ weight[d:]),
    )


def _ours() -> tuple[Any, float]:
    """A function that trains a network for so many updates, warmed up; and compile time."""
    import jax

    from shared.groups.training import train_chunk

    state, tspec = _state(_spec(), STEPS, seed=0)
    start = time.perf_counter()
    state, _ = jax.block_until_ready(train_chunk(state, _spec(), tspec, CHUNK))
    compiled = time.perf_counter() - start

    def train(updates: int) -> float:
        nonlocal state
        for _ in range(updates // CHUNK):
            state, _ = train_chunk(state, _spec(), tspec, CHUNK)
        jax.block_until_ready(state.params)
        return float(updates)

    train(CHUNK)
    return train, compiled


def _sized(train: Any, updates: int, multiple: int) -> Any:
    """`train` for about SECONDS, found by trying `updates`."""
    start = time.perf_counter()
    train(updates)
    wanted = updates * SECONDS / (time.perf_counter() - start)
    return functools.partial(train, max(multiple, round(wanted / multiple) * multiple))


def one_core() -> Contest:
    """One network after another on one core, on both sides."""
    check_equal()
    check_quality()
    train, compiled = _ours()
    loop = _loop(_state(_spec(), STEPS, seed=0)[0], STEPS)
    loop.torch.set_num_threads(1)
    return Contest(_sized(train, CHUNK, CHUNK), _sized(loop.train, 50, 1), compiled)


def two_cores() -> Contest:
    """A network on each of two cores, against PyTorch with two threads on the same two."""
    check_equal()
    check_quality()
    cores = sorted(os.sched_getaffinity(0))[-2:]
    workers = [_Worker(core) for core in cores]
    compiled = max(worker.wait() for worker in workers)
    loop = _loop(_state(_spec(), STEPS, seed=0)[0], STEPS)
    loop.torch.set_num_threads(2)

    def ours(updates: int) -> float:
        for worker in workers:
            worker.start(updates)
        return sum(worker.wait() for worker in workers)

    return Contest(_sized(ours, CHUNK, CHUNK), _sized(loop.train, 50, 1), compiled)


class _Worker:
    """A process on one core that trains a network whenever it is told to."""

    def __init__(self, core: int) -> None:
        command = [sys.executable, "-m", "shared.groups.yardstick", str(core)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, updates: int) -> None:
        assert self.process.stdin is not None
        print(updates, file=self.process.stdin, flush=True)

    def wait(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


def _serve(core: int) -> None:
    os.sched_setaffinity(0, {core})
    train, compiled = _ours()
    print(compiled, flush=True)
    for line in sys.stdin:  # ends when the parent does
        print(train(int(line)), flush=True)


def entry(cores: int = 1) -> Entry:
    """The speed claim of the core, on one core or on two, for a paper's bench.py."""
    where = "one core" if cores == 1 else "two cores"
    name = f"training of embed_concat on Z{ORDER}, width {WIDTH}, {where}"
    yardstick = f"PyTorch, one full-batch loop, {cores} thread{'s' if cores > 1 else ''}"
    prepare = one_core if cores == 1 else two_cores
    return Entry(name, yardstick, "updates", 5.0, prepare, cores)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
