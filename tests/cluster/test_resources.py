"""Every job that may leave the machine says what it needs."""

from support.checkout import checkout


def test_every_job_that_may_leave_the_machine_says_what_it_needs(snakemake, tmp_path):
    folder = checkout(tmp_path / "checkout")
    assert snakemake(folder, "checksum").status == 0
    ran = snakemake(folder, "-n", "--quiet=host", "all")
    jobs = ran.text.split("rule ")[1:]
    asking = {job.partition("_model")[0] for job in jobs if "mem_mb=" in job and "runtime=" in job}
    assert {"convert", "assemble", "generate", "benchmark", "parity", "pytorch_bin"} <= asking
    known = next(job for job in jobs if job.startswith("convert_model:"))
    assert "mem_mb=1010" in known and "runtime=3" in known


def test_a_card_is_asked_for_only_where_one_is_used(snakemake, tmp_path):
    folder = checkout(tmp_path / "checkout")
    asked = {}
    for device in ("cuda", "cpu"):
        ran = snakemake(
            folder, "-n", "--quiet=host", "generate", "--config", f"generate={{device: {device}}}"
        )
        asked[device] = "gpu=1" in ran.text
    assert asked == {"cuda": True, "cpu": False}
