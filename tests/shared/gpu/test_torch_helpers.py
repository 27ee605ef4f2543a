"""PyTorch's device and compiler, with a stand-in where a GPU would be needed."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest

from shared.experiment.errors import BadInput, MissingExtra
from shared.gpu.torch_helpers import compile_torch, torch_device


def stand_in(monkeypatch, gpu: bool):
    """A torch module that has, or has not, a GPU."""
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: gpu),
        device=lambda kind: SimpleNamespace(type=kind),
        compile=partial,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.mark.parametrize(
    ("asked", "gpu", "expected"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_choice(monkeypatch, asked, gpu, expected):
    stand_in(monkeypatch, gpu)
    assert torch_device(asked).type == expected


def test_refusals(monkeypatch):
    stand_in(monkeypatch, gpu=False)
    with pytest.raises(BadInput, match="PyTorch finds no GPU"):
        torch_device("gpu")
    with pytest.raises(BadInput, match="Unknown device 'cuda'"):
        torch_device("cuda")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="uv sync --extra torch"):
        torch_device("cpu")


def test_compiles_on_a_gpu_only(monkeypatch):
    stand_in(monkeypatch, gpu=True)
    compiled = compile_torch(abs, torch_device("gpu"))
    assert isinstance(compiled, partial)
    assert compiled.func is abs
    assert compile_torch(abs, torch_device("cpu")) is abs


@pytest.mark.xdist_group("torch")
def test_the_real_torch():
    torch = pytest.importorskip("torch")
    assert torch_device("cpu") == torch.device("cpu")
