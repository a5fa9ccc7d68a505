import json
import subprocess
import sys

from rich.console import Console

from bpfree.meters.doctor import diagnose, render
from bpfree.meters.fake import FakeClock, FakeMeter


def test_diagnosis_of_a_machine_without_counters(tmp_path):
    diagnosis = json.loads(json.dumps(diagnose((tmp_path / "absent",))))
    entries = {entry["component"]: entry for entry in diagnosis["components"]}
    assert entries["cpu"]["quality"] == "modelled"
    assert "no powercap tree" in entries["cpu"]["not_measured_because"]
    assert "W" in entries["cpu"]["note"]
    assert entries["dram"]["quality"] == "absent"
    assert entries["dram"]["note"]
    assert "CodeCarbon" in diagnosis["carbon"]["source"]
    console = Console(width=100, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(render(diagnosis))
    assert "modelled" in captured.get()
    assert "no powercap tree" in " ".join(captured.get().split())


def test_meters_do_not_import_torch():
    code = "import sys, bpfree.meters, bpfree.meters.doctor; print('torch' in sys.modules, 'codecarbon' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]


def test_fake_meter_follows_clock_or_script():
    clock = FakeClock()
    meter = FakeMeter(clock=clock, watts=5.0)
    clock.advance(2.0)
    assert meter.read() == 10.0
    scripted = FakeMeter(script=[1.0, None])
    assert [scripted.read(), scripted.read(), scripted.read()] == [1.0, None, None]
