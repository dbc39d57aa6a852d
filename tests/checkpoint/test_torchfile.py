"""Both torch serializations read as torch.load(weights_only=True) reads them, without copies."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.records import Record, Unreadable
from megaport.checkpoint.torchfile import read_torch
from support.megatron_model import DTYPES
from support.reading import same
from support.torchfiles import (
    FLOATS,
    RECORD,
    SERIALIZATIONS,
    file,
    global_,
    legacy_file,
    number,
    reduce,
    region,
    saved,
    sizes,
    source,
    storage,
    tensor,
    text,
    tuple_of,
    zip_file,
)

both = pytest.mark.parametrize("serialization", SERIALIZATIONS)


def loaded(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True)


@both
@pytest.mark.parametrize("dtype", DTYPES)
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    transposed=st.booleans(),
    skip=st.integers(0, 3),
)
@settings(deadline=None, max_examples=8)
def test_any_view_of_any_dtype_reads_as_torch_reads_it(
    serialization: str, dtype: str, shape: list[int], transposed: bool, skip: int
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
def test_tensors_are_views_of_the_file_and_read_only(serialization: str) -> None:
    base = torch.arange(12.0)
    where = region(saved([base, base[4:8], base.reshape(3, 4).t()], serialization))
    for view in (read := read_torch(where)):
        assert np.shares_memory(view.array, np.frombuffer(where.view, np.uint8))
        assert np.shares_memory(view.array, read[0].array)
        assert not view.array.flags.writeable


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
def test_tensors_with_attributes_are_views_and_subclasses_are_records(serialization: str) -> None:
    tagged = torch.ones(2)
    tagged.partition_dim = 0
    buffer = torch.nn.Buffer(torch.zeros(3))
    read = read_torch(region(saved([tagged, buffer, Tagged(torch.ones(2))], serialization)))
    assert same(read[0], torch.ones(2))
    assert same(read[1], torch.zeros(3)) or isinstance(read[1], Record)
    assert isinstance(read[2], Unreadable)
    assert read[2].name.endswith("Tagged")


def test_tensors_over_untyped_storages() -> None:
    """`_rebuild_tensor_v3` counts its offset in elements of the dtype it names."""
    values = np.arange(6, dtype="<f2")
    body = reduce(
        global_("torch._utils", "_rebuild_tensor_v3"),
        storage("UntypedStorage", numel=12, view=None).replace(b"ctorch\n", b"ctorch.storage\n"),
        *(number(2), sizes(2, 2), sizes(2, 1), b"\x89", b"}", global_("torch", "float16"), b"N"),
    )
    read = read_torch(region(zip_file(body, {"0": values.tobytes()})))
    assert (read.dtype, read.array.tolist()) == ("F16", [[2, 3], [4, 5]])


@both
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.uint16])
def test_dtypes_no_weight_has_are_unreadable_by_name(dtype, serialization: str) -> None:
    read = read_torch(
        region(saved({"x": torch.zeros(2).to(dtype), "y": torch.ones(2)}, serialization))
    )
    assert isinstance(read["x"], Unreadable)
    assert any(word in read["x"].reason for word in (str(dtype), "ComplexFloat"))
    assert read["x"].shape == (2,)
    assert read["y"].array.tolist() == [1, 1]


@both
@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_sparse_and_quantized_tensors_are_unreadable_by_name(serialization: str) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    data = saved({"s": torch.eye(2).to_sparse(), "q": quantized}, serialization)
    read = read_torch(region(data))
    assert isinstance(read["s"], Unreadable)
    assert isinstance(read["q"], Unreadable)
    assert read["s"].name == "torch._utils._rebuild_sparse_tensor"
    assert read["q"].name == "torch._utils._rebuild_qtensor"


@both
@pytest.mark.parametrize(
    ("view", "flag"),
    [
        (torch._neg_view(torch.ones(3)), "neg"),
        (torch.ones(3, dtype=torch.complex64).conj().imag, "neg"),
        (torch.ones(3, dtype=torch.complex64).conj(), "Complex"),
    ],
    ids=["negative", "imaginary part", "conjugate"],
)
def test_views_whose_bytes_are_not_their_values_are_unreadable(view, flag, serialization) -> None:
    read = read_torch(region(saved({"w": view}, serialization)))["w"]
    assert isinstance(read, Unreadable)
    assert flag in read.reason


REBUILDS = ("sparse_tensor", "qtensor", "meta_tensor_no_storage", "wrapper_subclass")


@pytest.mark.parametrize("name", REBUILDS)
def test_what_only_a_function_of_torch_can_read_is_unreadable_by_name(name: str) -> None:
    call = reduce(global_("torch._utils", f"_rebuild_{name}"), number(1))
    read = read_torch(region(zip_file(call, {})))
    assert isinstance(read, Unreadable)
    assert name in read.reason


def test_what_a_class_nobody_knows_makes_of_a_tensor_is_unreadable() -> None:
    made = reduce(global_("some_fork.quant", "QTensor"), tensor(storage(view=None)), number(8))
    kept = made + b"}" + text("scale") + number(2) + b"sb"
    read = read_torch(region(zip_file(kept, {"0": bytes(24)})))
    assert isinstance(read, Unreadable)
    assert (read.name, read.state) == ("some_fork.quant.QTensor", {"scale": 2})


@both
def test_tensors_from_npus_are_views_like_others(serialization: str) -> None:
    """An imitation: torch_npu's function takes _rebuild_tensor_v2's arguments, then a format."""
    named = reduce(global_("torch_npu.npu._format", "Format"), number(2))
    for form in (b"\x88", number(29), named):
        body = reduce(
            global_("torch_npu.utils.storage", "_rebuild_npu_tensor"),
            *(source(serialization), number(0), sizes(2, 3), sizes(3, 1), b"\x89", b"}", form),
        )
        data = file(serialization, body, RECORD)
        assert read_torch(region(data)).array.tolist() == FLOATS


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
    data = legacy_file(body, RECORD)
    assert read_torch(region(data)).array.tolist() == [3, 4, 5]
    assert loaded(data).tolist() == [3, 4, 5]


def test_storages_of_old_cuda_files_read_like_others() -> None:
    body = storage().replace(b"ctorch\n", b"ctorch.cuda\n")
    data = legacy_file(tensor(body), RECORD)
    assert read_torch(region(data)).array.tolist() == FLOATS


@both
def test_one_storage_may_be_read_by_many_tensors_at_any_offset(serialization: str) -> None:
    body = tuple_of(
        tensor(source(serialization)),
        tensor(source(serialization), 5, sizes(1), sizes(1)),
        tensor(source(serialization), 6, sizes(0), sizes(1)),
    )
    read = read_torch(region(file(serialization, body, RECORD)))
    assert [part.array.tolist() for part in read] == [FLOATS, [5], []]


def test_unaligned_records_read_all_the_same() -> None:
    values = np.arange(6, dtype="<f4")
    for pad in range(5):
        data = zip_file(tensor(storage(view=None)), {"0": values.tobytes()}, pad=b"x" * pad)
        assert read_torch(region(data)).array.ravel().tolist() == values.tolist()


class Tagged(torch.Tensor):
    """A subclass whose bytes need not be its values."""
