"""Hazards, "Checkpoint pickle": storages and tensors that do not fit, in both serializations."""

import pytest

from megaport.checkpoint.torchfile import read_torch
from megaport.errors import MegaportError
from support.archives import File, zipped
from support.torchfiles import (
    RECORD,
    SERIALIZATIONS,
    file,
    global_,
    legacy_file,
    number,
    pickle,
    raw,
    reduce,
    region,
    sizes,
    source,
    storage,
    tensor,
    text,
    tuple_of,
    zip_file,
)

both = pytest.mark.parametrize("serialization", SERIALIZATIONS)
HUGE = 1 << 62


def refused(data: bytes, match: str) -> None:
    with pytest.raises(MegaportError, match=match):
        read_torch(region(data))


def identity(*parts: bytes) -> bytes:
    return tuple_of(*parts) + b"Q"


KIND = global_("torch", "FloatStorage")
IDENTITIES = {
    "number": number(0) + b"Q",
    "text": text("storage") + b"Q",
    "empty": b")Q",
    "none": b"NQ",
    "line": b"P0\n",
    "module": identity(*[text("module")] * 5),
    "class as text": identity(
        text("storage"), text("torch.FloatStorage"), *[text("0")] * 2, number(6)
    ),
    "dtype": identity(text("storage"), global_("torch", "float32"), *[text("0")] * 2, number(6)),
    "key a number": identity(text("storage"), KIND, number(0), text("cpu"), number(6)),
    "location a number": identity(text("storage"), KIND, text("0"), number(0), number(6)),
    "fork's": identity(
        text("storage"), global_("fork", "FloatStorage"), *[text("0")] * 2, number(6)
    ),
    "class nested": identity(text("storage"), b")" + b"2\x86" * 60, *[text("0")] * 2, number(6)),
    "all nested": identity(*[b")" + b"2\x86" * 60] * 5),
    "too long": identity(text("storage"), KIND, *[text("0")] * 2, number(6), b"N", b"N"),
}


@both
@pytest.mark.parametrize("name", IDENTITIES)
def test_persistent_id_not_a_storage_refused(name: str, serialization: str) -> None:
    refused(file(serialization, tensor(IDENTITIES[name]), RECORD), "persistent id|storage")


@both
@pytest.mark.parametrize("numel", [-1, HUGE, 1 << 57, 7, 5, 0])
def test_huge_numel_and_storage_bytes_that_disagree_refused(numel: int, serialization: str) -> None:
    body = tensor(source(serialization, numel=numel), size=sizes(0), stride=sizes(1))
    refused(file(serialization, body, RECORD), "size|bytes|elements|part at")


@both
@pytest.mark.parametrize("numel", [b"\x88", b"N", text("6"), b"G" + bytes(8)])
def test_numel_that_is_no_integer_refused(numel: bytes, serialization: str) -> None:
    body = source(serialization).replace(number(6), numel)
    refused(file(serialization, tensor(body), RECORD), "storage size")


@both
@pytest.mark.parametrize("stride", [sizes(-3, 1), sizes(3, -1), sizes(-1, -1)])
def test_negative_stride_refused(stride: bytes, serialization: str) -> None:
    refused(
        file(serialization, tensor(source(serialization), stride=stride), RECORD), "stride of -"
    )


@both
@pytest.mark.parametrize("offset", [1, 6, 7, HUGE, -1])
def test_offset_past_the_end_refused(offset: int, serialization: str) -> None:
    refused(file(serialization, tensor(source(serialization), offset), RECORD), "offset|tensor of")


@both
@pytest.mark.parametrize(
    ("size", "stride"),
    [
        ((HUGE, HUGE), (1, 1)),
        ((1 << 32, 1 << 32), (0, 0)),
        ((1 << 40,), (0,)),
        ((7,), (0,)),
        ((2, 3), (1 << 57, 1)),
        ((2, 3), (1 << 61, 1)),
        ((2, 3), (4, 1)),
        ((-2, 3), (3, 1)),
        ((2, 3), (3,)),
        ((1,) * 9, (1,) * 9),
        ((0, 1 << 57, 1 << 57), (1, 1, 1)),
    ],
    ids=str,
)
def test_overflow_of_shape_and_stride_refused(size, stride, serialization: str) -> None:
    body = tensor(source(serialization), 0, sizes(*size), sizes(*stride))
    refused(file(serialization, body, RECORD), "tensor|shape|stride|sizes|size")


@both
@pytest.mark.parametrize("size", [b"]", b"N", tuple_of(b"\x88"), tuple_of(text("2")), number(1)])
def test_shapes_that_are_no_tuples_of_integers_refused(size: bytes, serialization: str) -> None:
    body = tensor(source(serialization), 0, size, sizes(1))
    refused(file(serialization, body, RECORD), "shape|size")


