"""The machine and the commit of a result."""

import os
import platform
import subprocess
from pathlib import Path

# The processor flags that determine the speed of matrix products.
FLAGS = [
    "fma", "avx2", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8",
]


def describe():
    """The processor, its instruction sets, cores and memory."""
    cpu = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    flags = set(cpu["flags"].split())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": cpu["model name"],
        "family": f"family {cpu['cpu family']}, model {cpu['model']}, stepping {cpu['stepping']}",
        "instructions": [flag for flag in FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def commit(root):
    """The checked-out commit of this repository, with `-dirty` if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
