"""Files of several machines, as their kernels write them, in as few lines as matter."""

from __future__ import annotations

from pathlib import Path

from loadtests.hardware.files import Files

_CPU = "sys/devices/system/cpu"


def files_of(folder: Path, texts: dict[str, str]) -> Files:
    """A machine whose files these are, below `folder`."""
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return Files(folder)


def _topology(cores: list[tuple[int, int, str]]) -> dict[str, str]:
    """Core, socket and siblings of each logical processor."""
    named = ("core_id", "physical_package_id", "thread_siblings_list")
    return {
        f"{_CPU}/cpu{number}/topology/{name}": f"{value}\n"
        for number, values in enumerate(cores)
        for name, value in zip(named, values, strict=True)
    }


def _caches(*caches: tuple[int, str, str]) -> dict[str, str]:
    named = ("level", "type", "size")
    return {
        f"{_CPU}/cpu0/cache/index{number}/{name}": f"{value}\n"
        for number, values in enumerate(caches)
        for name, value in zip(named, values, strict=True)
    }


_XEON_CPU = """\
processor	: {number}
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
cpu MHz		: 2699.998
physical id	: 0
core id		: {core}
flags		: fpu sse4_2 avx f16c hypervisor fma avx2 avx512f avx512bw avx512vl avx_vnni avx512_bf16 amx_bf16 \
avx512_fp16 amx_tile amx_int8 avx512_vnni

"""

XEON = {
    "proc/cpuinfo": "".join(_XEON_CPU.format(number=number, core=number // 2) for number in range(4)),
    "proc/meminfo": "MemTotal:       16375456 kB\nMemFree:          123 kB\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n',
    "sys/class/dmi/id/sys_vendor": "Google\n",
    "sys/class/dmi/id/product_name": "Google Compute Engine\n",
    **_topology([(0, 0, "0-1"), (0, 0, "0-1"), (1, 0, "2-3"), (1, 0, "2-3")]),
    **_caches((1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2048K"), (3, "Unified", "107520K")),
}
"""A virtual machine with two cores of two threads each."""

IN_DOCKER = {
    **XEON,
    ".dockerenv": "",
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": "2147483648\n",
}
"""The same, inside `docker run --cpus 1.5 --memory 2g`, with control groups of version 2."""

IN_A_SLICE = {
    **XEON,
    "proc/self/cgroup": "0::/user.slice/build.service\n",
    "sys/fs/cgroup/user.slice/build.service/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/build.service/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": "8589934592\n",
}
"""The same, in a systemd service without limits whose slice has some."""

IN_KUBERNETES = {
    **XEON,
    "proc/self/cgroup": "11:cpu,cpuacct:/kubepods/pod1/abc\n4:memory:/kubepods/pod1/abc\n1:name=systemd:/x\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296\n",
}
"""The same, in a pod, with control groups of version 1, whose paths are the host's."""

WITHOUT_LIMITS = {
    **XEON,
    "proc/self/cgroup": "4:memory:/\n1:cpu:/\n0::/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}
"""The same with control groups that limit nothing."""

_PI_CPU = """\
processor	: {number}
BogoMIPS	: 108.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1

"""

PI_5 = {
    "proc/cpuinfo": "".join(_PI_CPU.format(number=number) for number in range(4))
    + "Revision	: d04170\nSerial		: 00000000deadbeef\nModel		: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/meminfo": "MemTotal:        8256432 kB\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    f"{_CPU}/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
    **{f"{_CPU}/cpu{number}/cpufreq/scaling_governor": "ondemand\n" for number in range(4)},
    **_topology([(number, 0, str(number)) for number in range(4)]),
    "sys/class/drm/card0/device/uevent": "DRIVER=v3d\nOF_COMPATIBLE_0=brcm,2712-v3d\n",
}
"""A Raspberry Pi 5."""

PI_2 = {
    "proc/cpuinfo": "processor	: 0\nmodel name	: ARMv7 Processor rev 5 (v7l)\nFeatures	: half thumb neon vfpv4\n\n"
    "processor	: 1\nmodel name	: ARMv7 Processor rev 5 (v7l)\nFeatures	: half thumb neon vfpv4\n\n"
    "Hardware	: BCM2835\nRevision	: a01041\n",
    "proc/device-tree/model": "Raspberry Pi 2 Model B Rev 1.1\0",
    "proc/meminfo": "MemTotal:         948108 kB\n",
}
"""An older one, whose 32-bit kernel names the architecture, and shows no topology."""

BIG_LITTLE = {
    "proc/cpuinfo": "".join(
        f"processor	: {number}\nFeatures	: fp asimd\nCPU implementer	: 0x41\nCPU part	: {part}\n\n"
        for number, part in enumerate(["0xd03"] * 4 + ["0xd08"] * 2)
    ),
}
"""A board with two kinds of cores."""

GRAVITON_3 = {
    "proc/cpuinfo": "processor	: 0\nFeatures	: fp asimd asimddp sve i8mm bf16\n"
    "CPU implementer	: 0x41\nCPU part	: 0xd40\n\n",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
    "sys/class/dmi/id/product_name": "c7g.large\n",
    "proc/meminfo": "MemTotal:        3896432 kB\n",
}
"""A virtual ARM server."""
