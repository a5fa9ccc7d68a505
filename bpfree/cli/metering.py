"""Commands about meters: measure, doctor."""

import shlex
import sys
from typing import Annotated

import typer

from bpfree.cli.options import (
    AsJson,
    CodeCarbonCsv,
    Country,
    CpuWatts,
    Region,
    err,
    out,
    print_json,
)
from bpfree.errors import RequestError


def measure(
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND...", help="And its arguments.")] = None,
    country: Country = None,
    region: Region = None,
    carbon_intensity: Annotated[
        float | None, typer.Option(help="g CO2e per kWh, in the place of the country's.")
    ] = None,
    pue: Annotated[float, typer.Option(help="Facility energy over device energy.")] = 1.0,
    cpu_watts: CpuWatts = None,
    codecarbon_csv: CodeCarbonCsv = None,
    as_json: AsJson = False,
) -> None:
    """Run a command and tell what it took, on stderr; its output and its exit status are passed on.

    With --json one document goes to stdout, and the command's own output to stderr.
    """
    if not command:
        raise RequestError("there is no command to measure: bpfree measure -- COMMAND...")
    from bpfree.measuring import checked_settings, measure_command

    settings = checked_settings(
        country=country, region=region, carbon_intensity=carbon_intensity, pue=pue, cpu_watts=cpu_watts
    )
    stdout = sys.stderr if as_json else sys.stdout
    measurement, status = measure_command(command, settings, codecarbon_csv, stdout.fileno())
    if as_json:
        print_json({"command": command, "exit_status": status, **measurement.measured.document()})
    else:
        err.print(f"bpfree: `{shlex.join(command)}` ended with exit status {status}", soft_wrap=True)
        err.print(measurement.summary(), soft_wrap=True)
    measurement.write_csv()
    sys.stdout.flush()
    raise SystemExit(status)  # not typer.Exit, of which 130 would be read as our own interruption


def doctor(as_json: AsJson = False) -> None:
    """What this machine can and cannot measure, and why."""
    from bpfree.meters.doctor import diagnose, render

    diagnosis = diagnose()
    if as_json:
        print_json(diagnosis)
    else:
        out.print(render(diagnosis))
