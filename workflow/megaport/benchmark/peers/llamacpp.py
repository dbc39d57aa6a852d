"""llama.cpp through llama-cpp-python's C interface: greedy, one sequence a row."""

import ctypes
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from megaport.benchmark.peers.gguf_file import write_gguf
from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch, EngineError, finish
from megaport.generate.hardware import core_count

ALL_LAYERS, LOG_LEVEL_ERROR = 999, 4


def _say_errors(level: int, text: bytes, _: None) -> None:
    if level == LOG_LEVEL_ERROR:
        sys.stderr.write(text.decode(errors="replace"))


# ggml_log_callback; it must outlive every call into the library.
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_say_errors)


class LlamaCppEngine:
    """A model from a temporary GGUF file, and the context of the batch form used last."""

    name = "llamacpp"
    in_stream = False

    def __init__(self, library: Any, model: Any, placement: Placement) -> None:
        self.library, self.model, self.placement = library, model, placement
        self.note = f"llama-cpp-python {library.__version__}"
        self._context: Any = None
        self._form = (0, 0)
        # Bound now: when the interpreter ends, modules are gone before engines are.
        self._free = (library.llama_free, library.llama_model_free)

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        try:
            import gguf  # noqa: F401
            import llama_cpp
        except (ImportError, RuntimeError, OSError) as error:
            raise _refusal(f"{error}; pip install llama-cpp-python gguf") from error
        if placement.device == "cuda" and not llama_cpp.llama_supports_gpu_offload():
            raise _refusal("a build without GPU support")
        llama_cpp.llama_log_set(LOG, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        # The file goes when the folder does, so it is read, not mapped.
        read = getattr(llama_cpp, "LLAMA_LOAD_MODE_NONE", None)
        how = {"use_mmap": False} if read is None else {"load_mode": read}
        _set(params, n_gpu_layers=ALL_LAYERS if placement.device == "cuda" else 0, **how)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            write_gguf(model_dir, path, placement)
            model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise _refusal("a GGUF file that it would not load")
        return cls(llama_cpp, model, placement)

    def __del__(self) -> None:
        free_context, free_model = self._free
        if self._context:
            free_context(self._context)
        free_model(self.model)

    def generate(self, given: Batch) -> list[list[int]]:
        _require_greedy(given)
        context = self._open(given)
        batch = self.library.llama_batch_init(sum(map(len, given.prompts)), 0, 1)
        try:
            return finish(given, self._decode(context, batch, given))
        finally:
            self.library.llama_batch_free(batch)

    def _decode(self, context: Any, batch: Any, given: Batch) -> list[list[int]]:
        rows = [list(prompt) for prompt in given.prompts]
        starts = [0] * len(rows)
        for _ in range(given.steps):
            ends = _fill(batch, rows, starts)
            if status := self.library.llama_decode(context, batch):
                raise _refusal(f"status {status} of llama_decode")
            starts = [len(row) for row in rows]
            for row, end in zip(rows, ends, strict=True):
                row.append(self._greedy(context, end))
            if given.mark:
                given.mark()
        return [row[len(prompt) :] for row, prompt in zip(rows, given.prompts, strict=True)]

    def _open(self, given: Batch) -> Any:
        library, form = self.library, (len(given.prompts), given.width + given.steps)
        if self._context and form == self._form:
            library.llama_memory_clear(library.llama_get_memory(self._context), False)
            return self._context
        if self._context:
            library.llama_free(self._context)
        self._context = library.llama_init_from_model(self.model, self._params(*form))
        self._form = form
        if not self._context:
            raise _refusal(f"no context for {form[0]} rows of {form[1]} tokens")
        return self._context

    def _params(self, rows: int, length: int) -> Any:
        params = self.library.llama_context_default_params()
        size, threads = rows * length, core_count()
        _set(params, n_seq_max=rows, n_ctx=size, n_batch=size, n_ubatch=min(512, size))
        _set(params, n_threads=threads, n_threads_batch=threads)
        if self.placement.dtype == "float32":
            exact = self.library.GGML_TYPE_F32
            _set(params, type_k=exact, type_v=exact)
        return params

    def _greedy(self, context: Any, index: int) -> int:
        library = self.library
        size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self.model))
        logits = library.llama_get_logits_ith(context, index)
        return int(np.ctypeslib.as_array(logits, (size,)).argmax())


def _set(params: ctypes.Structure, **values: int) -> None:
    """Set fields by name; ctypes itself takes any name, and the library then sees nothing of it."""
    names = {name for name, *_ in params._fields_}
    if unknown := sorted(values.keys() - names):
        raise _refusal(f"a llama-cpp-python whose parameters have no {', '.join(unknown)}")
    for name, value in values.items():
        setattr(params, name, value)


def _fill(batch: Any, rows: list[list[int]], starts: list[int]) -> list[int]:
    """Put each row's tokens from its start on into `batch`; the index of each row's last one."""
    count, ends = 0, []
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        for position in range(start, len(row)):
            batch.token[count] = row[position]
            batch.pos[count] = position
            batch.n_seq_id[count] = 1
            batch.seq_id[count][0] = number
            batch.logits[count] = position == len(row) - 1
            count += 1
        ends.append(count - 1)
    batch.n_tokens = count
    return ends


def _require_greedy(given: Batch) -> None:
    """Measured greedily and to full length, so that all do the same work."""
    if not given.sampling.greedy or given.stop is not None:
        raise _refusal("a batch that samples or stops")


def _refusal(seen: str) -> EngineError:
    return EngineError(
        "engine llamacpp",
        seen=seen,
        expected="a peer that is installed and runs this model here",
        remedy="Install it, or leave it out of `benchmark.engines`.",
    )
