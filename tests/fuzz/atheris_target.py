"""Coverage-guided fuzzing of the reader with atheris: inputs that reach new code are kept and bred.

    pip install atheris
    PYTHONPATH=workflow:tests python tests/fuzz/atheris_target.py CORPUS -max_total_time=600

CORPUS is a folder of inputs, filled with the seeds and past findings where it is empty. The first
byte of an input says what the rest is: a file, or a pickle behind headers and checksums that fit.
A finding ends the run with the input in ./crash-*; `python tests/fuzz/atheris_target.py crash-*`
shows it again. Other arguments are libFuzzer's.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["megaport"]):
    from fuzz.forge import RECORD
    from fuzz.harness import outcome
    from fuzz.seeds import seeds
    from megaport.checkpoint.archive import read_members
    from support.archives import File, zipped
    from support.torchfiles import legacy_file, region

CORPUS = Path(__file__).parent / "corpus"
FILE, ZIP, LEGACY = range(3)


def file_of(data: bytes) -> bytes:
    """The file an input stands for."""
    kind, body = data[0] % 3, data[1:]
    if kind == ZIP:
        return zipped(File(b"m/data.pkl", body), File(b"m/data/0", RECORD))
    return legacy_file(body, {"0": RECORD}) if kind == LEGACY else body


def fill(corpus: Path) -> None:
    found = [bytes([FILE]) + path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]
    found += [bytes([FILE]) + data for data in seeds().values()]
    for name, member in read_members(region(seeds()["zip"])).items():
        if name.endswith("data.pkl"):
            pickled = bytes(member.body.view)
            found += [bytes([ZIP]) + pickled, bytes([LEGACY]) + pickled[2:-1]]
    for number, data in enumerate(found):
        (corpus / f"seed-{number:03d}").write_bytes(data)


def main() -> None:
    corpora = [Path(argument) for argument in sys.argv[1:] if Path(argument).is_dir()]
    if corpora and not any(corpora[0].iterdir()):
        fill(corpora[0])
    with tempfile.TemporaryDirectory() as folder:

        def one(data: bytes) -> None:
            if data:
                outcome(file_of(data), Path(folder))

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
