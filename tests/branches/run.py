"""`make coverage`: which branches of the reader, the store and fetch their own tests take.

Each package is measured over the tests of its own folder, in this process's children only: what
forks and whole runs of Snakemake reach beside that does not count.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("checkpoint", "store", "fetch")
LEAST = 95.0  # per cent of branches, and of statements


def measured(package: str, folder: Path) -> dict:
    """Totals of coverage's JSON report. Raises CalledProcessError where a test fails."""
    data = f"--data-file={folder / package}.data"
    coverage = [sys.executable, "-m", "coverage"]
    source = f"--source=workflow/megaport/{package}"
    tests = ["-m", "pytest", "-q", "--hypothesis-seed=0", f"tests/{package}"]
    report = folder / f"{package}.json"
    subprocess.run([*coverage, "run", "--branch", source, data, *tests], check=True)
    subprocess.run([*coverage, "json", "--quiet", data, "-o", str(report)], check=True)
    subprocess.run([*coverage, "html", "--quiet", data, "-d", str(folder / package)], check=True)
    return json.loads(report.read_text())["totals"]


def main() -> int:
    folder = Path(os.environ["COVERAGE_OUT"])
    folder.mkdir(parents=True, exist_ok=True)
    low = False
    lines = []
    for package in PACKAGES:
        totals = measured(package, folder)
        branches = 100 * totals["covered_branches"] / totals["num_branches"]
        statements = 100 * totals["covered_lines"] / totals["num_statements"]
        low = low or min(branches, statements) < LEAST
        lines.append(
            f"{package:10}  {branches:5.1f} % of {totals['num_branches']} branches"
            f"  {statements:5.1f} % of {totals['num_statements']} statements"
        )
    print(*lines, sep="\n")
    if low:
        print(f"error: less than {LEAST:g} %; see {folder}/PACKAGE/index.html")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
