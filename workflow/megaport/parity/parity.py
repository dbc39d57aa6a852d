"""All checks on one converted model, the report, and the error when one fails."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from megaport.checkpoint.model import Checkpoint
from megaport.errors import MegaportError
from megaport.generate.device import resolve_device
from megaport.generate.engines.base import OutOfMemoryError
from megaport.parity.checks.cache import check_cache
from megaport.parity.checks.config import check_config, sizes_agree
from megaport.parity.checks.golden import check_golden
from megaport.parity.checks.greedy import check_greedy
from megaport.parity.checks.load import not_loaded
from megaport.parity.checks.logits import check_logits
from megaport.parity.checks.padding import check_padding
from megaport.parity.checks.perplexity import check_perplexity
from megaport.parity.checks.precision import check_precision
from megaport.parity.checks.reading import check_reading
from megaport.parity.checks.tensors import check_tensors
from megaport.parity.checks.tokenizer import (
    check_tokenizer,
    has_tokenizer,
    load_tokenizer,
    no_tokenizer,
)
from megaport.parity.converted import ModelUnreadableError, Trace, load_converted
from megaport.parity.diagnose import diagnose
from megaport.parity.evidence import gather
from megaport.parity.inputs import Inputs, make_inputs
from megaport.parity.plots import plot_layers, plot_logits
from megaport.parity.profile import layer_divergence
from megaport.parity.report import ParityReport, write_report
from megaport.parity.result import Result
from megaport.parity.subject import ParityOptions, Subject
from megaport.table import Architecture

log = logging.getLogger("megaport")

FORWARD_CHECKS = (check_logits, check_greedy, check_cache, check_padding, check_perplexity)


class ParityError(MegaportError):
    """The converted model is not the checkpoint's model; `report` says where and likely why."""

    def __init__(self, report: ParityReport) -> None:
        self.report = report
        names = ", ".join(result.name for result in report.failed)
        super().__init__(
            "parity",
            seen=f"failed checks: {names} ({report.cause})",
            expected="every check to pass",
            remedy="Read parity.txt; a wrong reading of the checkpoint is overridden with "
            "checkpoint.version or architecture in config.yaml.",
        )


def run_parity(
    checkpoint: Checkpoint,
    architecture: Architecture,
    model_dir: Path,
    out: Path,
    *,
    options: ParityOptions,
) -> ParityReport:
    """Compare `model_dir` with `checkpoint`; write parity.json, parity.txt and plots into `out`.

    Raises ParityError when a check failed, after everything is written; MegaportError when the
    inputs themselves cannot be used (no such device, no config.json or safetensors file, no room).
    """
    report = examine(checkpoint, architecture, model_dir, options)
    out.mkdir(parents=True, exist_ok=True)
    write_report(report, out)
    if report.layers:
        plot_layers(report.layers, out)
        plot_logits(report.points, out)
    if report.failed:
        raise ParityError(report)
    return report


def examine(
    checkpoint: Checkpoint, architecture: Architecture, model_dir: Path, options: ParityOptions
) -> ParityReport:
    """The same without writing anything, whatever the verdict.

    Where the sizes differ or transformers refuses the model, the checks that run it are left out:
    the report then has failed already, and nothing could be compared.
    """
    subject = Subject(checkpoint, architecture, options.stored)
    device = resolve_device(options.device, "float32").device
    log.info("parity: bytes, configuration, tokenizer, published logits")
    files, inputs = _check_files(subject, model_dir, options)
    report = ParityReport(device, tuple(files))
    if sizes_agree(files[0]):
        log.info("parity: both models in float32 over %s", _described(inputs))
        try:
            return _run_both(report, subject, model_dir, inputs, options)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(device, error) from error
    return report


def _out_of_memory(device: str, cause: Exception) -> OutOfMemoryError:
    return OutOfMemoryError(
        "parity",
        seen=f"out of memory on {device} ({str(cause).splitlines()[0]})",
        expected="room for the weights in float32 and the activations of a full context",
        remedy="Set `parity.device: cpu`, or free the memory that others hold.",
    )


def _check_files(
    subject: Subject, model_dir: Path, options: ParityOptions
) -> tuple[list[Result], Inputs]:
    """What needs no forward pass of the converted model, config.json first; and the inputs."""
    results = [check_config(subject.architecture, model_dir), check_tensors(subject, model_dir)]
    ids = None
    if has_tokenizer(model_dir):
        tokenizer = load_tokenizer(model_dir)
        text = options.text.read_text(encoding="utf-8")
        vocab_size = subject.architecture.vocab_size
        results.append(check_tokenizer(model_dir, tokenizer, text, vocab_size))
        ids = tokenizer.encode(text, add_special_tokens=False)
        ids = ids if max(ids) < vocab_size else None
    else:
        results.append(no_tokenizer())
    inputs = make_inputs(subject.architecture, ids, options.seed)
    results += [check_reading(subject, inputs), check_golden(subject, options.golden)]
    return results, inputs


def _run_both(
    report: ParityReport,
    subject: Subject,
    model_dir: Path,
    inputs: Inputs,
    options: ParityOptions,
) -> ParityReport:
    """The report with the checks that run the converted model."""
    try:
        converted = load_converted(model_dir, dtype="float32", device=report.device)
    except ModelUnreadableError as error:
        return replace(report, results=(*report.results, not_loaded(error)))
    evidence = gather(subject, converted, inputs)
    results = [*report.results, *(check(evidence) for check in FORWARD_CHECKS)]
    points = {name: seen.points for name, seen in evidence.comparisons.items()}
    trace = converted.trace(inputs.short)
    del evidence, converted  # the float32 weights, before the others are loaded
    results += [_half(model_dir, dtype, report.device, inputs, trace) for dtype in options.dtypes]
    layers = tuple(layer_divergence(subject, inputs.short, trace))
    report = ParityReport(report.device, tuple(results), layers, points)
    if report.failed:
        report = replace(report, diagnosis=diagnose(subject, inputs.short, trace))
    return report


def _half(model_dir: Path, dtype: str, device: str, inputs: Inputs, full: Trace) -> Result:
    half = load_converted(model_dir, dtype=dtype, device=device).logits(inputs.short)
    return check_precision(dtype, device, full.logits, half, len(full.states) - 1)


def _described(inputs: Inputs) -> str:
    shapes = [f"{name} {ids.shape[0]} x {ids.shape[1]}" for name, ids in inputs.sequences.items()]
    return ", ".join(shapes)
