import resource
import subprocess
import sys
from functools import partial

import pytest

from bpfree.errors import RequestError
from bpfree.meters import open_meters, peak_host_bytes
from bpfree.meters.model import CpuModelMeter, Processor, ThreadPower, processor, table_tdp, thread_power

KNOWN = "Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz"
MEBIBYTE = 2**20


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def test_joules_are_cpu_seconds_times_watts(busy):
    before = cpu_seconds()
    meter = CpuModelMeter(ThreadPower(7.0, "test"))
    busy(0.3)
    assert meter.read() == pytest.approx(7.0 * (cpu_seconds() - before), rel=0.05)
    assert meter.read() >= 7.0 * 0.3
    assert meter.quality == "modelled"


def test_cpu_seconds_may_be_those_of_another_process():
    counts = iter([3.0, 3.5])
    meter = CpuModelMeter(ThreadPower(7.0, "test"), cpu_seconds=lambda: next(counts), of="command")
    assert meter.read() == 3.5
    assert meter.note == "command CPU seconds × 7 W (test)"
    assert meter.watch is None


def test_table_gives_a_thread_its_share_of_the_chip():
    power = thread_power(Processor(KNOWN, threads=12, sockets=1, virtual=False))
    assert power.watts == pytest.approx(95 / 12)  # Intel's specification: 95 W
    assert "95 W" in power.source
    assert "12 threads" in power.source


def test_every_socket_has_its_own_tdp():
    power = thread_power(Processor("AMD EPYC 7742 64-Core Processor", threads=256, sockets=2, virtual=False))
    assert power.watts == pytest.approx(2 * 225 / 256)


@pytest.mark.parametrize(
    ("model", "virtual", "why"),
    [("Frobnicator 9000", False, "not in its CPU table"), (KNOWN, True, "virtual machine")],
)
def test_default_where_the_share_is_not_known(model, virtual, why):
    power = thread_power(Processor(model, threads=4, sockets=1, virtual=virtual))
    assert power.watts == 4.0
    assert why in power.source


def test_watts_of_the_user_come_first():
    power = thread_power(Processor(KNOWN, threads=10, sockets=1, virtual=True), cpu_watts=45.0)
    assert power.watts == 4.5
    assert "45 W" in power.source


@pytest.mark.parametrize("watts", [0.0, -3.0, float("inf"), float("nan")])
def test_watts_out_of_range(watts):
    with pytest.raises(RequestError, match="cpu_watts"):
        thread_power(Processor(KNOWN, threads=10, sockets=1, virtual=False), watts)


def test_ambiguous_name_is_not_in_the_table():
    assert table_tdp("AMD EPYC") is None


def test_processor_is_read_from_cpuinfo(tmp_path):
    block = "processor\t: {0}\nmodel name\t: A CPU\nphysical id\t: {1}\nflags\t\t: fpu {2}\n\n"
    path = tmp_path / "cpuinfo"
    path.write_text("".join(block.format(index, index // 2, "") for index in range(4)))
    cpu = processor(path)
    assert (cpu.model, cpu.sockets, cpu.virtual) == ("A CPU", 2, False)
    path.write_text(block.format(0, 0, "hypervisor"))
    assert processor(path).virtual
    assert processor(tmp_path / "absent").model == "unknown"


def test_cpu_device_has_cpu_and_dram_alone(tmp_path, tree):
    cpu, dram = open_meters("cpu", powercap_roots=[tmp_path / "absent"], cpu_watts=10.0)
    assert (cpu.component, cpu.quality, dram.component, dram.quality) == ("cpu", "modelled", "dram", "absent")
    assert "10 W" in cpu.note


def test_the_model_may_be_anothers(tmp_path):
    model = partial(CpuModelMeter, cpu_seconds=lambda: 0.0, of="command")
    cpu, _ = open_meters("cpu", powercap_roots=[tmp_path / "absent"], cpu_model=model)
    assert cpu.read() == 0.0
    assert cpu.note.startswith("command CPU seconds")


def test_cuda_device_has_its_gpu_first(tmp_path):
    meters = open_meters("cuda:0", powercap_roots=[tmp_path / "absent"])
    assert [meter.component for meter in meters] == ["gpu", "cpu", "dram"]
    assert "UUID" in meters[0].note


def test_peak_memory_of_a_small_child_of_a_large_parent():
    ballast = bytearray(300 * MEBIBYTE)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = "from bpfree.meters import peak_host_bytes; print(peak_host_bytes())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert peak_host_bytes() > 300 * MEBIBYTE
    assert 5 * MEBIBYTE < child < 60 * MEBIBYTE


def test_peak_memory_is_null_where_the_kernel_does_not_tell(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t 10 kB\n")
    assert peak_host_bytes(tmp_path / "status") is None
    assert peak_host_bytes(tmp_path / "absent") is None
