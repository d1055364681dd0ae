import pytest

from tunesmith.training import machine


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Writes what the kernel tells, file by file."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    write(proc__meminfo="MemTotal: 9000 kB\nMemAvailable: 1000 kB")
    return write


def test_on_this_machine():
    assert 1e7 < machine.memory_taken() <= machine.memory_peak() < 1e12


def test_without_control_groups_it_is_what_the_kernel_calls_available(place):
    assert machine.memory_left() == 1_024_000
    assert machine.memory_taken() == machine.memory_peak() > 1e7  # no status: the C library's


@pytest.mark.parametrize("limited", ["groups__a__b", "groups__a"])
def test_the_tightest_control_group_counts(place, limited):
    place(proc__self__cgroup="0::/a/b")
    place(**{"groups__a__memory.max": "max", "groups__a__b__memory.max": "max"})
    place(**{f"{limited}__memory.max": 900_000, f"{limited}__memory.current": 800_000})
    assert machine.memory_left() == 100_000
    place(**{f"{limited}__memory.stat": "anon 700000\ninactive_file 50000"})
    assert machine.memory_left() == 150_000, "what is only cached is given back"


def test_the_first_version_of_control_groups(place):
    place(proc__self__cgroup="9:cpu:/x\n4:memory:/x\n0::/")
    names = ("limit_in_bytes", "usage_in_bytes")
    for folder, limit in (("groups__memory", 2**63 - 4096), ("groups__memory__x", 500_000)):
        place(**{f"{folder}__memory.{n}": v for n, v in zip(names, (limit, 400_000), strict=True)})
    assert machine.memory_left() == 100_000


def test_a_group_over_its_limit_leaves_nothing(place):
    place(proc__self__cgroup="0::/")
    place(**{"groups__memory.max": 10, "groups__memory.current": 20})
    assert machine.memory_left() == 0


def test_a_machine_that_says_nothing(place, tmp_path):
    (tmp_path / "proc" / "meminfo").unlink()
    assert machine.memory_left() is None
