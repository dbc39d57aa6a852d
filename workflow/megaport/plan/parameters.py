"""The parameters of each rule for each model: exactly what may change its result."""

from pathlib import Path
from typing import Any

from megaport.config.model import Config, Model
from megaport.errors import MegaportError
from megaport.fetch.sources import shown
from megaport.plan.local import file_contents, find
from megaport.store.stat_cache import StatCache, sha256_file

Parameters = dict[str, Any]


class Parameterizer:
    """Parameters by rule and model; `folders` are where relative paths are looked up."""

    def __init__(self, config: Config, folders: list[Path], stats: StatCache) -> None:
        self.config = config
        self.folders = folders
        self.stats = stats

    def of(self, rule: str, name: str) -> Parameters:
        if rule == "report":
            template = self._digest("workflow/report/page.html.j2")
            return {"models": self.config.names, "template": template}
        parameters: Parameters = getattr(self, f"_{rule}")(name, self.config.models[name])
        return parameters

    def _download(self, name: str, model: Model) -> Parameters:
        if model.checkpoint.path is None:
            return {"urls": [shown(url) for url in model.checkpoint.urls]}
        return {"files": self._local_files(model.checkpoint.path)}

    def _local_files(self, path: str) -> Any:
        """None where there is no readable checkpoint: the rule then says so, not the parser."""
        try:
            return file_contents(find(path, self.folders), self.stats)
        except (OSError, MegaportError):
            return None

    def _checksum(self, name: str, model: Model) -> Parameters:
        return {"sha256": model.checkpoint.sha256}

    def _reading(self, model: Model) -> Parameters:
        architecture = model.architecture.model_dump(exclude_none=True)
        return {"version": model.checkpoint.version, "architecture": architecture}

    def _inspect(self, name: str, model: Model) -> Parameters:
        return self._reading(model)

    def _convert(self, name: str, model: Model) -> Parameters:
        shards = model.max_shard_size
        return self._reading(model) | {"dtype": model.dtype, "max_shard_size": shards}

    def _pytorch_bin(self, name: str, model: Model) -> Parameters:
        return {}

    def _assemble(self, name: str, model: Model) -> Parameters:
        return {"name": name, "tokenizer": model.tokenizer}

    def _generate(self, name: str, model: Model) -> Parameters:
        settings = self.config.generate.model_dump(mode="json", exclude={"prompts_file"})
        if model.prompts is not None:
            settings["prompts"] = [prompt.model_dump(mode="json") for prompt in model.prompts]
        elif self.config.generate.prompts_file:
            settings["prompts"] = self._prompts_file(self.config.generate.prompts_file)
        return settings

    def _prompts_file(self, path: str) -> Parameters:
        return {"file": path, "sha256": self._digest(path)}

    def _benchmark(self, name: str, model: Model) -> Parameters:
        return self.config.benchmark.model_dump(mode="json")

    def _export(self, name: str, model: Model) -> Parameters:
        return {"name": name} | self.config.export.model_dump(mode="json")

    def _parity(self, name: str, model: Model) -> Parameters:
        read = {
            "dtype": model.dtype,
            "golden": model.golden and self._digest(model.golden),
            "text": self._digest("resources/parity/text.txt"),
        }
        return self._reading(model) | self.config.parity.model_dump(mode="json") | read

    def _digest(self, path: str) -> str | None:
        try:
            return sha256_file(find(path, self.folders))
        except OSError:
            return None
