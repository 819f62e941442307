"""The model: loading it, reading its anatomy, checking the anatomy; the only user of interp-engine."""

import logging

# While they are imported these tell, with paths, of kernels for other processors that are left out, on every machine.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
