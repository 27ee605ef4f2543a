"""A checkpoint gives back exactly what was saved, or says which file is damaged."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from shared.experiment import checkpoint
from shared.experiment.errors import Damaged, ExperimentError

REPOSITORY = Path(__file__).resolve().parents[3]


def state_of_everything(seed: int) -> dict[str, Any]:
    """One leaf of every kind that a training state may hold."""
    key = jax.random.key(seed)
    network = eqx.nn.MLP(2, 3, 4, depth=1, activation=jax.nn.tanh, key=key)
    arrays, _ = eqx.partition(network, eqx.is_array)
    return {
        "network": network,
        "optimiser": optax.adam(0.1).init(arrays),
        "keys": (jax.random.split(key, 3), jax.random.key(seed, impl="rbg")),
        "bits": np.random.PCG64(seed).state,  # Python integers of 128 bits
        "numpy": {
            "state": np.array([2**64 - 1 - seed], np.uint64),
            "scalar": np.float32(seed + 0.1),
            "complex": np.array([1j * seed, 2.0]),
            "strided": np.arange(12.0).reshape(3, 4)[:, ::2] + seed,
            "big_endian": np.arange(3, dtype=">i4") + seed,
        },
        "narrow": jnp.arange(3, dtype=jnp.bfloat16) + seed,
        "tiny": np.array([0.5, -1.5], ml_dtypes.float8_e4m3fn),
        "weak": (jnp.asarray(seed), jnp.broadcast_to(jnp.asarray(seed + 0.5), (2,))),
        "empty": jnp.zeros((0, 3)),
        "mask": jnp.array([True, False]),
        "python": (seed, seed + 0.1, seed > 0, "text", complex(0, seed), float("nan"), -0.0),
        "none": None,
    }


def assert_same_leaf(a: Any, b: Any) -> None:
    """Equal type, dtype, shape, weak type and bits."""
    assert type(a) is type(b)
    if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        assert a.dtype == b.dtype
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    if isinstance(a, jax.Array | np.ndarray | np.generic):
        assert getattr(a, "weak_type", None) == getattr(b, "weak_type", None)
        assert a.shape == b.shape and a.dtype.newbyteorder("=") == b.dtype
        assert np.asarray(a).astype(b.dtype).tobytes() == np.asarray(b).tobytes()
    else:
        assert repr(a) == repr(b)


def newest(folder: Path, ending: str) -> Path:
    return max(folder.glob(f"*.{ending}"))


def save_three(folder: Path) -> None:
    for step in (10, 20, 30):
        checkpoint.save(folder, step, {"w": jnp.full(3, float(step))}, {"step": step})


def test_every_kind_of_leaf_comes_back_as_it_was(tmp_path: Path) -> None:
    state = state_of_everything(3)
    past = {"loss": np.arange(4, dtype=np.float32), "bf": np.ones(2, ml_dtypes.bfloat16)}
    checkpoint.save(tmp_path, 7, state, {"note": "é", "n": [1, 2]}, past)
    back = checkpoint.restore(tmp_path, state_of_everything(0))
    assert back is not None
    assert (back.step, back.meta, back.damaged) == (7, {"note": "é", "n": [1, 2]}, [])
    assert jax.tree.structure(back.state) == jax.tree.structure(state)
    jax.tree.map(assert_same_leaf, state, back.state)
    assert back.arrays["loss"].tobytes() == past["loss"].tobytes()
    assert back.arrays["bf"].dtype == past["bf"].dtype
    back.state["numpy"]["strided"][0] = 5.0  # writable, as it was
    x = jnp.array([0.3, -0.2])
    np.testing.assert_array_equal(back.state["network"](x), state["network"](x))
    draw = [jax.random.normal(s["keys"][0][1]) for s in (state, back.state)]
    assert draw[0] == draw[1]


def test_restored_arrays_follow_the_sharding_of_the_template(tmp_path: Path) -> None:
    devices = jax.devices()
    assert len(devices) == 2
    mesh = jax.sharding.Mesh(np.array(devices), ("seeds",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
    place = lambda x: jax.device_put(x, sharding)  # noqa: E731
    saved = {"w": place(jnp.arange(4.0)), "k": place(jax.random.split(jax.random.key(1), 2))}
    checkpoint.save(tmp_path, 1, saved, {})
    template = {"w": place(jnp.zeros(4)), "k": place(jax.random.split(jax.random.key(0), 2))}
    back = checkpoint.restore(tmp_path, template)
    assert back is not None
    assert back.state["w"].sharding == sharding and back.state["k"].sharding == sharding
    jax.tree.map(assert_same_leaf, saved, back.state)


def test_restored_state_may_be_donated_and_the_files_stay_good(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.arange(1000.0)}, {})
    template = {"w": jnp.zeros(1000)}
    first = checkpoint.restore(tmp_path, template)
    assert first is not None
    jax.jit(lambda s: {"w": s["w"] * 0 - 1}, donate_argnums=0)(first.state)
    second = checkpoint.restore(tmp_path, template)
    assert second is not None and second.damaged == []
    np.testing.assert_array_equal(second.state["w"], np.arange(1000.0))


def test_two_are_kept_and_equal_states_give_equal_files(tmp_path: Path) -> None:
    assert checkpoint.restore(tmp_path / "none", {}) is None
    for name in ("a", "b"):
        save_three(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{s:012d}.{e}" for s in (20, 30) for e in ("json", "safetensors")]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    checkpoint.discard(tmp_path / "a")
    assert not (tmp_path / "a").exists()


# Damage -------------------------------------------------------------------------------------------


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


DAMAGES = {
    "truncated arrays": ("safetensors", lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes"),
    "emptied arrays": ("safetensors", lambda p: p.write_bytes(b""), "0 bytes instead of"),
    "flipped bit in an array": ("safetensors", lambda p: flip(p, -2), "checksum"),
    "flipped bit in the header": ("safetensors", lambda p: flip(p, 12), "checksum"),
    "arrays gone": ("safetensors", lambda p: p.unlink(), "cannot be read"),
    "JSON gone": ("json", lambda p: p.unlink(), "incomplete: 000000000030.json is missing"),
    "JSON truncated": ("json", lambda p: p.write_bytes(p.read_bytes()[:-9]), "damaged"),
    "JSON altered": (
        "json",
        lambda p: p.write_text(p.read_text().replace('"step": 30', '"step": 31')),
        "checksum",
    ),
    "JSON of another format": (
        "json",
        lambda p: p.write_text(p.read_text().replace('"format": 1', '"format": 2')),
        "format 2",
    ),
}


@pytest.mark.parametrize(("ending", "damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, ending: str, damage: Any, words: str
) -> None:
    save_three(tmp_path)
    damage(newest(tmp_path, ending))
    back = checkpoint.restore(tmp_path, {"w": jnp.zeros(3)})
    assert back is not None
    assert back.step == 20 and back.meta == {"step": 20}
    np.testing.assert_array_equal(back.state["w"], np.full(3, 20.0))
    (sentence,) = back.damaged
    assert "000000000030" in sentence and words in sentence and "\n" not in sentence
    # The good one outlives the next save: the damaged one does not count as one of the two.
    checkpoint.save(tmp_path, 40, {"w": jnp.zeros(3)}, {})
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{s:012d}.{e}" for s in (20, 40) for e in ("json", "safetensors")
    }


def test_all_damaged_starts_over_and_says_so(tmp_path: Path) -> None:
    save_three(tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        flip(path, -1)
    template = {"w": jnp.zeros(3)}
    back = checkpoint.restore(tmp_path, template)
    assert back is not None
    assert back.step == 0 and back.state is template and len(back.damaged) == 2
    assert "000000000030" in back.damaged[0] and "000000000020" in back.damaged[1]


DYING_SAVER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from shared.experiment import checkpoint

folder, ending, after = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "after"
replace = os.replace

def dying(source, target):
    if after and str(target).endswith(ending):
        replace(source, target)
    if str(target).endswith(ending):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

for step in (1, 2, 3):
    if step == 3:
        os.replace = dying
    checkpoint.save(folder, step, {"w": np.full(3, float(step))}, {})
"""


