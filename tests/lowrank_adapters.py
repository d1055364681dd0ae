"""Adapters with random factors in PEFT's layout."""

import warnings

import peft
import torch

from tunesmith.model.causal import load_network


def save_adapter(base, folder, seed=0, **options):
    """Write an adapter of the model in `base`; PEFT's own model with it."""
    torch.manual_seed(seed)
    options = {"target_modules": "all-linear", "init_lora_weights": False, **options}
    config = peft.LoraConfig(task_type="CAUSAL_LM", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tied layers, and the weights of a head
        model = peft.get_peft_model(load_network(base, precision="fp32"), config).eval()
        for name, weight in model.named_parameters():
            if "magnitude" in name:
                weight.data *= 1 + 0.3 * torch.rand_like(weight)
        model.save_pretrained(str(folder))
    return model


def with_adapter(base, folder):
    """The model in `base` with the adapter in `folder`, as PEFT has it."""
    network = load_network(base, precision="fp32")
    return peft.PeftModel.from_pretrained(network, str(folder)).eval()
