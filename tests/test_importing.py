"""Bringing torch in: in a process of its own, since this one has it already."""

import subprocess
import sys

PROGRAM = """
import gc, sys, threading
from glassformer.importing import import_torch

assert "torch" not in sys.modules
full = []
gc.callbacks.append(lambda phase, info: full.append(info) if info["generation"] == 2 else None)
threads = [threading.Thread(target=import_torch) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import torch
assert torch.ones(2).sum() == 2
assert not full, "a full collection stopped every thread"
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000
print("good")
"""


def test_torch_comes_in_once_and_without_full_collections() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "good\n", done.stderr


NATIVE = """
import sys
from glassformer.importing import link_native_libraries
link_native_libraries()
assert "torch" not in sys.modules
print(sum("libtorch_cpu.so" in line for line in open("/proc/self/maps")) > 0)
import torch
print(float(torch.ones(2, 2).mm(torch.ones(2, 2)).sum()))
"""


def test_native_libraries_are_linked_before_the_import() -> None:
    if sys.platform != "linux":
        return
    done = subprocess.run([sys.executable, "-c", NATIVE], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n8.0\n", done.stderr


def test_nothing_is_said_meanwhile() -> None:
    """By whichever door torch comes in: the server's, the notebook's, or a command's."""
    statement = "import glassformer.run.run_store, glassformer.loading.load"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
