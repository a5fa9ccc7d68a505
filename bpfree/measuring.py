"""The meters of a run around anything else: a command, or a block of Python.

    with bpfree.measure(country="FRA") as m:
        train()
    print(m.summary())

`bpfree.measure` is the function of this module, imported when it is first asked for.
"""

import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from bpfree import environment
from bpfree.accounting import Progress, Window, gpu_states, remarks
from bpfree.command import Command, held_signals
from bpfree.errors import BpfreeError, RequestError
from bpfree.measured import Measured, counted, summary, whole
from bpfree.meters import Session, boundary_joules, carbon_of, open_meters, peak_host_bytes
from bpfree.meters.carbon import factor_of
from bpfree.meters.codecarbon_csv import Emission, append, check
from bpfree.meters.model import CpuModelMeter, processor, thread_power
from bpfree.meters.nvml import visible_gpus
from bpfree.records import MOST, MeasurementSettings, Reading

PROJECT = "bpfree measure"
"""CodeCarbon's `project_name` of what is measured here."""


def checked_settings(**given: Any) -> MeasurementSettings:
    """Measurement settings, checked before anything runs.

    Raises
    ------
    RequestError
        A value is out of range, or the country or region is not in CodeCarbon's data.
    """
    try:
        settings = MeasurementSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        wanted = first["msg"].removeprefix("Input should be ")
        raise RequestError(f"{first['loc'][0]} = {first['input']!r} is not accepted: it must be {wanted}") from None
    for name, most in MOST.items():
        if (getattr(settings, name) or 0) > most:
            raise RequestError(f"{name} = {getattr(settings, name):g} is not accepted: it must be at most {most:g}")
    factor_of(settings)
    if settings.cpu_watts is not None:
        thread_power(processor(), settings.cpu_watts)
    return settings


class Measurement:
    """Meters around a block of code, or around a command; the figures are there once it has ended."""

    def __init__(
        self, settings: MeasurementSettings, codecarbon_csv: Path | None = None, command: Command | None = None
    ) -> None:
        if codecarbon_csv is not None:
            check(codecarbon_csv)
        self.settings = settings
        self._csv = codecarbon_csv
        self._command = command
        self._cpu_seconds = command.cpu_seconds if command else time.process_time
        self._measured: Measured | None = None

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, _: type[BaseException] | None, raised: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.end()
            self.write_csv()
        except (BpfreeError, OSError) as error:
            if raised is None:
                raise
            raised.add_note(f"bpfree: {error}")  # the block's own exception is what matters

    def begin(self) -> None:
        """Open the meters, and begin once the devices have come to rest.

        Raises
        ------
        WorldError
            A GPU is lost.
        """
        self._measured = None
        of = "command" if self._command else "process"
        model = partial(CpuModelMeter, cpu_seconds=self._cpu_seconds, of=of)
        watts = self.settings.cpu_watts
        self._session = Session(
            open_meters("cuda", gpu_uuids=visible_gpus(), cpu_watts=watts, cpu_model=model), synchronize
        )
        self._floor = peak_host_bytes()
        self._started = datetime.now(UTC)
        try:
            self._begin = self._session.begin_at_rest("measured")
        except BaseException:
            self._session.close()
            raise
        self._cpu_before = self._cpu_seconds()

    def end(self) -> Measured:
        """Read the meters again, and close them.

        Raises
        ------
        WorldError
            A GPU was lost.
        """
        try:
            end = self._session.phase("measured")
            cpu_seconds = self._cpu_seconds() - self._cpu_before
            window = Window(self._begin, end, self._session.rest())
            self._measured = self._figures(window, cpu_seconds)
        finally:
            self._session.close()
        return self._measured

    def write_csv(self) -> None:
        """Append to the CodeCarbon file, if one was named.

        Raises
        ------
        RequestError
            It has got other columns meanwhile.
        OSError
            It cannot be written.
        """
        if self._csv is not None:
            append(self._csv, self._emission())

    def close(self) -> None:
        """Close the meters without a reading."""
        self._session.close()

    def _figures(self, window: Window, cpu_seconds: float) -> Measured:
        readings = window.readings(self._session)
        boundary = counted(readings)
        joules, quality = boundary_joules(readings, boundary)
        states = gpu_states(self._session, window, readings)
        if self._command and self._command.ended:
            peak, floor = self._command.ended.peak_bytes, self._command.ended.peak_floor
        else:
            peak, floor = peak_above(self._floor), self._floor
        return Measured(
            started=self._started.isoformat(timespec="seconds"),
            seconds=window.seconds,
            cpu_seconds=cpu_seconds,
            readings=readings,
            joules=joules,
            joules_quality=quality,
            boundary=boundary,
            peak_host_bytes=peak,
            peak_host_floor=floor,
            carbon=carbon_of(joules, self.settings),
            gpus=states,
            remarks=[*whole(readings), *remarks(Progress(), states, window)],
        )

    def _emission(self) -> Emission:
        measured = self.measured
        return Emission(
            project=PROJECT,
            experiment=self._command.name if self._command else Path(sys.argv[0]).name,
            run=str(uuid.uuid4()),
            started=self._started,
            seconds=measured.seconds,
            readings=measured.readings,
            joules=measured.joules,
            quality=measured.joules_quality,
            carbon=measured.carbon,
            settings=self.settings,
            machine=environment.host(),
            gpu_names=[state.name for state in measured.gpus],
        )

    @property
    def measured(self) -> Measured:
        """All figures.

        Raises
        ------
        RequestError
            The block has not ended.
        """
        if self._measured is None:
            raise RequestError("the measured block has not ended: ask for its figures after it")
        return self._measured

    @property
    def seconds(self) -> float:
        """Wall-clock time of the block."""
        return self.measured.seconds

    @property
    def readings(self) -> list[Reading]:
        """One reading a component, and one for each of several GPUs."""
        return self.measured.readings

    def joules(self, component: str) -> float | None:
        """Energy of a component (gpu, cpu or dram), all its devices together; None where there is no figure."""
        return boundary_joules(self.readings, [component])[0]

    def summary(self) -> str:
        """All figures for people, a few lines."""
        return summary(self.measured)


