"""The same numbers, sooner: the attention tap, packed rows, key/value stores, products, compiled blocks, threads."""

import logging

# While they are imported these tell, with paths, of kernels for other processors that are left out, on every machine.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
