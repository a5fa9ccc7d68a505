import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
AAAA = "aaaaaaaa-0000-0000-0000-000000000000"
BBBB = "bbbbbbbb-0000-0000-0000-000000000000"


@pytest.fixture(scope="session")
def build_stub(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles the stub with some definitions; the folder that holds libnvidia-ml.so.1."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the NVML stub with")

    def build(*definitions: str) -> Path:
        folder = tmp_path_factory.mktemp("nvml")
        library = folder / "libnvidia-ml.so.1"
        flags = [f"-D{name}" for name in definitions]
        soname = "-Wl,-soname,libnvidia-ml.so.1"
        command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", soname, *flags, "-o", library, SOURCE, "-lm"]
        subprocess.run(command, check=True)
        return folder

    return build


@pytest.fixture(scope="session")
def stub_folder(build_stub: Callable[..., Path]) -> Path:
    return build_stub()


PRELUDE = f'''
import gzip, json, os, time
from pathlib import Path
from bpfree.errors import WorldError
from bpfree.meters import Session, component_status, open_meters
from bpfree.meters.watch import GpuWatch
AAAA, BBBB = "{AAAA}", "{BBBB}"

def measure(seconds, uuid=AAAA, between=lambda: None):
    meter = open_meters("cuda", uuid)[0]
    session = Session([meter], clock=time.monotonic)
    times = [time.monotonic()]
    try:
        begin = session.phase("train")
        times.append(time.monotonic())
        time.sleep(seconds / 2)
        between()
        time.sleep(seconds / 2)
        times.append(time.monotonic())
        end = session.stop()
        times.append(time.monotonic())
    finally:
        session.close()
    return component_status(meter) | session.window(begin, end)[0].model_dump() | dict(times=times)

def watched(seconds, begun=None):
    """What a watch of the GPU says of a window, and the window: from its first sample, so that all is seen once."""
    watch = GpuWatch.open("GPU-" + AAAA)
    begin = watch.started
    if begun:
        begun(watch)
    time.sleep(seconds)
    end = time.monotonic()
    state = watch.state(begin, end, None)
    told = dict(
        state=state and state.model_dump(), note=watch.note, watts=watch.watts(begin, end),
        trace=gzip.decompress(watch.trace() or gzip.compress(b"")).decode(), began=watch.started,
    )
    watch.close()
    return told | dict(begin=begin, end=end)
'''


@dataclass
class Stub:
    """Runs Python with the stub as the NVIDIA library."""

    folder: Path
    control: Path

    def run(self, code: str, **settings: object) -> Any:
        """What the code prints, as JSON; it has `measure` and the names of the prelude."""
        command, environment = self.command(code, **settings)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def command(self, code: str, **settings: object) -> tuple[list[str], dict[str, str]]:
        """What `run` runs, and in which environment."""
        variables = {f"STUB_{name.upper()}": str(value) for name, value in settings.items()}
        environment = os.environ | variables | {"LD_LIBRARY_PATH": str(self.folder), "STUB_CONTROL": str(self.control)}
        return [sys.executable, "-W", "error", "-c", PRELUDE + code], environment


@pytest.fixture
def stub(stub_folder: Path, tmp_path: Path) -> Stub:
    return Stub(stub_folder, tmp_path)


@pytest.fixture(scope="module")
def shared_stub(stub_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stub:
    """For a run that several tests look at."""
    return Stub(stub_folder, tmp_path_factory.mktemp("control"))


@dataclass
class PowercapTree:
    """A tree of RAPL zones laid out as the kernel does: nested folders, and a flat folder of links to them.

    Its counters are served by `read`, so that their values are exact; while `drift` is not 0 they move at every read.
    """

    base: Path
    counters: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, int] = field(default_factory=dict)
    drift: int = 10

    @property
    def root(self) -> Path:
        return self.base / "class" / "powercap"

    def add(self, zone: str, name: str, microjoules: int = 0, wraps_at: int = 262_143_328_850) -> None:
        """A zone such as intel-rapl:0:1 below its parent."""
        kind, *numbers = zone.split(":")
        parts = [":".join([kind, *numbers[: depth + 1]]) for depth in range(len(numbers))]
        folder = self.base.joinpath("devices", "virtual", "powercap", kind, *parts)
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")
        (folder / "energy_uj").write_text("not served from here\n")
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / zone).symlink_to(folder)
        self.counters[zone], self.ranges[zone] = microjoules, wraps_at

    def read(self, path: Path) -> str:
        """In place of Path.read_text."""
        if path.name != "energy_uj":
            return path.read_text()
        zone = path.parent.name
        self.counters[zone] = (self.counters[zone] + self.drift) % self.ranges[zone]
        return f"{self.counters[zone]}\n"


@pytest.fixture
def tree(tmp_path: Path) -> PowercapTree:
    return PowercapTree(tmp_path)


@pytest.fixture
def busy() -> Callable[[float], None]:
    """Keeps one thread busy for some seconds of its CPU time."""

    def work(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            sum(range(1000))

    return work
