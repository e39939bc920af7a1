"""A CPU that computes with bfloat16 by way of float32."""

import pytest

from nfm_keras.records.processor import emulates_bfloat16, slow_precision

CPUINFO = "processor\t: {}\nmodel name\t: A CPU of avx512_bf16 fame\n{}\n\n"
AVX2 = "flags\t\t: fpu sse2 avx avx2 fma"


def cpuinfo(flags):
    """Two cores of one kind."""
    return CPUINFO.format(0, flags) + CPUINFO.format(1, flags)


@pytest.mark.parametrize(
    ("flags", "emulated"),
    [
        (AVX2, True),
        (f"{AVX2} avx512f avx512_vnni", True),
        (f"{AVX2} avx512f avx512_bf16", False),
        (f"{AVX2} amx_bf16 amx_tile", False),
        (f"{AVX2} not_avx512_bf16", True),  # a word, not a part of one
        ("Features\t: fp asimd", True),
        ("Features\t: fp asimd bf16", False),
        ("isa\t\t: rv64imafdc", False),  # nothing is known
        ("", False),
    ],
)
def test_what_the_flags_say_of_bfloat16(flags, emulated):
    assert emulates_bfloat16(cpuinfo(flags)) is emulated


@pytest.mark.parametrize(
    ("precision", "accelerators", "flags", "warned"),
    [
        ("mixed_bfloat16", [], AVX2, True),
        ("mixed_bfloat16", ["a GPU"], AVX2, False),
        ("mixed_bfloat16", [], f"{AVX2} avx512_bf16", False),
        ("float32", [], AVX2, False),
        ("mixed_float16", [], AVX2, False),
    ],
)
def test_only_a_run_that_is_slow_here_is_warned(precision, accelerators, flags, warned):
    told = slow_precision(precision, accelerators, cpuinfo(flags))
    assert ("slower than float32" in told) is warned and "\n" not in told
