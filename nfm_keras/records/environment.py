"""What a run was made on: versions and hardware, never the machine's name."""

import importlib
import os
import pathlib
import platform

import keras
import numpy


def environment():
    """Say what a run is made on, without naming the machine.

    Returns:
        Tuple `(versions, hardware)` of two dicts of JSON values. `versions`: Python,
        Keras, NumPy, the backend's name and its version. `hardware`: `cpu` (model),
        `cores` (usable by this process), `memory_gib`, `accelerators` (list of names).
        No host name, user name or path is in either.

    Example:

    >>> versions, hardware = environment()
    >>> sorted(versions)[:2]
    ['backend', 'keras']
    """
    backend = keras.backend.backend()
    # Only the backend in use: with JAX, TensorFlow must not be needed.
    module = importlib.import_module(backend)
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "backend": backend,
        backend: module.__version__,
    }
    hardware = {
        "cpu": _cpu(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "accelerators": _accelerators(backend, module),
    }
    return versions, hardware


def _accelerators(backend, module):
    if backend == "tensorflow":
        devices = module.config.list_physical_devices()
        return [_tensorflow_name(module, d) for d in devices if d.device_type != "CPU"]
    if backend == "jax":
        return [d.device_kind for d in module.devices() if d.platform != "cpu"]
    if backend == "torch":
        count = module.cuda.device_count()
        return [module.cuda.get_device_name(index) for index in range(count)]
    return []


def _tensorflow_name(tensorflow, device):
    details = tensorflow.config.experimental.get_device_details(device)
    return details.get("device_name", device.device_type)


def _cpu():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return models[0] if models else platform.processor() or platform.machine()


def _cores():
    # Affinity, not os.cpu_count(): a container or a job may be given fewer.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib():
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return round(size / 2**30, 1)
