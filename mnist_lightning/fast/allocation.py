"""How this process's memory is allocated."""

import ctypes
import platform

# mallopt(3)'s names and numbers, from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1  # bytes of free memory: more than a step frees


def keep_freed_memory() -> bool:
    """Has the C library keep what is freed for the next allocation, in place of handing it back to the system.

    Each step of training allocates the same tensors of some megabytes. By default glibc maps and unmaps the largest of
    them each time, and the system then clears their pages anew: a tenth of a step. The process's peak stays about the
    same; it holds on to it between peaks.

    Returns:
        Whether this system's C library was told; only glibc can be.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
