"""Groups that several test files use, and the quaternion group from its table."""

from functools import cache

import numpy as np

from shared.groups.group import Group, from_table, parse

UNITS = {  # i j = k, j k = i, k i = j; entries are (sign, unit)
    "1": {"1": (1, "1"), "i": (1, "i"), "j": (1, "j"), "k": (1, "k")},
    "i": {"1": (1, "i"), "i": (-1, "1"), "j": (1, "k"), "k": (-1, "j")},
    "j": {"1": (1, "j"), "i": (-1, "k"), "j": (-1, "1"), "k": (1, "i")},
    "k": {"1": (1, "k"), "i": (1, "j"), "j": (-1, "i"), "k": (-1, "1")},
}
QUATERNIONS = [(sign, unit) for unit in "1ijk" for sign in (1, -1)]  # 1, -1, i, -i, j, -j, k, -k
SMALL = ["Z2", "Z7", "Z12", "D3", "D4", "D7", "D12", "Z4xZ9", "Z2xZ2xZ3", "D3xZ4", "S3", "S4",
         "A4", "A5", "SL(2,3)", "Q8"]  # fmt: skip


def quaternion_table() -> np.ndarray:
    table = np.empty((8, 8), int)
    for a, (sign_a, unit_a) in enumerate(QUATERNIONS):
        for b, (sign_b, unit_b) in enumerate(QUATERNIONS):
            sign, unit = UNITS[unit_a][unit_b]
            table[a, b] = QUATERNIONS.index((sign * sign_a * sign_b, unit))
    return table


@cache
def group(name: str) -> Group:
    """One object per name, so that its irreps are computed once a test run."""
    if name == "Q8":
        return from_table(quaternion_table(), "Q8", ["1", "-1", "i", "-i", "j", "-j", "k", "-k"])
    return parse(name)


@cache
def from_its_table(name: str) -> Group:
    """The same group, its family forgotten: everything is computed from the table."""
    known = group(name)
    return from_table(known.table, f"{name} from its table", known.elements)
