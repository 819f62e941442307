"""Bringing torch and transformers in without stopping the other threads.

The import takes seconds, nothing needs it before the first model, and it runs in a thread beside the event loop. Two
parts of it would hold the interpreter for 0.1 to 0.5 s each: linking torch's native library, and full garbage
collections over the million objects that come in. Both are avoided here; the longest pause left is about 20 ms.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path

IMPORTING = threading.Lock()
_done = threading.Event()
# Who brings torch and transformers in, by name: they stand above this file.
USERS = ("glassformer.compute.attention", "glassformer.loading.load", "glassformer.anatomy.checkup")
# In the order in which `import torch` loads them, with the same visibility.
NATIVE_LIBRARIES = (("libtorch_global_deps.so", True), ("libtorch_cpu.so", False))


def is_imported() -> bool:
    """Whether torch and transformers are there, so that using them costs nothing but itself."""
    return _done.is_set()


def import_torch() -> None:
    """Bring torch and transformers in, once; later calls cost nothing.

    One thread at a time: transformers imports its parts lazily, and two threads can meet one half imported.
    """
    if _done.is_set():
        return
    with IMPORTING:
        if _done.is_set():
            return
        if "torch" not in sys.modules:
            link_native_libraries()
        collecting = gc.isenabled()
        gc.disable()
        try:
            for name in USERS:
                importlib.import_module(name)

            # What has come in stays for good: no later collection needs to look at it again. Before any model
            # is built, since that would stay as well.
            gc.freeze()
        finally:
            if collecting:
                gc.enable()
        _done.set()


def link_native_libraries() -> None:
    """Link torch's largest libraries ahead of its import, without holding the interpreter meanwhile.

    The import system calls `dlopen` while it holds the lock of the interpreter; a foreign call lets go of it. A
    library that cannot be linked here is left to the import, which then says why. Linux only.
    """
    found = importlib.util.find_spec("torch") if sys.platform == "linux" else None
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent / "lib"
    link = ctypes.CDLL(None).dlopen
    link.restype, link.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
    for name, is_global in NATIVE_LIBRARIES:
        if (folder / name).is_file():
            link(os.fsencode(folder / name), os.RTLD_NOW | (os.RTLD_GLOBAL if is_global else 0))