@pytest.mark.parametrize(
    ("ending", "when", "expected"),
    [
        ("safetensors", "before", 2),
        ("safetensors", "after", 2),
        ("json", "before", 2),
        ("json", "after", 3),
    ],
)
def test_killed_while_saving(tmp_path: Path, ending: str, when: str, expected: int) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DYING_SAVER, str(tmp_path), ending, when], cwd=REPOSITORY, timeout=60
    )
    assert died.returncode == -signal.SIGKILL
    back = checkpoint.restore(tmp_path, {"w": np.zeros(3)})
    assert back is not None and back.step == expected
    np.testing.assert_array_equal(back.state["w"], np.full(3, float(expected)))
    assert not list(tmp_path.glob(".*")), "temporary files are cleaned"


def test_disk_that_takes_no_more_leaves_the_earlier_checkpoints(tmp_path: Path) -> None:
    save_three(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ExperimentError, match=r"write 000000000040\.safetensors in folder .*"):
            checkpoint.save(tmp_path, 40, {"w": jnp.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in tmp_path.iterdir()} == before
    back = checkpoint.restore(tmp_path, {"w": jnp.zeros(3)})
    assert back is not None and back.step == 30 and back.damaged == []


def test_full_disk_before_the_json_leaves_the_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_three(tmp_path)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ExperimentError, match="No space left on device"):
            checkpoint.save(tmp_path, 40, {"w": jnp.zeros(3)}, {})
    back = checkpoint.restore(tmp_path, {"w": jnp.zeros(3)})
    assert back is not None and back.step == 30 and "incomplete" in back.damaged[0]