def measure(
    *,
    country: str | None = None,
    region: str | None = None,
    carbon_intensity: float | None = None,
    pue: float = 1.0,
    cpu_watts: float | None = None,
    codecarbon_csv: str | Path | None = None,
) -> Measurement:
    """Meters around a block: `with bpfree.measure() as m:`, then `m.seconds`, `m.joules("gpu")`, `m.summary()`.

    The block is measured also where an exception ends it. A modelled CPU figure counts the CPU time of this process,
    not of its children.

    Parameters
    ----------
    country, region
        ISO 3166 alpha-3 code, and a part of it that CodeCarbon knows: for CO2e.
    carbon_intensity
        g CO2e per kWh, in the place of the country's.
    pue
        Power usage effectiveness: facility energy over device energy.
    cpu_watts
        Of the whole CPU under load, where its energy is modelled.
    codecarbon_csv
        A file to which a row in CodeCarbon's own format is appended.

    Raises
    ------
    RequestError
        A value is out of range, the country or region is not in CodeCarbon's data, or the file is of another format.
    """
    settings = checked_settings(
        country=country, region=region, carbon_intensity=carbon_intensity, pue=pue, cpu_watts=cpu_watts
    )
    return Measurement(settings, None if codecarbon_csv is None else Path(codecarbon_csv))


def measure_command(
    words: Sequence[str], settings: MeasurementSettings, codecarbon_csv: Path | None = None, stdout: int = 1
) -> tuple[Measurement, int]:
    """Run a command between the meters: what it took, and its exit status as a shell would give it.

    Its standard output goes to our descriptor `stdout`. The CodeCarbon file is checked, and yet to be written.

    Raises
    ------
    NotRunnable
        The command is not found, or cannot be executed.
    WorldError
        A GPU was lost.
    """
    command = Command(words, stdout)
    measurement = Measurement(settings, codecarbon_csv, command)
    with held_signals() as mask:
        measurement.begin()
        try:
            ended = command.run(mask)
        except BaseException:
            measurement.close()
            raise
        measurement.end()
    return measurement, ended.status


def synchronize() -> None:
    """Wait for the CUDA devices that this process uses, if it uses any; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for device in range(torch.cuda.device_count()):
        if device == torch.cuda.current_device() or torch.cuda.memory_reserved(device):
            torch.cuda.synchronize(device)


def peak_above(floor: int | None) -> int | None:
    """Peak memory of this process, where it has risen above what it had reached before."""
    peak = peak_host_bytes()
    return peak if peak is not None and floor is not None and peak > floor else None
