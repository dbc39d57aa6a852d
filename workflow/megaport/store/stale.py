"""Receipts that no longer tell the truth: found before the DAG is built, so that it is rebuilt.

Snakemake trusts an output that exists. A receipt whose blob is gone, or whose name shows other
bytes, is dropped here; its rule then runs, and is a cache hit wherever the store still can.
"""

from pathlib import Path

from megaport.store.blobs import shows
from megaport.store.errors import ReceiptError
from megaport.store.receipts import read_receipt
from megaport.store.step import STORE_ONLY
from megaport.store.store import Store


def why_stale(store: Store, receipt_path: Path) -> str | None:
    """What is wrong with a receipt's outputs, or None. Costs a stat a file where all is well."""
    try:
        receipt = read_receipt(receipt_path)
    except ReceiptError as error:
        return str(error.seen)
    for name, content in receipt.outputs.items():
        if not store.blobs.holds(content):
            return f"{name}: its blob {content.sha256[:12]} is missing or damaged"
        named = receipt_path.parent / name
        if not name.startswith(STORE_ONLY) and not shows(store.stats, content, named):
            return f"{name}: the file is missing or was changed"
    return None
