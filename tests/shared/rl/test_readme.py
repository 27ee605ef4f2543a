"""The page's example does what it says."""

import re
from pathlib import Path

import jax
import numpy as np

import shared.rl


def test_example(capsys):
    page = Path(shared.rl.__file__).with_name("README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    with jax.numpy_dtype_promotion("strict"):
        exec(example, names)
    np.testing.assert_allclose(
        names["learner"].act(names["state"].learner, names["state"].obs), 0.5, atol=0.1
    )
    assert capsys.readouterr().out.count("\n") >= 1


def test_lazy_names_exist():
    for name in dir(shared.rl):
        assert getattr(shared.rl, name) is not None
