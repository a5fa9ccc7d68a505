"""CPU packages and DRAM by RAPL, as the kernel's powercap tree shows it.

Counted: the package zones, and the dram zones as a component of their own, for they lie outside the package. Not
counted: core and uncore (inside the package), psys (contains the package), the mmio twin of a package, and a die whose
counter mirrors that of another die of its socket.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter
from bpfree.records import Quality

POWERCAP_ROOTS = (
    Path("/sys/class/powercap"),
    Path("/sys/devices/virtual/powercap"),
    Path("/host/sys/class/powercap"),  # where containers like to mount the host's
)
UPDATE_PERIOD = 0.001
"""Seconds between two updates of a RAPL counter."""
KEEPER_SECONDS = 30.0
"""A counter of 65.7 kJ, the smallest in use, wraps in 30 s only above 2 kW."""
FROZEN_SECONDS = 0.05
MIRROR_MICROJOULES = 1_000_000

ReadText = Callable[[Path], str]


@dataclass(frozen=True)
class Zone:
    """One counter of the tree."""

    path: Path
    name: str
    """package-0, package-0-die-1, dram, core, uncore, psys."""
    package: str
    """Name of the package that it is, or belongs to."""
    range: int
    """Microjoules after which the counter wraps."""

    def microjoules(self, read_text: ReadText) -> int:
        """The counter's state."""
        return int(read_text(self.path / "energy_uj"))


class _Unusable(Exception):
    """Why RAPL cannot be read here, and what to do."""


