"""Both torch serializations read as torch.load(weights_only=True) reads them, without copies."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.records import Record
from megaport.checkpoint.regions import map_file
from megaport.checkpoint.torchfile import read_torch
from megaport.tensors import Tensor
from support.oracles import ORACLES
from support.pickles import global_, number, reduce, region, text, tuple_of
from support.torchfiles import (
    SERIALIZATIONS,
    file,
    legacy_file,
    saved,
    sizes,
    storage,
    tensor,
    zip_file,
)

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
both = pytest.mark.parametrize("serialization", SERIALIZATIONS)


def same(ours: Any, theirs: torch.Tensor) -> bool:
    """Equal shape, dtype and bits."""
    if not isinstance(ours, Tensor) or DTYPES[ours.dtype] != theirs.dtype:
        return False
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(theirs.element_size(), torch.uint8)
    raw = theirs.contiguous().view(bits).numpy()
    mine = np.ascontiguousarray(ours.array).reshape(ours.shape)
    return ours.shape == tuple(theirs.shape) and mine.tobytes() == raw.tobytes()


def loaded(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True)


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_a_checkpoint_reads_bit_for_bit(dtype: str, serialization: str) -> None:
    value = {"w": (torch.arange(24).reshape(4, 6) % 2).to(DTYPES[dtype])}
    data = saved(value, serialization)
    assert same(read_torch(region(data))["w"], loaded(data)["w"])


@both
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    transposed=st.booleans(),
    skip=st.integers(0, 3),
    dtype=st.sampled_from(sorted(DTYPES)),
)
@settings(deadline=None, max_examples=60)
def test_any_view_reads_as_torch_reads_it(
    serialization: str, shape: list[int], transposed: bool, skip: int, dtype: str
) -> None:
    base = torch.arange(skip + int(np.prod(shape, dtype=int))).to(DTYPES[dtype])
    view = base[skip:].reshape(shape)
    value = {
        "v": view.permute(tuple(reversed(range(view.dim())))) if transposed else view,
        "b": base,
    }
    data = saved(value, serialization)
    ours = read_torch(region(data))
    assert all(same(ours[name], theirs) for name, theirs in loaded(data).items())


@both
def test_tensors_that_share_a_storage_share_its_bytes(serialization: str) -> None:
    base = torch.arange(12.0)
    read = read_torch(region(saved([base, base[4:8], base.reshape(3, 4).t()], serialization)))
    assert np.shares_memory(read[0].array, read[1].array)
    assert np.shares_memory(read[0].array, read[2].array)
    assert read[2].array.tolist() == base.reshape(3, 4).t().tolist()


@both
def test_tensors_are_views_of_the_file_and_read_only(serialization: str) -> None:
    data = saved({"w": torch.arange(1000.0)}, serialization)
    where = region(data)
    array = read_torch(where)["w"].array
    assert np.shares_memory(array, np.frombuffer(where.view, np.uint8))
    assert not array.flags.writeable


@both
def test_parameters_and_state_dicts_with_attributes(serialization: str) -> None:
    layer = torch.nn.Linear(3, 2)
    state = layer.state_dict()
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.tensor_model_parallel = True
    data = saved({"state": state, "parameter": layer.weight, "tagged": tagged}, serialization)
    read = read_torch(region(data))
    assert same(read["state"]["weight"], state["weight"])
    assert same(read["parameter"], layer.weight.detach())
    assert same(read["tagged"], tagged.detach())


@both
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.uint16])
def test_dtypes_no_weight_has_are_records_that_name_them(dtype, serialization: str) -> None:
    read = read_torch(
        region(saved({"x": torch.zeros(2).to(dtype), "y": torch.ones(2)}, serialization))
    )
    assert isinstance(read["x"], Record)
    assert any(word in read["x"].name for word in (str(dtype), "ComplexFloat"))
    assert read["y"].array.tolist() == [1, 1]


@both
@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_sparse_and_quantized_tensors_are_records(serialization: str) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    data = saved({"s": torch.eye(2).to_sparse(), "q": quantized}, serialization)
    read = read_torch(region(data))
    assert read["s"].name == "torch._utils._rebuild_sparse_tensor"
    assert read["q"].name == "torch._utils._rebuild_qtensor"


def test_legacy_storage_views_read_as_torch_reads_them() -> None:
    """Files of torch before 0.4 point into another storage by key, offset and size."""
    view = tuple_of(text("9"), number(2), number(4))
    body = reduce(
        global_("torch._utils", "_rebuild_tensor"),
        storage(view=view),
        number(1),
        sizes(3),
        sizes(1),
    )
    data = legacy_file(body, {"0": np.arange(6, dtype="<f4").tobytes()})
    assert read_torch(region(data)).array.tolist() == [3, 4, 5]
    assert loaded(data).tolist() == [3, 4, 5]


def test_storages_of_old_cuda_files_read_like_others() -> None:
    body = storage().replace(b"ctorch\n", b"ctorch.cuda\n")
    data = legacy_file(tensor(body), {"0": np.arange(6, dtype="<f4").tobytes()})
    assert read_torch(region(data)).array.tolist() == [[0, 1, 2], [3, 4, 5]]


@both
def test_one_storage_may_be_read_by_many_tensors_at_any_offset(serialization: str) -> None:
    source = storage(view=b"N" if serialization == "legacy" else None)
    body = tuple_of(
        tensor(source), tensor(source, 5, sizes(1), sizes(1)), tensor(source, 6, sizes(0), sizes(1))
    )
    read = read_torch(region(file(serialization, body, {"0": np.arange(6, dtype="<f4").tobytes()})))
    assert [part.array.tolist() for part in read] == [[[0, 1, 2], [3, 4, 5]], [5], []]


def test_unaligned_records_read_all_the_same() -> None:
    values = np.arange(6, dtype="<f4")
    for pad in range(5):
        data = zip_file(tensor(storage(view=None)), {"0": values.tobytes()}, pad=b"x" * pad)
        assert read_torch(region(data)).array.ravel().tolist() == values.tolist()


class StandIn:
    """What torch makes of classes that only Megatron has; compared by nobody."""

    def __init__(self, *args: Any) -> None:
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# torch can list the classes that a zip names, not those of a legacy file.
LEGACY_CLASSES = [
    *("argparse.Namespace", "numpy.ndarray", "numpy.dtype"),
    *("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct"),
]


@pytest.mark.oracle
@pytest.mark.parametrize(
    "path", sorted(ORACLES.rglob("*.pt")), ids=lambda path: str(path.relative_to(ORACLES))
)
def test_real_files_read_as_torch_reads_them(path) -> None:
    zipped = path.read_bytes()[:2] == b"PK"
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else None
    with torch.serialization.safe_globals([(StandIn, name) for name in names or LEGACY_CLASSES]):
        theirs = torch.load(path, weights_only=True)
    compare(read_torch(map_file(path)), theirs)


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert same(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            compare(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, value in zip(ours, theirs, strict=True):
            compare(mine, value)
    elif isinstance(theirs, StandIn):
        assert isinstance(ours, Record)
        compare(ours.state, theirs.state)
    elif isinstance(theirs, str | int | float | bytes | None):
        assert ours == theirs
    else:
        assert isinstance(ours, Record)
