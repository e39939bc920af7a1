"""How the commands end where something goes wrong, or a signal comes."""

import os
import signal

import pytest

from apps import start


class ResourceExhaustedError(Exception):
    """As TensorFlow's, which shares no base class with Python's own."""

    __module__ = "tensorflow.python.framework.errors_impl"


SAID = """Graph execution error:

Detected at node gradient_tape/conv2d/Conv2DBackpropInput defined at (most recent call)
OOM when allocating tensor with shape[4096,256,32,32] and type float
"""


@pytest.fixture
def named_errors():
    before = signal.getsignal(signal.SIGTERM)
    yield start._named_errors
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "error, said",
    [
        (ValueError("Unknown scheme"), "Unknown scheme"),
        (MemoryError(), "out of memory"),
        (ImportError("No module named 'x'", name="x"), "No module named 'x'"),
        (
            ResourceExhaustedError(SAID),
            "out of memory; a smaller --batch_size needs less. Received: "
            "ResourceExhausted: OOM when allocating tensor with shape[4096,256,32,32] "
            "and type float",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_ends_in_one_line(error, said, named_errors):
    with pytest.raises(SystemExit) as caught, named_errors():
        raise error
    assert caught.value.code.endswith(said) or said in caught.value.code
    assert "\n" not in caught.value.code


def test_an_error_of_the_program_keeps_its_traceback(named_errors):
    with pytest.raises(KeyError), named_errors():
        raise KeyError("x")


def test_sigterm_ends_with_the_status_of_a_shell(named_errors):
    with pytest.raises(SystemExit) as caught, named_errors():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143
