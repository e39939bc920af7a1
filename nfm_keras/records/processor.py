"""What the processor of this machine is slow at.

To import this module takes neither Keras nor NumPy.
"""

import pathlib
from collections.abc import Sequence

_FLAGS = "flags", "Features"  # as x86 and ARM call them
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


def emulates_bfloat16(cpuinfo: str) -> bool:
    """Returns whether a CPU computes with bfloat16 by way of float32, which is slow.

    Args:
        cpuinfo: str, what Linux has in `/proc/cpuinfo`. Of one without flags nothing is
            known, and the answer is no.

    Example:

    >>> emulates_bfloat16("flags : fpu sse2 avx2")
    True
    >>> emulates_bfloat16("flags : fpu sse2 avx2 avx512f avx512_bf16")
    False
    """
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    flags = [set(of.split()) for key, _, of in lines if key.strip() in _FLAGS]
    return bool(flags) and not flags[0] & _BFLOAT16


def slow_precision(
    precision: str, accelerators: Sequence[str], cpuinfo: str | None = None
) -> str:
    """Returns a sentence about a precision that is slow here, or an empty string.

    Args:
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        accelerators: Names of the devices besides the CPU.
        cpuinfo: As in `emulates_bfloat16`; by default that of this machine.

    Example:

    >>> slow_precision("mixed_bfloat16", [], "flags : avx2")[:33]
    'mixed_bfloat16 is several times s'
    >>> slow_precision("mixed_bfloat16", ["NVIDIA H100"], "flags : avx2")
    ''
    """
    if precision != "mixed_bfloat16" or accelerators:
        return ""
    if cpuinfo is None:
        path = pathlib.Path("/proc/cpuinfo")
        cpuinfo = path.read_text() if path.exists() else ""
    if not emulates_bfloat16(cpuinfo):
        return ""
    return (
        "mixed_bfloat16 is several times slower than float32 on this CPU, which has no "
        "instructions for it (avx512_bf16, amx_bf16); --precision=float32 is faster"
    )


def device_files() -> list[str]:
    """Returns the files by which Linux shows GPUs; no framework is asked.

    Asking JAX would take the memory of the device from the processes that train.
    """
    places = ("nvidia[0-9]*", "kfd")
    return [str(path) for place in places for path in pathlib.Path("/dev").glob(place)]
