"""Muon for the matrices, AdamW for everything else, and the learning-rate schedule.

Muon (Keller Jordan, 2024, kellerjordan.github.io/posts/muon): momentum whose matrix update is replaced by the nearest
orthogonal matrix, found with five Newton-Schulz steps. Here matrices of one shape are handled together in one
batched product, in f32, because that is several times faster on a CPU than one at a time in bf16.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients of the post above
NEWTON_SCHULZ_STEPS = 5


def orthogonalize(matrices: Tensor) -> Tensor:
    """Float["batch out in"] -> the same shape with all singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(1) > matrices.size(2)
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                update = orthogonalize(
                    torch.stack([self._nesterov(p, group["momentum"]) for p in parameters])
                )
                rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, change in zip(parameters, update, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)

    def _nesterov(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state: dict[str, Any] = self.state[parameter]
        grad = parameter.grad
        assert grad is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(grad, 1 - momentum)
        return grad.lerp(buffer, momentum)


def build(
    model: nn.Module, *, matrix_lr: float, other_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside blocks (none if matrix_lr is 0), AdamW for embeddings, norms and biases."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside_block = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inside_block and matrix_lr > 0 else others).append(parameter)
    adamw = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), eps=1e-9, weight_decay=weight_decay)
    muon = [Muon(matrices, lr=matrix_lr, weight_decay=weight_decay)] if matrices else []
    return [*muon, adamw]


def rate(step: int, *, steps: int, warmup: int, decay_share: float) -> float:
    """Warm up, stay, then fall linearly to zero (WSD): before the fall it does not depend on `steps`."""
    fall = max(1, round(steps * decay_share))
    return min((step + 1) / warmup, 1.0, (steps - step) / fall)
