"""Checkpoints of any pytree: safetensors for its arrays, and JSON beside them, written last.

A checkpoint counts only once its JSON is there and both checksums in it hold, so one that was cut
short or damaged is recognised, named, and the one before it is used.

    <folder>/000000000120.safetensors   the arrays, by their path in the pytree
    <folder>/000000000120.json          step, meta, one record a leaf, checksums (README)

What a leaf comes back as is what it was: a jax array (weak type and the template's sharding
included), a typed PRNG key, a NumPy array or scalar, a Python number or text. Functions, such as
the activation in an Equinox module, are taken from the template.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment.errors import Damaged
from shared.experiment.store import read_json, remove_leftovers, replacing, write_json

if TYPE_CHECKING:
    import numpy as np

KEPT = 2
"""How many checkpoints a folder keeps."""

_FILE = re.compile(r"(\d{12})\.(json|safetensors)(\.damaged)?")
_PYTHON_SCALARS = (bool, int, float, complex)
_IN_SAFETENSORS = ["bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]


@dataclass(frozen=True)
class Restored:
    """What a folder of checkpoints gave back.

    Attributes:
        step: of the checkpoint; 0 when every checkpoint was damaged.
        state: its state; the template when every checkpoint was damaged.
        meta: what was saved with it.
        damaged: one sentence for each checkpoint that was passed over, newest first.
        arrays: the further arrays that were saved with it.
    """

    step: int
    state: Any
    meta: dict[str, Any] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


# Save ---------------------------------------------------------------------------------------------


def save(
    folder: Path,
    step: int,
    state: Any,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Save `state`, JSON values `meta` and NumPy `arrays` as checkpoint `step`; keep two.

    Copies nothing but what lies on another device than the host.

    Raises:
        ExperimentError: disk full, folder not writable; earlier checkpoints stay as they are.
        TypeError: a leaf is of a kind that a checkpoint cannot hold.
    """
    import jax

    paths, leaves = _named_leaves(state)
    records = [_describe(path, leaf) for path, leaf in zip(paths, leaves, strict=True)]
    kept = [record["kind"] in ("jax", "key", "numpy") for record in records]
    on_host = jax.device_get(
        [_raw(leaf) for leaf, wanted in zip(leaves, kept, strict=True) if wanted]
    )
    stored = [path for path, wanted in zip(paths, kept, strict=True) if wanted]
    tensors = {path: _storable(array) for path, array in zip(stored, on_host, strict=True)}
    extra = []
    for name, array in (arrays or {}).items():
        extra.append({"name": name, "shape": list(array.shape), "dtype": array.dtype.name})
        tensors[f"array:{name}"] = _storable(array)
    record = {"step": step, "meta": dict(meta), "leaves": records, "arrays": extra}

    tensor_path, json_path = _files(folder, step)
    with replacing(tensor_path) as temporary:
        _write_safetensors(temporary, tensors)
        size, checksum = temporary.stat().st_size, _sha256(temporary)
    integrity = {"bytes": size, "sha256": checksum, "record_sha256": _record_sha256(record)}
    write_json(json_path, record | integrity)
    _prune(folder, step)


def _write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        system = re.search(r"\(os error (\d+)\)", str(error))
        number = int(system[1]) if system else 0
        raise OSError(number, os.strerror(number) if system else str(error)) from error


def _describe(path: str, leaf: Any) -> dict[str, Any]:
    """The JSON record of one leaf: its kind, and all of its value that is no array."""
    import jax
    import numpy as np

    if _is_key(leaf):
        impl = str(jax.random.key_impl(leaf))
        data = jax.eval_shape(jax.random.key_data, leaf)
        return _array_record(path, "key", data) | {"impl": impl}
    if isinstance(leaf, jax.Array):
        return _array_record(path, "jax", leaf) | ({"weak": True} if leaf.weak_type else {})
    if isinstance(leaf, np.ndarray | np.generic):
        scalar = {"scalar": True} if isinstance(leaf, np.generic) else {}
        return _array_record(path, "numpy", leaf) | scalar
    if type(leaf) in (bool, int, str):
        return {"path": path, "kind": type(leaf).__name__, "value": leaf}
    if type(leaf) is float:
        return {"path": path, "kind": "float", "value": leaf.hex()}
    if type(leaf) is complex:
        return {"path": path, "kind": "complex", "value": [leaf.real.hex(), leaf.imag.hex()]}
    if callable(leaf):
        return {"path": path, "kind": "function"}
    raise TypeError(
        f"Leaf {path} is of type {type(leaf).__name__}, which a checkpoint cannot hold; "
        "use arrays, PRNG keys, numbers or text."
    )


