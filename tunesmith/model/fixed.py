"""Linear layers of a model whose weights no longer change.

Training a causal model in bf16 rounds both factors of each such product and keeps everything else
in fp32 (autocast); so does this, with weights that are rounded once. On a CPU the weights are laid
out once for the processor, as in `linear`: measured on two cores for 2 to 32 rows, 1.2 to 4 times
`functional.linear`.
Does not know: what it is a layer of.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.model.precision import Precision

# The compiler's operators carry an underscore: a torch without them gets the plain product.
_lays_out = hasattr(torch.ops.mkldnn, "_linear_pointwise")

KINDS: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Fixed(nn.Module):
    """The product of `linear`, in `precision`. The given layer is left without weights."""

    def __init__(self, linear: nn.Linear, precision: Precision) -> None:
        super().__init__()
        self.kind = KINDS[precision]
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().to(self.kind)
        bias = linear.bias
        self.bias = None if bias is None else bias.detach().to(self.kind)
        self._is_laid_out = _lays_out and weight.device.type == "cpu"
        if self._is_laid_out:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._weight = weight
        linear.weight = linear.bias = None  # type: ignore[assignment]

    @property
    def weight(self) -> Tensor:
        """Of shape (outputs, inputs); put together again at every call."""
        return self._weight.to_dense() if self._is_laid_out else self._weight

    def forward(self, input: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs), in the precision of the product."""
        input = input.to(self.kind)
        if self._is_laid_out:
            onednn: Any = torch.ops.mkldnn._linear_pointwise
            out: Tensor = onednn(input, self._weight, self.bias, "none", [], "")
            return out
        return functional.linear(input, self._weight, self.bias)


def multiplying(network: Any, precision: Precision) -> AbstractContextManager[Any]:
    """While it lasts, products in a network are made in `precision`, as in training."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(network.device.type, KINDS[precision])


def fix(network: nn.Module, precision: Precision) -> None:
    """Put `Fixed` in the place of every plain linear layer of a model."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:  # not 4-bit ones, which inherit from it
                setattr(parent, name, Fixed(child, precision))
