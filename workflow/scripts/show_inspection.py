"""Show what was found of every model that `model:` names, as `megaport inspect` does."""

import json
from pathlib import Path

import adapter  # noqa: F401 (finds the library)
from megaport.checkpoint.screen import screen
from megaport.config.model import Model
from megaport.config.paste import to_paste

screens = []
for receipt in map(Path, snakemake.input):
    name = receipt.parent.name
    model = Model.model_validate(snakemake.config["models"][name])
    found = json.loads((receipt.parent / "inspection" / "inspection.json").read_bytes())
    screens.append(f"{name}\n{screen(found)}\n{to_paste(found, name, model)}")
text = "\n".join(screens)
print(text, end="", flush=True)
Path(str(snakemake.log)).write_text(text, encoding="utf-8")
