"""Compile every kernel for a card that is not there: `python -m support.ptxas 90`.

What a launch on a 345M in float16 would ask for: Triton's passes, ptxas, and the shared memory that
such a card gives a program.
"""

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from megaport.generate.engines import kernels
from megaport.generate.engines.fused import WARPS, tile

# Bytes of shared memory a program may have: A100 and H100.
SHARED = {80: 163 * 1024, 90: 227 * 1024}
WEIGHTS, FLOAT, WHOLE = ("*fp16", "*bf16", "*fp32"), "*fp32", "*i64"


def compiled(kernel: Any, types: list[str], constants: dict[str, Any], target: int, warps: int):
    given = iter(types)
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else next(given) for name in names}
    whole = [n for n in names if signature[n].startswith("*") or n in ("size", "length", "slots")]
    return triton.compile(
        ASTSource(
            fn=kernel,
            signature=signature,
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={(names.index(name),): [["tt.divisibility", 16]] for name in whole},
        ),
        target=GPUTarget("cuda", target, 32),
        options={"num_warps": warps, **({"launch_pdl": True} if constants["PDL"] else {})},
    )


def launches(pdl: bool, given: str) -> Any:
    """(kernel, argument types, compile-time constants, warps) of one row, and of more."""
    linear = {  # epilogue: x, out, aside, inputs
        "cache": (FLOAT, given, given, 1024),
        "gelu": (FLOAT, given, given, 1024),
        "add": (given, FLOAT, FLOAT, 4096),
        "argmax": (FLOAT, FLOAT, "*i32", 1024),
        "logits": (FLOAT, FLOAT, FLOAT, 1024),
    }
    for rows in (1, 16, 64):
        for epilogue, (x, out, aside, size) in linear.items():
            t = tile(epilogue, rows, size)
            norm = epilogue != "add"
            constants = {"EPILOGUE": epilogue, "NORM": norm, "BIAS": True, "TANH": True}
            constants |= {"DOT": t.rows > 1, "UPCAST": False, "PDL": pdl}
            constants |= {"ROWS": t.rows, "OUTS": t.outs, "BLOCK": t.block}
            types = [x, given, given, given, given, out, aside, WHOLE, *["i32"] * 5, "fp32"]
            yield kernels.linear, types, constants, WARPS
    for splits in (1, 16):
        types = [given, given, WHOLE, WHOLE, given, FLOAT, FLOAT, FLOAT, *["i32"] * 4, "fp32"]
        yield kernels.attend, types, {"SPLITS": splits, "PDL": pdl, "BLOCK": 64, "LENGTH": 64}, 4
    types = [FLOAT, FLOAT, FLOAT, given, "i32", "i32"]
    yield kernels.combine, types, {"SPLITS": 16, "PDL": pdl, "BLOCK": 16, "LENGTH": 64}, 4
    state = [FLOAT, "*i32", *[WHOLE] * 5, "*i1", "*i1", WHOLE, given, given, FLOAT, *["i32"] * 4]
    yield kernels.pick, state, {"PDL": pdl, "PROGRAMS": 4096, "HIDDEN": 1024}, 4


def main() -> None:
    target = int(sys.argv[1])
    for given in WEIGHTS:
        for kernel, types, constants, warps in launches(target >= 90, given):
            made = compiled(kernel, types, constants, target, warps)
            ptx, name = made.asm["ptx"], f"{kernel.__name__} {given} {constants}"
            print(name, made.metadata.shared, "bytes shared", flush=True)
            assert made.metadata.shared <= SHARED[target], f"{name}: {made.metadata.shared} bytes"
            halves = given != FLOAT  # float32 is multiplied exactly, which tensor cores do not
            assert ("mma" in ptx) == (constants.get("DOT", False) and halves), name
            assert ("griddepcontrol.wait" in ptx) == constants["PDL"], name


if __name__ == "__main__":
    main()
