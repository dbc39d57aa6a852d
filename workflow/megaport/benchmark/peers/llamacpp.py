"""llama.cpp through llama-cpp-python's C interface: greedy, one sequence a row."""

import ctypes
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from megaport.benchmark.peers.gguf_file import write_gguf
from megaport.generate.device import Placement
from megaport.generate.engines.base import EngineError, Job, finish
from megaport.generate.hardware import core_count

# ggml_log_callback(level, text, user data); it must outlive every call into the library.
SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)


def available() -> str:
    """Empty where it can run, else why not."""
    try:
        import gguf  # noqa: F401
        import llama_cpp  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return f"{error}; pip install llama-cpp-python gguf"
    return ""


class LlamaCppEngine:
    """A model loaded from a temporary GGUF file; one context, kept while it is large enough."""

    name = "llama.cpp"

    def __init__(self, model: Any, placement: Placement, note: str) -> None:
        self.model, self.placement, self.note = model, placement, note
        self._context: Any = None
        self._size = (0, 0)

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        import llama_cpp

        llama_cpp.llama_log_set(SILENT, None)
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 999 if placement.device == "cuda" else 0
        if placement.device == "cuda" and not llama_cpp.llama_supports_gpu_offload():
            raise _error("a build without GPU support", "Install a CUDA build of llama-cpp-python.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            write_gguf(model_dir, path, placement)
            params.use_mmap = False  # the file goes when the folder does
            model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise _error("a GGUF file it would not load", "Read its log with LLAMA_LOG.")
        return cls(model, placement, f"llama-cpp-python {llama_cpp.__version__}")

    def generate(self, job: Job) -> list[list[int]]:
        if not job.sampling.greedy:
            raise _error("a sampled job", "Measure it with greedy decoding.")
        context = self._open(job)
        batch = self._batch(sum(map(len, job.prompts)), len(job.prompts))
        lengths = [len(prompt) for prompt in job.prompts]
        fed = [list(prompt) for prompt in job.prompts]
        produced: list[list[int]] = [[] for _ in job.prompts]
        for _ in range(job.steps):
            ends = _fill(batch, fed, [n - len(new) for n, new in zip(lengths, fed, strict=True)])
            self._decode(context, batch)
            fed = [[self._greedy(context, end)] for end in ends]
            for row, new in zip(produced, fed, strict=True):
                row.extend(new)
            lengths = [length + 1 for length in lengths]
            if job.mark:
                job.mark()
        return finish(job, produced)

    def _open(self, job: Job) -> Any:
        import llama_cpp

        size = (len(job.prompts), job.width + job.steps)
        if self._context is not None and size == self._size:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
            return self._context
        if self._context is not None:
            llama_cpp.llama_free(self._context)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = size[0] * size[1]
        params.n_ubatch = min(512, params.n_batch)
        params.n_seq_max = size[0]
        params.n_threads = params.n_threads_batch = core_count()
        if self.placement.dtype == "float32":
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        self._context, self._size = llama_cpp.llama_init_from_model(self.model, params), size
        if not self._context:
            raise _error(f"no context for {size[0]} rows of {size[1]}", "Use a smaller batch.")
        return self._context

    def _batch(self, tokens: int, rows: int) -> Any:
        import llama_cpp

        return llama_cpp.llama_batch_init(max(tokens, rows), 0, 1)

    def _decode(self, context: Any, batch: Any) -> None:
        import llama_cpp

        if status := llama_cpp.llama_decode(context, batch):
            raise _error(f"llama_decode status {status}", "Use a smaller batch.")

    def _greedy(self, context: Any, index: int) -> int:
        import llama_cpp

        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        logits = llama_cpp.llama_get_logits_ith(context, index)
        return int(np.ctypeslib.as_array(logits, (size,)).argmax())


def _fill(batch: Any, fed: list[list[int]], starts: list[int]) -> list[int]:
    """Put every row's new tokens into `batch`; the index of each row's last one."""
    count, ends = 0, []
    for row, (tokens, start) in enumerate(zip(fed, starts, strict=True)):
        for offset, token in enumerate(tokens):
            batch.token[count] = token
            batch.pos[count] = start + offset
            batch.n_seq_id[count] = 1
            batch.seq_id[count][0] = row
            batch.logits[count] = offset == len(tokens) - 1
            count += 1
        ends.append(count - 1)
    batch.n_tokens = count
    return ends


def _error(seen: str, remedy: str) -> EngineError:
    return EngineError("engine llama.cpp", seen=seen, expected="a GPT-2 it can run", remedy=remedy)