# Templates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"w": jnp.zeros(4)}, r"leaf state\['w'\] is float32\[3\] there and float32\[4\] here"),
        ({"w": jnp.zeros(3, jnp.int32)}, r"is float32\[3\] there and int32\[3\] here"),
        ({"w": jnp.zeros(3), "b": 0}, r"the checkpoint has no leaf state\['b'\]"),
        ({"w": None}, r"only the checkpoint has a leaf state\['w'\]"),
        ({"w": jax.random.split(jax.random.key(0), 3)}, r"there and PRNG key \(threefry2x32\)\[3"),
        ({"w": "text"}, r"is float32\[3\] there and str here"),
        ({"w": 1.0}, r"is float32\[3\] there and a number\[\] here"),
        ([jnp.zeros(3)], r"the checkpoint has no leaf state\[0\]"),
    ],
)
def test_state_of_another_make_is_refused_by_name(
    tmp_path: Path, template: Any, words: str
) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(3)}, {})
    with pytest.raises(Damaged, match=words):
        checkpoint.restore(tmp_path, template)
    assert (tmp_path / "000000000001.json").exists(), "nothing is thrown away"


def test_python_numbers_and_numpy_arrays_may_have_become_jax_arrays(tmp_path: Path) -> None:
    template = {"t": 0, "x": np.zeros(2)}
    state = jax.jit(lambda s: {"t": s["t"] + 1, "x": s["x"] + 1})(template)
    checkpoint.save(tmp_path, 1, state, {})
    back = checkpoint.restore(tmp_path, template)
    assert back is not None
    jax.tree.map(assert_same_leaf, state, back.state)


@pytest.mark.parametrize(
    ("leaf", "words"),
    [(object(), "type object"), (np.array([None]), "dtype object"), (np.array("x"), "dtype <U1")],
)
def test_leaf_that_no_file_can_hold(tmp_path: Path, leaf: Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"Leaf state\['a'\].*{words}"):
        checkpoint.save(tmp_path, 1, {"a": leaf}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_json_describes_each_leaf(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, {"k": jax.random.key(0), "n": 2, "w": jnp.zeros((2, 3))}, {"a": 1})
    record = json.loads((tmp_path / "000000000005.json").read_text())
    assert (record["format"], record["step"], record["meta"]) == (1, 5, {"a": 1})
    assert record["leaves"] == [
        {
            "path": "state['k']",
            "kind": "key",
            "dtype": "uint32",
            "shape": [2],
            "impl": "threefry2x32",
        },
        {"path": "state['n']", "kind": "int", "value": 2},
        {"path": "state['w']", "kind": "jax", "dtype": "float32", "shape": [2, 3]},
    ]
