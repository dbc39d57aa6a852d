"""GPT-2 to Megatron: the table read from right to left."""

import zipfile
from functools import partial
from pathlib import Path

from megaport.convert.export_layouts import ngc_tree
from megaport.convert.export_model import open_gpt2
from megaport.convert.legacy_writer import legacy_stream

# The oldest date a zip can hold (APPNOTE 4.4.6): no time of ours enters the file.
EPOCH = (1980, 1, 1, 0, 0, 0)


def _export_ngc(model_dir: Path, out: Path, *, compress: bool) -> None:
    model = open_gpt2(model_dir, ranks=1)
    tree = ngc_tree(model.layers, partial(model.leaf, rank=0, ranks=1, qkv_order="3,np,hn"))
    with zipfile.ZipFile(out, "w") as archive:
        for name, chunks in (
            ("latest_checkpointed_iteration.txt", iter([b"release"])),
            ("release/mp_rank_00/model_optim_rng.pt", legacy_stream(tree)),
        ):
            member = zipfile.ZipInfo(name, EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as file:
                for chunk in chunks:
                    file.write(chunk)


def export_checkpoint(
    model_dir: Path,
    out: Path,
    *,
    form: str,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    compress: bool = False,
) -> None:
    _export_ngc(model_dir, out, compress=compress)
