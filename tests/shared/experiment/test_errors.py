"""A configuration value that cannot be used is refused in the words of the command line."""

from __future__ import annotations

import pytest

from shared.experiment.errors import BadInput, require


def test_a_good_value_passes() -> None:
    require(True, "train_share", 0.5, "between 0 and 1")


def test_a_bad_value_is_named_as_its_option() -> None:
    with pytest.raises(BadInput, match=r"^train-share must be between 0 and 1; got 3\.$"):
        require(False, "train_share", 3, "between 0 and 1")
