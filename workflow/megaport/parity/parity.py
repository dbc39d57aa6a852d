"""All checks on one converted model, the report, and the error when one fails."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from megaport.checkpoint.model import Checkpoint
from megaport.errors import MegaportError
from megaport.generate.device import resolve_device
from megaport.generate.engines.base import OutOfMemoryError
from megaport.parity.checks import CHECKS, ONE_POSITION, Evidence, check_precision
from megaport.parity.comparison import compare_blocks
from megaport.parity.converted import ModelUnreadableError, Trace, load_converted
from megaport.parity.files import Difference, check_config, check_tensors, find_differences
from megaport.parity.golden import check_golden
from megaport.parity.inputs import Inputs, ParityOptions, make_inputs
from megaport.parity.plots import plot_blocks, plot_positions
from megaport.parity.reading import check_reading
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.parity.report import ParityReport, write_report
from megaport.parity.tokenizer import check_tokenizer, load_tokenizer
from megaport.parity.verdict import Cause, Verdict, equal, judge
from megaport.table import Architecture

log = logging.getLogger("megaport")


class ParityError(MegaportError):
    """The converted model is not the checkpoint's model; `report` says where and likely why."""

    def __init__(self, report: ParityReport) -> None:
        self.report = report
        names = ", ".join(verdict.name for verdict in report.failed)
        super().__init__(
            "parity",
            seen=f"failed checks: {names} ({report.diagnosis})",
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
    if report.blocks:
        plot_blocks(report.blocks, out)
        plot_positions(report.positions, out)
    log.info("parity: %s", report.counts)
    if report.failed:
        raise ParityError(report)
    return report


def examine(
    checkpoint: Checkpoint, architecture: Architecture, model_dir: Path, options: ParityOptions
) -> ParityReport:
    """The same without writing anything, whatever the outcome.

    Where the sizes differ or transformers refuses the model, the checks that run it are left out:
    the report then has failed already, and nothing could be compared.
    """
    reference = reference_of(checkpoint, architecture, options.stored)
    device = resolve_device(options.device, "float32").device
    log.info("parity: comparing configuration and bytes")
    config, differences = check_config(reference, model_dir), find_differences(reference, model_dir)
    tokenizer, text = load_tokenizer(model_dir), options.text.read_text(encoding="utf-8")
    ids = tokenizer and tokenizer.encode(text, add_special_tokens=False)
    inputs = make_inputs(architecture, ids, options.seed)
    log.info("parity: reading the text in other ways")
    verdicts = (
        config,
        check_tensors(differences),
        check_tokenizer(tokenizer, text, architecture.vocab_size, options.published),
        check_reading(reference, inputs.text),
        check_golden(reference, options.golden),
    )
    report = ParityReport(device, verdicts, _cause(config, differences))
    if config.measures[0].holds and not any(d.misshapen for d in differences):
        try:
            return _run_both(report, reference, model_dir, inputs, options)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(device, error) from error
    return report


def _run_both(
    report: ParityReport,
    reference: Reference,
    model_dir: Path,
    inputs: Inputs,
    options: ParityOptions,
) -> ParityReport:
    """The report with the checks that run the converted model."""
    try:
        converted = load_converted(model_dir, dtype="float32", device=report.device)
    except ModelUnreadableError as error:
        return replace(report, verdicts=(*report.verdicts, _not_loaded(error)))
    log.info("parity: running both models in float32 over %s", _described(inputs))
    evidence = Evidence(reference, converted, inputs)
    checks = CHECKS if reference.architecture.n_positions > 1 else ONE_POSITION
    verdicts = [*report.verdicts, *(check(evidence) for check in checks)]
    positions, trace = evidence.positions, converted.trace(inputs.short)
    del evidence, converted  # the float32 weights, before the others are loaded
    for dtype in options.dtypes:
        log.info("parity: running the converted model in %s", dtype)
        verdicts.append(_half(model_dir, dtype, report.device, inputs, trace))
    log.info("parity: comparing layer by layer")
    blocks = tuple(compare_blocks(reference, inputs.short, trace))
    return replace(report, verdicts=tuple(verdicts), blocks=blocks, positions=positions)


def _half(model_dir: Path, dtype: str, device: str, inputs: Inputs, full: Trace) -> Verdict:
    half = load_converted(model_dir, dtype=dtype, device=device).logits(inputs.short)
    return check_precision(dtype, device, full.logits, half, len(full.states) - 1)


def _cause(config: Verdict, differences: list[Difference]) -> Cause | None:
    """What explains the first difference in the files; those of config.json explain themselves."""
    for difference in differences:
        if difference.cause is not None:
            return replace(
                difference.cause, sentence=f"{difference.name}, {difference.cause.sentence}"
            )
    for measure in config.measures:
        if not measure.holds:
            return Cause("config", f"{measure.quantity} is {measure.seen}, not {measure.limit}")
    return None


def _not_loaded(error: MegaportError) -> Verdict:
    """Said only when transformers could not load the model, with its words."""
    return judge(
        "load",
        "Does transformers load every tensor and expect no other?",
        [equal("model loaded", "no", "yes")],
        reason="transformers fills what is missing with random numbers and only warns",
        note=str(error.seen),
    )


def _out_of_memory(device: str, cause: Exception) -> OutOfMemoryError:
    return OutOfMemoryError(
        "parity",
        seen=f"out of memory on {device} ({str(cause).splitlines()[0]})",
        expected="room for the weights in float32 and the activations of a full context",
        remedy="Set `parity.device: cpu`, or free the memory that others hold.",
    )


def _described(inputs: Inputs) -> str:
    shapes = [f"{name} {ids.shape[0]} x {ids.shape[1]}" for name, ids in inputs.sequences.items()]
    return ", ".join(shapes)