def _array_record(path: str, kind: str, array: Any) -> dict[str, Any]:
    import numpy as np

    numeric = array.dtype.kind in "biufc" or (  # bfloat16 and the like have kind V and a type
        array.dtype.kind == "V" and array.dtype.type is not np.void
    )
    if not numeric:
        raise TypeError(
            f"Leaf {path} has dtype {array.dtype}, which a checkpoint cannot hold; "
            "use numbers or booleans."
        )
    shape = list(array.shape)
    return {"path": path, "kind": kind, "dtype": array.dtype.name, "shape": shape}


def _raw(leaf: Any) -> Any:
    import jax

    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _storable(array: Any) -> np.ndarray:
    """`array` contiguous and little-endian; as bytes where safetensors has no such NumPy type."""
    import numpy as np

    array = np.asarray(array)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    if array.dtype.name == "bool" or array.dtype.str[1:] in _IN_SAFETENSORS:
        return array
    return array.reshape(-1).view(np.uint8)


# Restore ------------------------------------------------------------------------------------------


def restore(folder: Path, template: Any) -> Restored | None:
    """The newest undamaged checkpoint of `folder`; None when there is none at all.

    Damaged ones are set aside (`.damaged`) and named in the result.

    Raises:
        Damaged: the checkpoint holds a state of another structure, shape or dtype than `template`.
    """
    remove_leftovers(folder)
    damaged = []
    for step in sorted(_steps(folder), reverse=True):
        try:
            record, tensors = _read(folder, step)
        except Damaged as error:
            damaged.append(str(error))
            _set_aside(folder, step)
            continue
        state = _rebuild(folder, record["leaves"], tensors, template)
        arrays = {
            entry["name"]: _array(tensors[f"array:{entry['name']}"], entry)
            for entry in record["arrays"]
        }
        return Restored(step, state, record["meta"], damaged, arrays)
    return Restored(0, template, damaged=damaged) if damaged else None