@both
def test_a_tensor_without_a_storage_refused(serialization: str) -> None:
    refused(file(serialization, tensor(raw(b"bytes")), {}), "not made from a storage")
    rebuild = global_("torch._utils", "_rebuild_tensor_v2")
    refused(file(serialization, rebuild + b")R", {}), "not made from a storage")


@pytest.mark.parametrize("name", ["_rebuild_tensor_v3", "_rebuild_parameter"])
def test_tensors_made_from_other_than_tensors_refused(name: str) -> None:
    call = reduce(global_("torch._utils", name), *[number(1)] * 7)
    refused(zip_file(call, {}), "not made from a storage|without a tensor")
    refused(zip_file(reduce(global_("torch._utils", name)), {}), "found")


def test_tensors_of_subclasses_made_by_no_function_refused() -> None:
    made = global_("torch._tensor", "_rebuild_from_type_v2")
    refused(zip_file(reduce(made, number(1), number(2), b")"), {}), "no known function")


def test_a_key_that_leaves_the_records_refused() -> None:
    body = tensor(storage(key="../data.pkl", view=None))
    refused(zip_file(body, RECORD), "no record for storage")


def test_storage_views_that_leave_their_storage_refused() -> None:
    for view in ((2, 5), (7, 0), (-1, 2), (0, -1), (HUGE, 1)):
        part = tuple_of(text("9"), *map(number, view))
        refused(legacy_file(tensor(storage(view=part)), RECORD), "view|size or offset")
    refused(legacy_file(tensor(storage(view=number(1))), RECORD), "view")


def test_one_key_for_storages_of_two_kinds_refused() -> None:
    body = tuple_of(tensor(storage()), tensor(storage("HalfStorage", numel=6)))
    refused(legacy_file(body, RECORD), "one storage of two kinds")
    refused(
        zip_file(
            tuple_of(tensor(storage(view=None)), tensor(storage("HalfStorage", view=None))), RECORD
        ),
        "bytes",
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"magic": 1}, "magic number"),
        ({"protocol": 1000}, "protocol"),
        ({"system": b"}" + text("little_endian") + b"\x89s"}, "little-endian"),
        ({"system": b"}"}, "little-endian"),
        ({"system": b"N"}, "little-endian"),
        ({"keys": b"]"}, "other storages"),
        ({"keys": b"](" + text("0") + text("0") + b"e"}, "other storages"),
        ({"keys": b"](" + text("0") + text("1") + b"e"}, "other storages"),
        ({"keys": b"N"}, "list of storage keys"),
        ({"keys": b"]" + number(0) + b"a"}, "list of storage keys"),
        ({"counts": {"0": 5}}, "another size"),
        ({"counts": {"0": -6}}, "another size"),
        ({"counts": {"0": 1 << 62}}, "another size"),
        ({"after": b"\0"}, "after its last storage"),
        ({"after": pickle(b"N")}, "after its last storage"),
    ],
)
def test_legacy_wrong_magic_header_or_storages_refused(change: dict, match: str) -> None:
    refused(legacy_file(tensor(storage()), RECORD, **change), match)


def test_legacy_cut_at_every_byte_refused() -> None:
    whole = legacy_file(tensor(storage()), RECORD)
    for end in range(len(whole)):
        refused(whole[:end], "found")


def test_a_storage_in_the_legacy_header_refused() -> None:
    refused(legacy_file(b"N", {}, system=storage()), "tensor's storage")


@pytest.mark.parametrize(
    ("others", "match"),
    [({"byteorder": b"big"}, "little-endian"), ({"constants.pkl": b""}, "TorchScript")],
)
def test_zip_of_other_endianness_or_torchscript_refused(others: dict, match: str) -> None:
    refused(zip_file(tensor(storage(view=None)), RECORD, **others), match)


def test_zip_without_or_with_two_pickles_or_compressed_records_refused() -> None:
    refused(zipped(File(b"m/other.pkl", pickle(b"N"))), "without data.pkl")
    refused(
        zipped(File(b"a/data.pkl", pickle(b"N")), File(b"b/data.pkl", pickle(b"N"))), "data.pkl"
    )
    refused(zipped(File(b"m/data.pkl", pickle(b"N"), method=8)), "compressed records")
    refused(zipped(File(b"m/data.pkl", pickle(b"N") + b"N")), "after the end")


@pytest.mark.parametrize("data", [b"", b"\x89HDF", b"{}", b"PK", b"PK\x05\x06", b"ustar", b"\x80"])
def test_not_a_torch_file_refused(data: bytes) -> None:
    refused(data, "found")
