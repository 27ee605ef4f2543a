"""Device choice, precision and report; the compile cache in real processes."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from shared.experiment.errors import BadInput, ExperimentError, MissingExtra
from shared.gpu import devices
from shared.gpu.devices import as_text, memory_bytes, publish_cache, setup, torch_setup

ROOT = Path(__file__).parents[3]
SETTINGS = (
    "jax_platforms",
    "jax_default_matmul_precision",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_enable_xla_caches",
)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path):
    """A cache of this test's own, and JAX's settings put back afterwards."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("CORROBORATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("precision", ["highest", "high", "default"])
def test_setup_sets_reports_and_logs_what_it_chose(precision, caplog, tmp_path):
    caplog.set_level(logging.INFO, logger="shared.gpu.devices")
    report = setup("auto", precision)
    assert jax.config.jax_default_matmul_precision == precision
    assert set(report) == {
        "platform", "kind", "count", "memory_bytes", "precision", "jax", "cache",
    }  # fmt: skip
    assert report["platform"] == jax.default_backend()
    assert report["count"] == len(jax.local_devices())
    assert report["precision"] == precision
    assert report["jax"] == jax.__version__
    assert Path(report["cache"]).is_relative_to(tmp_path / "cache")
    json.dumps(report)
    assert as_text(report) in caplog.text


def test_setup_asks_for_whole_vectors_unless_the_user_has_chosen(monkeypatch):
    name = "--xla_cpu_prefer_vector_width"
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    setup()
    setup()
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_force_host_platform_device_count=2",
        f"{name}=512",
    ]
    monkeypatch.setenv("XLA_FLAGS", f"{name}=128")
    setup()
    assert os.environ["XLA_FLAGS"] == f"{name}=128"


def test_setup_twice_keeps_the_folder():
    setup()
    first = jax.config.jax_compilation_cache_dir
    setup()
    assert jax.config.jax_compilation_cache_dir == first
    (Path(first) / "a-cache").write_bytes(b"one")
    assert publish_cache() == 1


def test_the_cache_can_be_off_unwritable_or_the_users_own(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CORROBORATE_CACHE", "off")
    assert setup()["cache"] is None
    assert jax.config.jax_compilation_cache_dir is None
    assert publish_cache() == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CORROBORATE_CACHE", str(tmp_path / "file"))
    assert setup()["cache"] is None
    assert "No compile cache" in caplog.text
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    assert setup()["cache"] == str(tmp_path / "mine")


def test_unknown_values_are_refused_in_a_sentence():
    with pytest.raises(BadInput, match="Unknown device 'tpu': allowed are auto, cpu and gpu"):
        setup("tpu")
    with pytest.raises(BadInput, match="Unknown precision 'low': allowed are highest, high"):
        setup("cpu", "low")
    with pytest.raises(BadInput, match="Unknown precision 'low'"):
        torch_setup("low")


def test_a_missing_gpu_is_said_with_the_command_that_helps(monkeypatch):
    def none(*_: object) -> list[object]:
        raise RuntimeError("Unknown backend: 'gpu' requested")

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(BadInput, match=r"No GPU was found.*`uv sync --group cuda13`"):
        setup("gpu")


def test_a_device_chosen_too_late_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(ExperimentError, match="already started JAX on tpu"):
        setup("cpu")


def test_text_by_hand():
    report = {
        "platform": "gpu", "kind": "NVIDIA H200", "count": 2, "memory_bytes": 3 * 2**29,
        "precision": "highest", "jax": "0.10.2", "cache": None,
    }  # fmt: skip
    expected = "2 x NVIDIA H200 (gpu, 1.5 GiB), float32 products: highest, JAX 0.10.2"
    assert as_text(report) == expected
    assert as_text(report | {"memory_bytes": None}) == expected.replace(", 1.5 GiB", "")


def test_memory_is_the_smallest_limit(monkeypatch):
    cpu = jax.devices("cpu")[0]
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(devices, "_container_limits", list)
    assert memory_bytes(cpu) == 4096000
    monkeypatch.setattr(devices, "_container_limits", lambda: [5000, 7000])
    assert memory_bytes(cpu) == 5000


@pytest.mark.xdist_group("torch")  # one test process imports it, not each
def test_torch_gets_the_same_precision():
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for precision, matmul, tf32 in [
            ("default", "high", True),
            ("high", "high", True),
            ("highest", "highest", False),
        ]:
            assert torch_setup(precision)["torch_matmul"] == matmul
            assert torch.get_float32_matmul_precision() == matmul
            assert torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_missing_torch_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="uv sync --extra torch"):
        torch_setup()


def test_importing_is_cheap():
    code = (
        "import sys, shared.gpu, shared.gpu.devices\n"
        "assert callable(shared.gpu.setup) and callable(shared.gpu.torch_device)\n"
        "print(sorted({'jax', 'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


PROGRAM = """
import jax, jax.monitoring, jax.numpy as jnp
from shared.gpu import devices
hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
devices.COMPILE_SECONDS_WORTH_KEEPING = 0.0
devices.setup("cpu")
step = lambda x, _: (jnp.tanh(x @ x) + jnp.sort(x, axis=0), x.sum())
x = jax.jit(lambda x: jax.lax.scan(step, x, length=5)[0])(jnp.ones((8, 8)) / 8)
print(len(hits), x.tobytes().hex() if hasattr(x, "tobytes") else memoryview(x).hex())
"""


def test_processes_share_the_cache_and_compute_the_same(tmp_path):
    """Two at once, then a third that finds what they compiled; nothing on stderr."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        hits, numbers = out.split()
        return hits, numbers

    first, second = [finish(process) for process in [start(), start()]]
    third = finish(start())
    assert first[1] == second[1] == third[1]
    assert int(third[0]) > 0
    entries = list((tmp_path / "cache").glob("jax/*/entries/*-cache"))
    assert entries
    assert not list((tmp_path / "cache").glob("jax/*/private/*"))
