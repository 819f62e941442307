"""What a tensor is called in a file, and in the model: training in company or compiled leaves names of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

# torch.compile's, FullyShardedDataParallel's and checkpoint_wrapper's, around any module.
WRAPPER = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# DistributedDataParallel's, around the whole model.
WHOLE_WRAPPER = "module."
# A name from its first number on, or its last two words: what a part keeps wherever it is put.
TAIL = re.compile(r"[^.]+\.\d+\..+|[^.]+\.[^.]+$")


def find_plain_names(stored: Collection[str]) -> dict[str, str]:
    """The name of each stored tensor without what wrapped its module; as they are where two would be one."""
    plain = {name: WRAPPER.sub("", name) for name in stored}
    while plain and all(name.startswith(WHOLE_WRAPPER) for name in plain.values()):
        plain = {name: given.removeprefix(WHOLE_WRAPPER) for name, given in plain.items()}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in stored}


def place_stored(stored: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """What `stored` says by names in a file, by the `names` of a model, which may call what it is a part of otherwise.

    What may be one of several is left out.
    """
    known = set(names)
    placed = {name: value for name, value in stored.items() if name in known}
    counts = Counter(map(find_tail, stored))
    tails = {find_tail(name): value for name, value in stored.items() if counts[find_tail(name)] == 1}
    return {name: tails[find_tail(name)] for name in known if find_tail(name) in tails} | placed


def find_tail(name: str) -> str:
    found = TAIL.search(name)
    return found[0] if found else name
