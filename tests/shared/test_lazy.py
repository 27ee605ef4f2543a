"""Re-exported names import their modules only when asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import papers.superiority
from shared import lazy


def test_a_name_comes_from_the_module_that_defines_it() -> None:
    get = lazy.getter("papers.superiority", {"Config": "config"})
    assert get("Config") is papers.superiority.Config


def test_any_other_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"module 'papers.superiority' has no attribute 'nob'"):
        lazy.getter("papers.superiority", {"Config": "config"})("nob")


def test_importing_a_room_does_not_import_jax() -> None:
    check = "import sys, papers.superiority as s; s.Config; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
