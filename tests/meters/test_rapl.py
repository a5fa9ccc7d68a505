import os
from pathlib import Path

import pytest

from bpfree.errors import WorldError
from bpfree.meters.rapl import KEEPER_SECONDS, RaplMeter, Zone, open_rapl


def opened(tree):
    """Meters of a tree whose counters then stand still."""
    cpu, dram = open_rapl([tree.root], tree.read)
    tree.drift = 0
    return cpu, dram


def test_two_packages_with_dram_without_double_counting(tree):
    tree.add("intel-rapl:0", "package-0", 1_000)
    tree.add("intel-rapl:0:0", "core", 5)
    tree.add("intel-rapl:0:1", "dram", 9)
    tree.add("intel-rapl:0:2", "uncore", 5)
    tree.add("intel-rapl:1", "package-1", 70_000_000)
    tree.add("intel-rapl:1:0", "dram", 2)
    tree.add("intel-rapl:2", "psys", 5)
    tree.add("intel-rapl-mmio:0", "package-0", 1_500)
    cpu, dram = opened(tree)
    joules = {"intel-rapl:0": 10, "intel-rapl:1": 20, "intel-rapl:0:1": 3, "intel-rapl:1:0": 4}
    for zone in tree.counters:
        tree.counters[zone] += joules.get(zone, 100) * 1_000_000
    assert cpu.read() == 30.0
    assert dram.read() == 7.0
    assert (cpu.component, cpu.method, cpu.quality, cpu.update_period) == ("cpu", "rapl_powercap", "measured", 0.001)
    cpu.close()
    dram.close()


def test_wraparound_is_exact_to_the_microjoule(tree):
    wraps_at = 65_712_999_613
    tree.add("intel-rapl:0", "package-0", wraps_at - 3_000_000, wraps_at)
    cpu, _ = opened(tree)
    start = tree.counters["intel-rapl:0"]
    total = 0
    for step in (40_000_000_001, 60_000_000_002, 5, 65_712_999_612):  # three wraps, at most one between two reads
        total += step
        tree.counters["intel-rapl:0"] = (start + total) % wraps_at
        assert round(cpu.read() * 1e6) == total
    cpu.close()


def test_keeper_sees_a_wrap_that_nobody_reads(tree):
    tree.add("intel-rapl:0", "package-0", 900, 1_000)
    zone = Zone(tree.root / "intel-rapl:0", "package-0", "package-0", 1_000)
    tree.drift = 400  # every read moves the counter, so the total shows how often it was read
    meter = RaplMeter("cpu", [zone], tree.read, keeper=0.005)
    meter._closed.wait(0.1)
    assert meter.read() > 3 * 400e-6
    meter.close()
    assert not meter._keeper.is_alive()
    assert 65_000 / KEEPER_SECONDS > 2_000


def test_mirrored_die_is_counted_once(tree):
    tree.add("intel-rapl:0", "package-0-die-0", 500_000_000)
    tree.add("intel-rapl:1", "package-0-die-1", 500_000_020)
    tree.add("intel-rapl:2", "package-1-die-0", 500_000_000)  # another socket: equal by chance
    cpu, _ = opened(tree)
    for zone in tree.counters:
        tree.counters[zone] += 68_000_000
    assert cpu.read() == 136.0
    cpu.close()


def test_dies_with_counters_of_their_own_are_added(tree):
    tree.add("intel-rapl:0", "package-0-die-0", 500_000_000)
    tree.add("intel-rapl:1", "package-0-die-1", 900_000_000)
    cpu, _ = opened(tree)
    for zone in tree.counters:
        tree.counters[zone] += 68_000_000
    assert cpu.read() == 136.0
    cpu.close()


def test_a_cpu_without_dram_zone(tree):
    tree.add("intel-rapl:0", "package-0")
    cpu, dram = opened(tree)
    assert (dram.quality, dram.read()) == ("absent", None)
    assert "memory" in dram.note
    cpu.close()


def denied(path: Path) -> str:
    if path.name == "energy_uj":
        raise PermissionError(13, "Permission denied", str(path))
    return path.read_text()


def damaged(path: Path) -> str:
    return "?" if path.name == "energy_uj" else path.read_text()


def frozen(path: Path) -> str:
    return "123\n" if path.name == "energy_uj" else path.read_text()


@pytest.mark.parametrize(
    ("read_text", "reason"), [(denied, "sudo chmod o+r"), (damaged, "damaged"), (frozen, "frozen")]
)
def test_unusable_counters_are_absent_with_the_remedy(tree, read_text, reason):
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    for meter in open_rapl([tree.root], read_text):
        assert (meter.quality, meter.method, meter.read()) == ("absent", "none", None)
        assert reason in meter.note


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores file modes")
def test_counters_for_root_alone(tree):
    tree.add("intel-rapl:0", "package-0")
    (tree.root / "intel-rapl:0" / "energy_uj").chmod(0)
    assert "sudo chmod o+r" in open_rapl([tree.root])[0].note


def test_no_tree(tmp_path):
    cpu, dram = open_rapl([tmp_path / "absent"])
    assert cpu.note == dram.note
    assert "no powercap tree" in cpu.note


def test_hidden_tree(tmp_path):
    (tmp_path / "intel-rapl:0").symlink_to(tmp_path / "masked")
    assert "container" in open_rapl([tmp_path])[0].note


def test_tree_without_package(tree):
    tree.add("intel-rapl:0", "psys")
    assert "no RAPL package zone" in open_rapl([tree.root], tree.read)[0].note


def test_second_root_is_tried(tree, tmp_path):
    tree.add("intel-rapl:0", "package-0")
    cpu, _ = open_rapl([tmp_path / "absent", tree.root], tree.read)
    assert cpu.quality == "measured"
    cpu.close()


def test_nested_layout_of_the_devices_folder(tree):
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    tree.add("intel-rapl-mmio:0", "package-0")
    cpu, dram = open_rapl([tree.base / "devices" / "virtual" / "powercap"], tree.read)
    assert [zone.path.name for zone in cpu.zones] == ["intel-rapl:0"]
    assert [zone.path.name for zone in dram.zones] == ["intel-rapl:0:0"]
    cpu.close()
    dram.close()


def test_counter_that_vanishes_fails_the_run(tree):
    tree.add("intel-rapl:0", "package-0")
    cpu, _ = opened(tree)
    tree.counters.clear()
    cpu._read_text = Path.read_text
    with pytest.raises(WorldError, match="cannot be read any more"):
        cpu.read()
    cpu.close()
