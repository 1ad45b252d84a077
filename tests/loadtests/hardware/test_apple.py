"""A Mac tells of itself by sysctl; what its sysctl does not know is left out."""

from __future__ import annotations

from loadtests.hardware import apple

M2 = """\
machdep.cpu.brand_string: Apple M2 Pro
hw.physicalcpu: 10
hw.l1icachesize: 131072
hw.l1dcachesize: 65536
hw.l2cachesize: 4194304
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_SME: 0
"""


def test_a_mac_is_told() -> None:
    told = apple.told(lambda *_: M2)
    assert (told["cpu"], apple.number(told, "physical"), apple.mhz(told)) == ("Apple M2 Pro", 10, None)
    assert apple.flags(told) == ("asimddp", "bf16")
    assert apple.caches(told) == {"L1d": "64 KiB", "L1i": "128 KiB", "L2": "4096 KiB"}


def test_an_older_mac_tells_its_clock() -> None:
    told = apple.told(lambda *_: "hw.cpufrequency_max: 2600000000\nhw.optional.avx2_0: 1\n")
    assert (apple.mhz(told), apple.flags(told)) == (2600.0, ("avx2",))


def test_no_sysctl_tells_nothing() -> None:
    told = apple.told(lambda *_: "")
    assert (told, apple.flags(told), apple.caches(told), apple.mhz(told)) == ({}, (), {}, None)
