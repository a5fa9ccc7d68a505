"""`bpfree measure` on a machine with two GPUs, which a stub of NVIDIA's library plays."""

import json

import pytest

WATTS = 100.0
"""Of the second GPU; the first draws thrice."""


@pytest.fixture
def measured(bpfree, stub):
    def run(*arguments, **env):
        settings = {"LD_LIBRARY_PATH": str(stub.folder), "STUB_CONTROL": str(stub.control), "STUB_PERIOD": "0.005"}
        done = bpfree("measure", *arguments, **{**settings, "STUB_WATTS": str(WATTS), **env})
        assert done.returncode == 0, done.stderr
        return done

    return run


def gpus(found):
    return [reading for reading in found["readings"] if reading["component"] == "gpu"]


def test_every_visible_gpu_has_its_reading(measured):
    found = json.loads(measured("--json", "--country", "FRA", "--", "sleep", "1").stdout)
    assert [reading["quality"] for reading in gpus(found)] == ["measured"] * 2
    for reading, factor in zip(gpus(found), (3, 1), strict=True):
        assert reading["mean_watts"] == pytest.approx(factor * WATTS, rel=0.1)
        assert reading["resolution"] < 0.02
    assert [state["uuid"][:8] for state in found["gpus"]] == ["GPU-bbbb", "GPU-aaaa"]
    assert "gpu" in found["boundary"]
    assert found["joules_quality"] == "measured"
    assert found["joules"] >= sum(reading["joules"] for reading in gpus(found)) * (1 - 1e-9)
    assert found["carbon"]["co2e_kg"] > 0
    assert "the energy of gpu is the whole device's, other programs included" in " ".join(found["remarks"])


def test_gpus_are_told_apart(measured):
    lines = [line.split() for line in measured("--", "sleep", "1").stderr.splitlines()]
    assert [line[:2] for line in lines if line[:1] == ["gpu"]] == [["gpu", "0"], ["gpu", "1"]]


def test_cuda_visible_devices_is_obeyed(measured):
    found = json.loads(measured("--json", "--", "sleep", "1", CUDA_VISIBLE_DEVICES="1").stdout)
    (reading,) = gpus(found)
    assert reading["mean_watts"] == pytest.approx(WATTS, rel=0.1)
    assert [state["uuid"][:8] for state in found["gpus"]] == ["GPU-aaaa"]
    (hidden,) = gpus(json.loads(measured("--json", "--", "true", CUDA_VISIBLE_DEVICES="").stdout))
    assert (hidden["joules"], hidden["quality"]) == (None, "absent")
    assert "CUDA_VISIBLE_DEVICES" in hidden["reason"]


def test_too_short_for_the_counter_is_shown_as_unresolved(measured):
    done = measured("--json", "--", "true", STUB_PERIOD="0.1")
    assert {reading["quality"] for reading in gpus(json.loads(done.stdout))} == {"unresolved"}
    text = measured("--", "true", STUB_PERIOD="0.1").stderr
    assert " unresolved" in text
    assert " measured " not in "".join(line for line in text.splitlines() if line.startswith("gpu "))
