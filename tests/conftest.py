"""Strict settings for every test: promotions explicit, shapes checked, no network, two devices."""

import os
import socket
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # pytest-xdist already fills the cores

import jaxtyping

jaxtyping.install_import_hook(["papers", "shared", "tools"], "beartype.beartype")

import jax  # noqa: E402 - after the import hook
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))


def _local_only(connect: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: socket.socket, address: object) -> Any:
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        here = ("127.0.0.1", "::1", "localhost")
        if inet and isinstance(address, tuple) and address[0] not in here:
            raise RuntimeError(f"a test tried to reach {address}: no network at run time")
        return connect(self, address)

    return checked


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measure and do not assert (`record_property`): seconds of smoke runs."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    notes = {note for report in reports for note in getattr(report, "user_properties", ())}
    for name, value in sorted(notes):
        terminalreporter.write_line(f"{name}: {value}")
