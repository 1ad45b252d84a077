"""GPUs are told as nvidia-smi prints them, old or new; others as the kernel shows them; none is no error."""

from __future__ import annotations

from pathlib import Path

from loadtests.hardware import gpu
from tests.loadtests.hardware.machines import PI_5, XEON, files_of

H100 = "NVIDIA H100 80GB HBM3, 81559 MiB, 580.95.05, 9.0, 700.00 W, 1980 MHz, Disabled\n"
SUMMARY = "| NVIDIA-SMI 580.95.05     Driver Version: 580.95.05     CUDA Version: 13.0     |\n"


def test_each_gpu_has_name_memory_driver_and_cuda() -> None:
    first, second = gpu.of_nvidia(H100 * 2, SUMMARY)
    assert first == second
    assert (first["name"], first["memory"]) == ("NVIDIA H100 80GB HBM3", "81559 MiB")
    assert (first["driver"], first["CUDA"], first["MIG"]) == ("580.95.05", "13.0", "Disabled")


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    (told,) = gpu.of_nvidia("Tesla T4, 15360 MiB, 470.1, [N/A], [Not Supported], 1590 MHz, [N/A]\n", "")
    assert told == {"name": "Tesla T4", "memory": "15360 MiB", "driver": "470.1", "max clock": "1590 MHz"}


def test_an_older_nvidia_smi_is_asked_for_less(tmp_path: Path) -> None:
    def old(*argv: str) -> str:
        if argv == ("nvidia-smi",):
            return SUMMARY
        return (
            'Field "compute_cap" is not a valid field to query.'
            if "compute_cap" in argv[1]
            else "Tesla K80, 11 MiB, 390.1"
        )

    assert [each["name"] for each in gpu.gpus(files_of(tmp_path, XEON), old)] == ["Tesla K80"]


def test_no_gpu_is_an_empty_list(tmp_path: Path) -> None:
    assert gpu.gpus(files_of(tmp_path, XEON), lambda *_: "") == ()
    assert gpu.of_nvidia("No devices were found\n", SUMMARY) == ()


def test_other_makers_gpus_are_shown_as_the_kernel_knows_them(tmp_path: Path) -> None:
    cards = {
        "sys/class/drm/card0/device/vendor": "0x1002\n",
        "sys/class/drm/card0/device/device": "0x740f\n",
        "sys/class/drm/card0/device/uevent": "DRIVER=amdgpu\n",
        "sys/class/drm/card0/device/mem_info_vram_total": f"{64 << 30}\n",
        "sys/class/drm/card0-HDMI-A-1/device/vendor": "0x1002\n",
        "sys/class/drm/card1/device/vendor": "0x1234\n",
    }
    assert gpu.gpus(files_of(tmp_path / "amd", cards), lambda *_: "") == (
        {"name": "AMD 0x740f", "driver": "amdgpu", "memory": "65536 MiB"},
    )
    assert gpu.gpus(files_of(tmp_path / "pi", PI_5), lambda *_: "") == ({"name": "brcm,2712-v3d", "driver": "v3d"},)
