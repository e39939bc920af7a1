"""What the benchmarks share: clocks, paired ratios, and what a report begins with."""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time

from absl import app, flags

from nfm_keras import records
from nfm_keras.records.environment import environment

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Name -> clock. `processor` counts all threads of this process and nothing else, and
so stays readable where the machine has other work."""


def seconds(function):
    """Clock -> seconds that one call takes."""
    started = {name: clock() for name, clock in CLOCKS.items()}
    function()
    return {name: clock() - started[name] for name, clock in CLOCKS.items()}


def summary(values):
    """Median, extremes and count: what a claim carries."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def summaries(times):
    """Clock -> `summary` of a list of clock readings."""
    return {clock: summary([t[clock] for t in times]) for clock in CLOCKS}


def ratios(top, bottom):
    """Clock -> `summary` of the ratios of readings that were taken together."""
    pairs = list(zip(top, bottom, strict=True))
    return {clock: summary([a[clock] / b[clock] for a, b in pairs]) for clock in CLOCKS}


def total(times):
    """Clock -> sum over several readings."""
    return {clock: sum(t[clock] for t in times) for clock in CLOCKS}


def header(module, names):
    """The command without paths, its settings, versions, hardware and the load.

    Args:
        module: What follows `python -m`.
        names: The flags that make a difference to the result.
    """
    chosen = [flags.FLAGS[name] for name in names]
    given = [flag.serialize() for flag in chosen if flag.present]
    versions, hardware = environment()
    return {
        "command": shlex.join(["python", "-m", module, *given]),
        "settings": {flag.name: flag.value for flag in chosen},
        "versions": versions,
        "hardware": hardware,
        "load_average": os.getloadavg()[0],
    }


def child(module, *given, **environment):
    """Runs a module in a process of its own; returns the JSON of its last line.

    Args:
        module: What follows `python -m`.
        *given: Flags, as they are typed.
        **environment: Variables besides those of this process.
    """
    command = [sys.executable, "-m", module, *given]
    given = os.environ | environment
    done = subprocess.run(
        command, env=given, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(values, digits=2):
    """`summary` as text: median [low, high]."""
    middle, low, high = (
        f"{values[name]:.{digits}f}" for name in ("median", "low", "high")
    )
    return f"{middle} [{low}, {high}]"


def main(measure, table, output):
    """What `app.run` runs: measures, prints the table, writes the report if asked to.

    Args:
        measure: function without arguments that returns the report.
        table: function of the report that returns its text.
        output: the flag of the JSON file to write.
    """

    def run(argv):
        if argv[1:]:
            raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
        report = measure()
        print(table(report))
        if output.value:
            records.write_json(output.value, report)

    return run