class RaplMeter:
    """The sum of some zones' counters, wraparound undone.

    A thread that reads once in 30 seconds keeps a long phase from spanning two wraps unseen; it costs microseconds.
    """

    method = "rapl_powercap"
    quality: Quality = "measured"
    update_period: float | None = UPDATE_PERIOD
    note: str | None = None
    watch = None

    def __init__(
        self,
        component: str,
        zones: Sequence[Zone],
        read_text: ReadText = Path.read_text,
        keeper: float = KEEPER_SECONDS,
    ) -> None:
        self.component = component
        self.zones = tuple(zones)
        self._read_text = read_text
        self._last = [zone.microjoules(read_text) for zone in zones]
        self._total = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(keeper,), name=f"rapl-{component}", daemon=True)
        self._keeper.start()

    def read(self) -> float | None:
        """Joules since opening.

        Raises
        ------
        WorldError
            A counter has become unreadable.
        """
        with self._lock:
            for index, zone in enumerate(self.zones):
                now = self._count(zone)
                step = now - self._last[index]
                self._total += step if step >= 0 else step + zone.range
                self._last[index] = now
            return self._total * 1e-6

    def close(self) -> None:
        """Stop the keeper."""
        self._closed.set()
        self._keeper.join()

    def _count(self, zone: Zone) -> int:
        try:
            return zone.microjoules(self._read_text)
        except (OSError, ValueError) as error:
            raise WorldError(f"{zone.path / 'energy_uj'} cannot be read any more ({error}): run again") from None

    def _keep(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            try:
                self.read()
            except WorldError:  # the next reading tells it
                return


def open_rapl(roots: Sequence[Path] = POWERCAP_ROOTS, read_text: ReadText = Path.read_text) -> tuple[Meter, Meter]:
    """The meters of cpu and dram; absent with the reason where RAPL cannot be read."""
    try:
        packages, drams = usable_zones(roots, read_text)
    except _Unusable as reason:
        return AbsentMeter("cpu", str(reason)), AbsentMeter("dram", str(reason))
    cpu = RaplMeter("cpu", packages, read_text)
    if not drams:
        return cpu, AbsentMeter("dram", "RAPL of this CPU has no counter for memory (no dram zone)")
    return cpu, RaplMeter("dram", drams, read_text)


def usable_zones(roots: Sequence[Path], read_text: ReadText) -> tuple[list[Zone], list[Zone]]:
    """The package and dram zones to add up, each counter once; raises _Unusable if there are none."""
    root, zones = _zones(roots, read_text)
    packages = [zone for zone in zones if zone.name.startswith("package-")]
    drams = [zone for zone in zones if zone.name == "dram"]
    if not packages:
        raise _Unusable(
            "the powercap tree has no RAPL package zone: load the module intel_rapl_msr, if the CPU has RAPL"
        )
    try:
        before, after = _two_looks([*packages, *drams], read_text)
    except PermissionError:
        raise _Unusable(
            "RAPL counters are readable by root alone (the kernel's default since 5.10): until the next reboot, "
            f"sudo chmod o+r {root}/intel-rapl*/energy_uj"
        ) from None
    except OSError as error:
        raise _Unusable(f"RAPL counters cannot be read ({error.strerror})") from None
    except ValueError:
        raise _Unusable("RAPL counters hold no numbers: the powercap tree is damaged") from None
    if all(before[zone] == after[zone] for zone in packages):
        raise _Unusable("RAPL counters are frozen, as in some virtual machines: they do not move while the CPU works")
    kept = _without_mirrors(packages, before, after)
    names = {zone.name for zone in kept}
    return kept, [zone for zone in drams if zone.package in names]


def _zones(roots: Sequence[Path], read_text: ReadText) -> tuple[Path, list[Zone]]:
    """The first tree that has any zones, and its package and dram zones."""
    masked = False
    for root in roots:
        masked = masked or any(entry.is_symlink() and not entry.exists() for entry in _listing(root))
        names = _zone_names(root, read_text)
        if names:
            return root, _by_package(names, read_text)
    if masked:
        raise _Unusable(
            "the powercap tree is hidden, as container runtimes do by default: run on the host, or mount its "
            "/sys/class/powercap and /sys/devices/virtual/powercap into the container"
        )
    raise _Unusable(
        f"there is no powercap tree in {roots[0]}: a virtual machine, a container, or a CPU or kernel without RAPL"
    )


def _listing(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []


def _zone_names(root: Path, read_text: ReadText) -> dict[Path, str]:
    """Name of every zone below a root, by real path: the tree shows a zone both flat and nested."""
    depths = ("intel-rapl*/name", "intel-rapl*/intel-rapl*/name", "intel-rapl*/intel-rapl*/intel-rapl*/name")
    folders = {path.parent.resolve() for depth in depths for path in root.glob(depth)}
    return {folder: read_text(folder / "name").strip() for folder in sorted(folders, key=_zone_order)}


def _zone_order(folder: Path) -> tuple[bool, str]:
    return "mmio" in folder.name, folder.name


def _by_package(names: dict[Path, str], read_text: ReadText) -> list[Zone]:
    """Package and dram zones, each name of each package once: intel-rapl before its mmio twin."""
    by_folder_name = {folder.name: name for folder, name in names.items()}
    zones: dict[tuple[str, str], Zone] = {}
    for folder, name in names.items():
        if not (name.startswith("package-") or name == "dram"):
            continue
        parent = by_folder_name.get(folder.name.rpartition(":")[0], name)  # intel-rapl:0:1 belongs to intel-rapl:0
        package = name if name.startswith("package-") else parent
        zones.setdefault((package, name), Zone(folder, name, package, int(read_text(folder / "max_energy_range_uj"))))
    return list(zones.values())


def _two_looks(zones: Sequence[Zone], read_text: ReadText) -> tuple[dict[Zone, int], dict[Zone, int]]:
    """All counters twice, as soon as one has moved and at most 50 ms apart."""
    before = {zone: zone.microjoules(read_text) for zone in zones}
    deadline = time.perf_counter() + FROZEN_SECONDS
    while True:
        time.sleep(2 * UPDATE_PERIOD)
        after = {zone: zone.microjoules(read_text) for zone in zones}
        if after != before or time.perf_counter() > deadline:
            return before, after


def _without_mirrors(packages: Sequence[Zone], before: dict[Zone, int], after: dict[Zone, int]) -> list[Zone]:
    """Package zones less the dies whose counter is, at two moments, that of another die of the same socket."""
    kept: list[Zone] = []
    for zone in packages:
        twins = (other for other in kept if _socket(other) == _socket(zone))
        if not any(
            abs(before[zone] - before[twin]) <= MIRROR_MICROJOULES
            and abs(after[zone] - after[twin]) <= MIRROR_MICROJOULES
            for twin in twins
        ):
            kept.append(zone)
    return kept


def _socket(zone: Zone) -> str:
    matched = re.match(r"package-\d+", zone.name)
    return matched.group() if matched else zone.name
