"""Reads the tensors of a PyTorch `.pth` file into numpy, without PyTorch.

It reads the format that `torch.save` wrote before PyTorch 1.6: five pickles, one after another, and then the
numbers. It does not read the later zip format, and it runs no code from the file: a pickle may name only the
few classes in `_ALLOWED`; a file that names another one is rejected.
"""

import collections
import io
import pickle
from typing import BinaryIO

import numpy as np

# The first pickle of a file in this format (torch/serialization.py, MAGIC_NUMBER) and the second (PROTOCOL_VERSION).
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

# Name of the storage class -> little-endian element type.
_STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class _Tensor:
    """A tensor whose numbers have not been read yet: a view into the storage `key`."""

    def __init__(self, storage, offset, shape, strides, *_ignored):
        self.key, self.dtype, self.numel = storage
        self.offset, self.shape, self.strides = offset, shape, strides

    def view(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        """The tensor as a contiguous array."""
        storage = storages[self.key]
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if min((self.offset, *self.shape, *self.strides)) < 0 or (0 not in self.shape and last >= storage.size):
            raise ValueError(f"a tensor of shape {self.shape} does not fit its storage of {storage.size} numbers")
        strides = [stride * storage.itemsize for stride in self.strides]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides))


class _Unpickler(pickle.Unpickler):
    """An unpickler that can make dictionaries, numbers, strings and `_Tensor`s, and nothing else."""

    _ALLOWED = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        **{("torch", name): dtype for name, dtype in _STORAGES.items()},
    }

    def find_class(self, module, name):
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which weights do not need") from None

    def persistent_load(self, pid):
        # ("storage", class, key, device, element count, view metadata)
        kind, dtype, key, _device, numel, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        return key, dtype, numel


def read(data: bytes) -> dict[str, np.ndarray]:
    """The state dictionary in the bytes of a file: parameter name -> array. Raises ValueError or UnpicklingError otherwise."""
    file = io.BytesIO(data)
    magic, protocol, system, state = (_Unpickler(file).load() for _ in range(4))
    if magic != MAGIC_NUMBER or protocol != PROTOCOL_VERSION or not system.get("little_endian"):
        raise ValueError("this is not a little-endian file in PyTorch's format before 1.6")
    types = {tensor.key: (tensor.dtype, tensor.numel) for tensor in state.values()}
    # The fifth pickle lists the storages in the order in which their numbers follow.
    storages = {key: _read_storage(file, *types[key]) for key in _Unpickler(file).load()}
    if file.read(1):
        raise ValueError("the file has bytes after its last storage")
    return {name: tensor.view(storages) for name, tensor in state.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype, numel: int) -> np.ndarray:
    """One storage: its element count as an int64, then its elements."""
    count = int.from_bytes(file.read(8), "little")
    if count != numel:
        raise ValueError(f"a storage of {numel} elements declares {count}")
    data = file.read(numel * dtype.itemsize)
    if len(data) != numel * dtype.itemsize:
        raise ValueError("the file ends within a storage")
    return np.frombuffer(data, dtype)