def discard(folder: Path) -> None:
    """Remove every checkpoint from `folder`, and the folder if that leaves it empty."""
    remove_leftovers(folder)
    for path in list(folder.iterdir()):
        if _FILE.fullmatch(path.name):
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _read(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    tensor_path, json_path = _files(folder, step)
    if not json_path.exists():
        raise Damaged(f"Checkpoint {tensor_path} is incomplete: {json_path.name} is missing.")
    record = read_json(json_path)
    integrity = {name: record.pop(name, None) for name in ("bytes", "sha256", "record_sha256")}
    record.pop("format")
    if _record_sha256(record) != integrity["record_sha256"] or record["step"] != step:
        raise Damaged(f"Checkpoint {json_path} is damaged: its checksum does not match.")
    try:
        size = tensor_path.stat().st_size
        if size != integrity["bytes"]:
            raise Damaged(
                f"Checkpoint {tensor_path} is damaged: it has {size} bytes instead of "
                f"{integrity['bytes']}."
            )
        if _sha256(tensor_path) != integrity["sha256"]:
            raise Damaged(f"Checkpoint {tensor_path} is damaged: its checksum does not match.")
        return record, load_file(tensor_path)
    except (OSError, SafetensorError) as error:
        raise Damaged(f"Checkpoint {tensor_path} cannot be read: {error}.") from error


def _rebuild(
    folder: Path, records: list[dict[str, Any]], tensors: Mapping[str, np.ndarray], template: Any
) -> Any:
    import jax

    paths, leaves = _named_leaves(template)
    saved = {record["path"]: record for record in records}
    for path in [*paths, *saved]:
        if path not in saved or path not in paths:
            where = "the checkpoint has no" if path in paths else "only the checkpoint has a"
            raise _mismatch(folder, f"{where} leaf {path}")
    rebuilt = []
    for path, leaf in zip(paths, leaves, strict=True):
        there, here = _layout(saved[path]), _layout(_describe(path, leaf))
        if not all(a == b or None in (a, b) for a, b in zip(there, here, strict=True)):
            raise _mismatch(folder, f"leaf {path} is {_words(there)} there and {_words(here)} here")
        rebuilt.append(_leaf(saved[path], tensors.get(path), leaf))
    return jax.tree.unflatten(jax.tree.structure(template), rebuilt)


def _mismatch(folder: Path, what: str) -> Damaged:
    return Damaged(
        f"The checkpoints in {folder} do not fit this run: {what}; other code or another "
        "configuration saved them."
    )


def _layout(record: Mapping[str, Any]) -> tuple[str, tuple[int, ...] | None, str | None]:
    """(family, shape, dtype) of a leaf; None where anything fits.

    Python numbers and weakly typed arrays take their dtype from what they meet, and NumPy arrays
    lose 64 bits on the way through jax, so a state may change these in its first step.
    """
    import jax

    kind = record["kind"]
    if kind == "key":
        return f"PRNG key ({record['impl']})", tuple(record["shape"]), None
    if kind in ("jax", "numpy"):
        narrow = jax.dtypes.canonicalize_dtype(jax.numpy.dtype(record["dtype"]))
        return "array", tuple(record["shape"]), None if record.get("weak") else narrow.name
    if kind in (scalar.__name__ for scalar in _PYTHON_SCALARS):
        return "array", (), None
    return kind, None, None


def _words(layout: tuple[str, tuple[int, ...] | None, str | None]) -> str:
    family, shape, dtype = layout
    if shape is None:
        return family
    return f"{family if family != 'array' else dtype or 'a number'}[{', '.join(map(str, shape))}]"


def _leaf(record: Mapping[str, Any], tensor: np.ndarray | None, template: Any) -> Any:
    """The leaf that `record` describes, placed where the template's leaf is."""
    import jax
    import jax.numpy as jnp

    kind, value = record["kind"], record.get("value", "")
    if kind == "function":
        return template
    if kind == "float":
        return float.fromhex(value)
    if kind == "complex":
        return complex(*(float.fromhex(part) for part in value))
    if tensor is None:
        return value
    array = _array(tensor, record)
    if kind == "numpy":
        return array[()] if record.get("scalar") else array
    if record.get("weak"):
        # A Python number is the one public way to a weak type; such arrays are counters, tiny.
        weak = [jnp.asarray(number) for number in array.reshape(-1).tolist()]
        placed = jnp.stack(weak).reshape(array.shape) if weak else jnp.asarray(array)
    else:
        placed = jnp.asarray(array)
    if kind == "key":
        placed = jax.random.wrap_key_data(placed, impl=record["impl"])
    committed = isinstance(template, jax.Array) and template.committed
    return jax.device_put(placed, template.sharding) if committed else placed


def _array(tensor: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """The writable array that was stored as `tensor`."""
    import jax.numpy as jnp
    import numpy as np

    dtype = jnp.dtype(record["dtype"])
    if tensor.dtype != dtype:
        tensor = tensor.view(dtype).reshape(record["shape"])
    return np.require(tensor, requirements="W")


# Names and files ----------------------------------------------------------------------------------


def _named_leaves(tree: Any) -> tuple[list[str], list[Any]]:
    """Paths such as `state['params'].layers[0].weight`, and the leaves, in the tree's order."""
    import jax

    entries = jax.tree_util.tree_leaves_with_path(tree)
    return [f"state{jax.tree_util.keystr(path)}" for path, _ in entries], [x for _, x in entries]


def _files(folder: Path, step: int) -> tuple[Path, Path]:
    return folder / f"{step:012d}.safetensors", folder / f"{step:012d}.json"


def _steps(folder: Path) -> set[int]:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {int(m[1]) for m in map(_FILE.fullmatch, names) if m and not m[3]}


def _set_aside(folder: Path, step: int) -> None:
    for path in _files(folder, step):
        with suppress(OSError):
            path.rename(path.with_name(path.name + ".damaged"))


def _prune(folder: Path, step: int) -> None:
    """Keep `step` and the newest before it; what is later belongs to a run that was undone."""
    older = sorted(s for s in _steps(folder) if s < step)
    keep = {step, *older[len(older) - KEPT + 1 :]}
    for path in sorted(folder.iterdir()):  # a JSON goes before its arrays
        match = _FILE.fullmatch(path.name)
        if match and (match[3] or int(match[1]) not in keep):
            with suppress(OSError):
                path.unlink()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
