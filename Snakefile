# Any Megatron-LM GPT-2 checkpoint in, a verified Hugging Face model out: `snakemake -c1 generate`.
# Settings: config.yaml. How caching works: docs/how-it-works/caching.md.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


configfile: Path(str(workflow.current_basedir)) / "config.yaml"


# Read only with `--software-deployment-method apptainer`, relative to the working directory (Snakemake
# takes no path with spaces here); how to build it: docs/use/scaling.md.
container: "build/megaport.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/report.smk"


rule all:
    """Everything for every model named by `model:`, and the report over all of it."""
    input:
        every(*BUILT),
        page,
    localrule: True


include: "workflow/rules/download.smk"
include: "workflow/rules/checksum.smk"
include: "workflow/rules/inspect.smk"
include: "workflow/rules/convert.smk"
include: "workflow/rules/pytorch_bin.smk"
include: "workflow/rules/assemble.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/parity.smk"
include: "workflow/rules/export.smk"


onsuccess:
    say_what_came_of_it()


onerror:
    show_what_failed()
