"""torch's serialization since 1.6: a zip of `NAME/data.pkl` and a record `NAME/data/KEY` a storage.

Source: `torch.serialization._save` and `caffe2/serialize/inline_container.cc`. Records are stored,
so that their bytes are used where they lie.
"""

from typing import Any

from megaport.checkpoint.pickle_reader import read_stream, refuse_more
from megaport.checkpoint.regions import Region
from megaport.checkpoint.storages import Storage, storage_id
from megaport.checkpoint.torch_errors import bad_torch_file
from megaport.checkpoint.zip_members import STORED, Member, check_crc, read_members


def pickle_name(names: list[str]) -> str | None:
    """The `NAME/data.pkl` of a zip that torch.save wrote; None for any other zip."""
    found = [n for n in names if n.endswith("/data.pkl") and n.count("/") == 1]
    return found[0] if len(found) == 1 else None


def read_zipped(region: Region) -> Any:
    """The saved object; raises `BadTorchFileError`, `BadArchiveError` or `BadPickleError`.

    Like torch's own reader, it compares no CRCs: `source` does, where every byte is read anyhow.
    """
    members = read_members(region)
    name = pickle_name(list(members))
    if name is None:
        raise bad_torch_file(region.name, "a zip without data.pkl", "a zip that torch.save wrote")
    prefix = name.removesuffix("data.pkl")
    _check_format(region, members, prefix)
    return _value(region, members, prefix)


def check_records(members: dict[str, Member]) -> None:
    """Check every CRC, unless torch was told to compute none and wrote zeros throughout.

    (`torch.serialization.set_crc32_options(False)`.) Raises `BadArchiveError`.
    """
    if any(member.crc for member in members.values()):
        for member in members.values():
            check_crc(member)


def _value(region: Region, members: dict[str, Member], prefix: str) -> Any:
    def load(persistent_id: Any) -> Storage:
        found = storage_id(region.name, persistent_id)
        member = members.get(f"{prefix}data/{found.key}")
        if member is None:
            seen = f"no record for storage {found.key[:40]!r}"
            raise bad_torch_file(region.name, seen, "a record for every storage")
        if member.body.size != found.nbytes:
            seen = f"storage {found.key[:40]!r} of {member.body.size} bytes"
            raise bad_torch_file(region.name, seen, f"{found.nbytes} bytes, as its pickle says")
        return found.over(member.body.view)

    body = members[f"{prefix}data.pkl"].body
    value, end = read_stream(body, 0, load)
    refuse_more(body, end)
    return value


def _check_format(region: Region, members: dict[str, Member], prefix: str) -> None:
    if any(member.method != STORED for member in members.values()):
        raise bad_torch_file(region.name, "compressed records", "stored records, as torch writes")
    if f"{prefix}constants.pkl" in members:
        raise bad_torch_file(region.name, "a TorchScript program", "a checkpoint of torch.save")
    order = members.get(f"{prefix}byteorder")
    if order is not None and bytes(order.body.view) != b"little":
        raise bad_torch_file(region.name, "data that is not little-endian", "little-endian data")
