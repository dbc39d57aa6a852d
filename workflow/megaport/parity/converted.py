"""The converted model as its users run it: `AutoModelForCausalLM` behind NumPy arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from megaport.errors import MegaportError
from megaport.tensors import Array

LOADING = "AutoModelForCausalLM.from_pretrained"


class ModelUnreadableError(MegaportError):
    """transformers cannot load the directory, or fills parts of the model with random numbers."""


@dataclass(frozen=True)
class Trace:
    """Every stage of one forward pass, float32 [B, S, n_embd]: the states between the blocks
    (embeddings first, n_layer + 1 of them), after the final norm, and the logits [B, S, V]."""

    states: tuple[Array, ...]
    normed: Array
    logits: Array


@dataclass(frozen=True)
class Continuation:
    """Token ids [1, S + new], the first `prompt` of them given, and float32 logits [new, V] as
    they came out step by step; row i is what token S + i was picked from."""

    ids: Array
    prompt: int
    logits: Array

    @property
    def chosen(self) -> Array:
        return self.ids[0, self.prompt :]


@dataclass(frozen=True)
class Converted:
    """A loaded model and the device it is on."""

    model: Any
    device: str

    def logits(self, ids: Array) -> Array:
        """Logits of integer `ids` [B, S] -> float32 [B, S, V]."""
        with torch.inference_mode():
            return _array(self.model(self._tensor(ids)).logits)

    def trace(self, ids: Array) -> Trace:
        """The same forward pass with what every block was given and gave."""
        last: list[Array] = []  # transformers gives the last block's output after the norm only
        base = self.model.base_model
        norm = base.ln_f if hasattr(base, "ln_f") else base.norm  # GPT-2's, Llama's
        hook = norm.register_forward_pre_hook(lambda _, given: last.append(_array(given[0])))
        with torch.inference_mode():
            output = self.model(self._tensor(ids), output_hidden_states=True)
        hook.remove()
        *states, normed = map(_array, output.hidden_states)
        return Trace((*states, *last), normed, _array(output.logits))

    def padded_logits(self, rows: list[Array]) -> Array:
        """One left-padded batch of id rows [S_i]; the logits of each row's last token, [B, V]."""
        longest = max(len(row) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, longest - len(row) :] = row
            mask[index, longest - len(row) :] = 1
        # What generate() does for left padding: padding has no position of its own.
        positions = np.maximum(mask.cumsum(-1) - 1, 0)
        with torch.inference_mode():
            output = self.model(
                self._tensor(ids),
                attention_mask=self._tensor(mask),
                position_ids=self._tensor(positions),
            )
        return _array(output.logits[:, -1])

    def greedy(self, ids: Array, new_tokens: int) -> Continuation:
        """What generate() adds to `ids` [1, S] greedily, through its KV cache."""
        prompt = self._tensor(ids)
        with _one_thread():
            output = self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                num_beams=1,
                max_length=ids.shape[1] + new_tokens,
                min_length=ids.shape[1] + new_tokens,
                eos_token_id=None,
                pad_token_id=0,
                return_dict_in_generate=True,
                output_logits=True,
            )
        logits = torch.cat(output.logits)
        return Continuation(output.sequences.cpu().numpy(), ids.shape[1], _array(logits))

    def _tensor(self, ids: Array) -> torch.Tensor:
        return torch.from_numpy(np.asarray(ids, np.int64)).to(self.device)


def load_converted(model_dir: Path, *, dtype: str, device: str) -> Converted:
    """The model of `model_dir` in `dtype` (a torch name) on `device`, without any network.

    ModelUnreadableError when transformers refuses it, or when tensors are missing, left over or of
    the wrong shape: transformers would go on with random numbers and a warning.
    """
    disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_dir,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise unreadable(model_dir, LOADING, str(error)) from error
    model, info = loaded
    odd = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if odd:
        raise unreadable(model_dir, LOADING, f"{odd}")
    return Converted(model.eval().to(device), device)


def unreadable(model_dir: Path, what: str, seen: str) -> ModelUnreadableError:
    """The error for the part `what` of a model directory, with the words `seen` of who read it."""
    return ModelUnreadableError(
        f"{model_dir.name}: {what}",
        seen=seen,
        expected="a directory that assemble wrote, which transformers loads whole and offline",
        remedy="Run convert and assemble again.",
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """One row times a matrix is split over threads by the sum, so its rounding depends on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _array(tensor: torch.Tensor) -> Array:
    values: Array = tensor.detach().float().cpu().numpy()
    return values
