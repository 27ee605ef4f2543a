"""Which device a run uses, at which matmul precision, with which compile cache: said, not assumed.

`setup` is called once per process, before the first JAX computation.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from shared.experiment.errors import BadInput, ExperimentError
from shared.gpu import cache

Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["highest", "high", "default"]

CPU_COMPILER_OPTIONS: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512}
"""What a run asks of XLA's CPU compiler beyond its defaults."""

COMPILE_SECONDS_WORTH_KEEPING = 0.2
_NO_GPU = (
    "No GPU was found: install JAX for CUDA with `uv sync --group cuda13` (`--group cuda12` for an "
    "older driver), or choose the device cpu."
)
log = logging.getLogger(__name__)


def setup(device: str = "auto", precision: str = "highest") -> dict[str, Any]:
    """Choose the platform, set float32 matmul precision, turn on the compile cache.

    Args:
        device: `auto` takes a GPU where JAX finds one (JAX_PLATFORMS may narrow that); `cpu` and
            `gpu` insist.
        precision: of float32 matrix products. `highest` is float32; on a GPU `high` and `default`
            allow TF32 (10 bits of mantissa), on a CPU all three are float32.

    Returns:
        platform ("cpu", "gpu", "tpu"), kind (model name), count (local devices), memory_bytes (of
        one device; of the machine for a CPU), precision, jax (version), cache (folder or None).

    Raises:
        BadInput: an unknown value, or no such device.
        ExperimentError: JAX already runs on another device in this process.
    """
    import jax

    if device not in get_args(Device):
        raise BadInput(f"Unknown device {device!r}: allowed are auto, cpu and gpu.")
    if precision not in get_args(Precision):
        raise BadInput(f"Unknown precision {precision!r}: allowed are highest, high and default.")
    _use_whole_vectors()
    _choose_platform(device)
    jax.config.update("jax_default_matmul_precision", precision)
    folder = _turn_on_cache()
    first = jax.local_devices()[0]
    report = {
        "platform": first.platform,
        "kind": cache.cpu_model() if first.platform == "cpu" else first.device_kind,
        "count": jax.local_device_count(),
        "memory_bytes": memory_bytes(first),
        "precision": precision,
        "jax": jax.__version__,
        "cache": None if folder is None else str(folder),
    }
    log.info("%s", as_text(report))
    return report


def as_text(report: dict[str, Any]) -> str:
    """A device report in a line: `1 x NVIDIA H200 (gpu, 139.8 GiB), float32 products: highest`."""
    memory = report["memory_bytes"]
    size = f", {memory / 2**30:.1f} GiB" if memory else ""
    return (
        f"{report['count']} x {report['kind']} ({report['platform']}{size}), "
        f"float32 products: {report['precision']}, JAX {report['jax']}"
    )


def torch_setup(precision: str = "highest") -> dict[str, Any]:
    """Set float32 precision for PyTorch as `setup` does for JAX; returns what was set.

    `default` and `high` both mean TF32, which is what JAX's default means on an NVIDIA GPU.
    Raises BadInput on an unknown value, MissingExtra without PyTorch.
    """
    from shared.gpu.torch_helpers import import_torch

    if precision not in get_args(Precision):
        raise BadInput(f"Unknown precision {precision!r}: allowed are highest, high and default.")
    torch = import_torch()
    matmul = "highest" if precision == "highest" else "high"
    torch.set_float32_matmul_precision(matmul)
    # Convolutions have a switch of their own, which PyTorch leaves on.
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    report = {"precision": precision, "torch_matmul": matmul, "torch": torch.__version__}
    log.info("PyTorch %s, float32 products: %s", torch.__version__, matmul)
    return report


def publish_cache() -> int:
    """Give what this process compiled to others now, not only at its end; how many were new.

    Worth a call between tasks, so that a process that is killed later has not compiled in vain.
    """
    root, mine = cache.cache_root(), _jax_cache_folder()
    if root is None or mine is None or not cache.is_own(mine, cache.shared_folder(root)):
        return 0
    with suppress(OSError):
        return cache.publish(Path(mine))
    return 0


def memory_bytes(device: Any) -> int | None:
    """Bytes that one process may use: what JAX's allocator may take, or the machine's memory."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    found = []
    with suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    found.extend(_container_limits())
    return min(found, default=None)


def _use_whole_vectors() -> None:
    """Let XLA use all 512 bits of a CPU's vector registers: it stops at 256 by itself.

    Element-wise kernels take half of the time where a CPU has such registers (Adam and a quantile
    loss of 100 x 100 errors measured); others ignore it. Read by XLA when JAX starts.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    added = [
        f"--{name}={value}" for name, value in CPU_COMPILER_OPTIONS.items() if name not in flags
    ]
    os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()


def _choose_platform(device: str) -> None:
    import jax

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu":
        # Asked for on the command line, it beats JAX_PLATFORMS; the CPU stays usable beside it.
        jax.config.update("jax_platforms", None)
        try:
            jax.devices("gpu")
        except RuntimeError:
            raise BadInput(_NO_GPU) from None
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise BadInput(f"JAX found no usable device: {str(error).splitlines()[0]}") from None
    if device != "auto" and found != device:
        raise ExperimentError(
            f"The device {device} was asked for, but this process has already started JAX on "
            f"{found}: call setup before the first computation."
        )


def _turn_on_cache() -> Path | None:
    """Point JAX at the compile cache; None (and a log line) where it cannot be kept."""
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):  # the user's own arrangement
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    root = cache.cache_root()
    if root is None:
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    shared = cache.shared_folder(root)
    try:
        if not cache.is_own(_jax_cache_folder(), shared):
            mine = cache.open_private(shared)
            jax.config.update("jax_compilation_cache_dir", str(mine))
    except OSError as error:
        log.warning("No compile cache: %s cannot be written (%s).", shared, error.strerror)
        return None
    jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILE_SECONDS_WORTH_KEEPING)
    # XLA's own sub-caches would lie in the private folder and be lost with it.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    return shared


def _jax_cache_folder() -> str | None:
    import jax

    return getattr(jax.config, "jax_compilation_cache_dir", None)


def _container_limits() -> list[int]:
    """Memory limits of this process's control groups (version 2), outermost last."""
    limits = []
    with suppress(OSError):
        line = next(x for x in Path("/proc/self/cgroup").read_text().splitlines() if x[:3] == "0::")
        group = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # "max": no limit here
                limits.append(int((folder / "memory.max").read_text()))
    return limits
