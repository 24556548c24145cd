"""Reading and writing weight files, and how values are stored in them.

Ours are safetensors whose header holds the fields of `Weights` as JSON under the key `vqmeter`. Storage:

- `fp32`: as they are;
- `fp16`: tensors of two or more dimensions in 16 bits, vectors (biases, batch norm) in 32;
- `int8`: tensors of two or more dimensions and 4096 or more values in 8 bits, one scale for each index of the first
  dimension (an output channel): `KEY` int8 and `KEY.scale` float32, value = int8 * scale; the rest in 32 bits.

Reading gives float32 from each. Other people's files are torch's; they are read with `weights_only`, so that a pickle
which holds anything but tensors and plain values is refused.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from vqmeter.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    M = TypeVar("M", bound=nn.Module)

State: TypeAlias = "dict[str, Tensor]"
Arrays: TypeAlias = "dict[str, NDArray[np.float32]]"
STORES = ("fp32", "fp16", "int8")
QUANTISE_FROM = 4096
KEY = "vqmeter"
WRAPPERS = ("state_dict", "params", "model")  # keys under which published files keep their tensors


def header(path: Path) -> dict[str, Any]:
    """What a file says of itself, {} where it is not one of ours. Of safetensors no tensors are read."""
    if path.suffix != ".safetensors":
        return read(path)[1]
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return _parse(path, (file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise WeightsError(f"{path}: what it says of itself is not a JSON object") from None


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """The float32 tensors of a file, and what it says of itself ({} for other people's files).

    Raises
        WeightsError: the file cannot be read, is damaged, or holds something else than tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        said = header(path)
        return _unpack(load_file(path)), said
    values = _read_torch(path)
    said = _parse(path, values[KEY]) if isinstance(values.get(KEY), str) else {}
    for wrapper in WRAPPERS:
        values = values[wrapper] if isinstance(values.get(wrapper), dict) else values
    state = {str(key).removeprefix("module."): value for key, value in values.items()}
    if not state or not all(hasattr(value, "dtype") for value in state.values()):
        raise WeightsError(f"{path}: holds no state dict (its keys: {', '.join(map(str, list(values)[:6])) or 'none'})")
    return _unpack(state), said


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """As `read`, as NumPy arrays; of safetensors without torch, which takes a second to import.

    Raises
        WeightsError: as `read`.
    """
    if path.suffix != ".safetensors":
        state, said = read(path)
        return {key: value.float().numpy() for key, value in state.items()}, said
    from safetensors.numpy import load_file

    said, stored = header(path), load_file(path)
    scales, arrays = _scales(stored), {}
    for key in (key for key in stored if key not in scales):
        arrays[key] = stored[key].astype("float32")
        if f"{key}.scale" in scales:
            arrays[key] *= stored[f"{key}.scale"].reshape(-1, *[1] * (arrays[key].ndim - 1))
    return arrays, said


def _read_torch(path: Path) -> dict[Any, Any]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: of storage types and source code
            values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(f"{path}: refused, a pickle that holds more than tensors, or no torch file at all") from None
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise WeightsError(f"{path}: not a whole torch file ({reason})") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: holds a {type(values).__name__}, not a state dict")
    return values


def _scales(state: Mapping[str, Any]) -> set[str]:
    """The keys under which scales of 8-bit tensors are kept."""
    return {f"{key}.scale" for key, value in state.items() if str(value.dtype) in ("int8", "torch.int8")} & state.keys()


def _unpack(state: State) -> State:
    scales = _scales(state)

    def value(key: str, tensor: Tensor) -> Tensor:
        if f"{key}.scale" in scales:
            scale = state[f"{key}.scale"]
            return tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        return tensor.float() if tensor.is_floating_point() else tensor

    return {key: value(key, tensor) for key, tensor in state.items() if key not in scales}


def _pack(state: Mapping[str, Tensor], store: str) -> State:
    import torch

    packed: State = {}
    for key, value in state.items():
        tensor = value.detach().cpu().contiguous()
        if not tensor.is_floating_point():
            packed[key] = tensor
        elif store == "int8" and tensor.dim() > 1 and tensor.numel() >= QUANTISE_FROM:
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
            packed[key] = (rows / scale[:, None]).round().to(torch.int8).view(tensor.shape)
            packed[f"{key}.scale"] = scale
        elif store == "fp16" and tensor.dim() > 1:
            packed[key] = tensor.half()
            if not packed[key].isfinite().all():
                raise WeightsError(f"'{key}' does not fit into 16 bits; store fp32 or int8")
        else:
            packed[key] = tensor.float().clone()
    return packed


def save(path: Path, state: Mapping[str, Tensor], meta: Mapping[str, Any], store: str = "fp32") -> None:
    """Write a file: safetensors, or a torch file (`.pt`, `.pth`, in fp32) holding `state_dict` and `vqmeter`.

    `meta` is fields of `Weights` (`Weights.to_json()`); what only the file can tell (its own hash, path, size) is
    left out. The file appears whole or not at all.
    """
    if store not in STORES:
        raise WeightsError(f"storage '{store}' is none of {', '.join(STORES)}")
    outside = ("sha256", "path", "size", "file", "url", "bundled")
    torch_form = path.suffix in (".pt", ".pth")
    said = {k: v for k, v in meta.items() if k not in outside} | {"store": "fp32" if torch_form else store}
    text = json.dumps(said, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".vqmeter-") as folder:
        part = Path(folder) / path.name
        if torch_form:
            import torch

            torch.save({"state_dict": _pack(state, "fp32"), KEY: text}, part)
        else:
            from safetensors.torch import save_file

            save_file(_pack(state, store), part, {KEY: text})
        part.chmod(0o644)
        part.replace(path)


def build(make: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    """The module that `make` makes, holding exactly `state`, in eval mode and without gradients.

    It is made without memory of its own and takes the tensors over, so nothing of it can be left at random values.

    Raises
        WeightsError: a key or a shape does not fit the module.
    """
    import torch

    with torch.device("meta"):
        module = make()
    try:
        module.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise WeightsError(f"weights do not fit {type(module).__name__}: {' '.join(lines)[:200]}") from None
    module.eval().requires_grad_(False)
    return module
