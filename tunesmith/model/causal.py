"""A causal language model as it is tuned: whole, or with an adapter (LoRA) on frozen weights.

On disk a tuned model is a folder with its card (see `cards`), tokenizer and chat template, and
either whole weights in transformers' layout or an adapter in PEFT's, so that other programs load
it as it is. LoRA is Hu et al. 2022, QLoRA Dettmers et al. 2023, DoRA Liu et al. 2024, rsLoRA
Kalajdzievski 2023.
Does not know: losses, batches, how it answers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunesmith.catalog import BaseModel, verify
from tunesmith.data.texts.cleaning import DEFAULT
from tunesmith.errors import ConfigError, MissingExtra, NotOffered
from tunesmith.model import ragged
from tunesmith.model.cards import (
    ADAPTER,
    ADAPTER_CONFIG,
    CausalCard,
    Method,
    Precision,
    read_card,
)
from tunesmith.model.rendering import Renderer
from tunesmith.wire import Options

KINDS: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
RANK = 16
DROPOUTS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout")
"""What architectures call the share of activations that is dropped."""
CHECKED = 5
"""Names of weights that a refusal lists."""


class Causal:
    """A causal model with its tokenizer, on the device that trains.

    network   transformers' model; an adapter's layers stand inside it.
    renderer  messages to token ids.
    unpacked  why its rows must be padded; empty where they can be packed (see `ragged`).
    """

    def __init__(self, network: Any, renderer: Renderer, card: CausalCard, adapter: Any) -> None:
        self.network = network
        self.renderer = renderer
        self.card = card
        self.unpacked = ragged.plug_in(network)
        self._adapter = adapter
        """PEFT's model around `network`, or None."""
        self._computes_twice = False

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        device: torch.device = self.network.device
        return device

    def trained(self) -> dict[str, nn.Parameter]:
        """The weights that training changes, by name; shared ones once."""
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad}

    @property
    def num_parameters(self) -> int:
        """Of the base model."""
        adapter = set(self.trained()) if self._adapter else set()
        return sum(p.numel() for n, p in self.network.named_parameters() if n not in adapter)

    def compute_twice(self, on: bool) -> None:
        """Switch gradient checkpointing: activations are computed again instead of kept."""
        if on == self._computes_twice:
            return
        # Transformers is giving it another name.
        is_new = hasattr(self.network, "activation_checkpointing_enable")
        name = "activation" if is_new else "gradient"
        if on:
            options = {f"{name}_checkpointing_kwargs": {"use_reentrant": False}}
            getattr(self.network, f"{name}_checkpointing_enable")(**options)
        else:
            getattr(self.network, f"{name}_checkpointing_disable")()
        self._computes_twice = on

    @contextmanager
    def multiplying(self) -> Iterator[None]:
        """In the card's precision: products of fp32 weights are made in bf16 where it says so."""
        if self.card.precision == "fp32":
            yield
        else:
            with torch.autocast(self.device.type, torch.bfloat16):
                yield

    def save(self, folder: Path) -> None:
        """Write it into `folder`, which must not hold a model yet."""
        folder.mkdir(parents=True, exist_ok=True)
        kind = KINDS[self.card.precision]
        if self._adapter is None:
            state = {name: tensor.to(kind) for name, tensor in self.network.state_dict().items()}
            self.network.save_pretrained(folder, state_dict=state, max_shard_size="5GB")
            _note_kind(folder, self.network.config, kind)
        else:
            self._adapter.save_pretrained(folder)
            (folder / "README.md").unlink(missing_ok=True)  # a form to be filled in
        self.renderer.save(folder)
        self.card.save(folder)

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Take the values of `trained` from `weights`, which has all of them."""
        for name, parameter in self.trained().items():
            parameter.copy_(weights[name])

    @contextmanager
    def answering(self) -> Iterator[Any]:
        """The network as transformers generates with it: with a cache, and attention of its own."""
        before = self.network.config._attn_implementation
        self.network.eval()
        self.network.set_attn_implementation("sdpa")
        try:
            yield self.network
        finally:
            self.network.set_attn_implementation(before)

    def as_saved(self, folder: Path) -> Causal:
        """What `save` wrote into `folder`, in the place of this model, which is no more.

        Its weights are rounded as they were for the disk, since so they will answer.
        """
        kind = KINDS[self.card.precision]
        if self._adapter is not None:
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self._adapter, load_file(folder / ADAPTER))
            return self
        own = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        files = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        if any(name not in own for file in files for name in file):
            return load(folder)  # an architecture whose weights are stored under other names
        self.network.to(kind)
        with torch.no_grad():
            for name, tensor in (item for file in files for item in file.items()):
                own[name].copy_(tensor)
        return self


def _note_kind(folder: Path, config: Any, kind: torch.dtype) -> None:
    """Say in config.json what the weights are stored in, which may not be what they were."""
    before = config.dtype
    config.dtype = kind
    config.save_pretrained(folder)
    config.dtype = before


def from_base(
    base: BaseModel,
    options: Options,
    *,
    method: Method,
    precision: Precision,
    start_from: Path | None = None,
    labels: tuple[str, ...] = (),
) -> Causal:
    """The model to be tuned: `base`, or what was tuned earlier of it in `start_from`.

    Of the `options` of a job those count that a model is made with. An adapter that was tuned
    earlier goes on with its own shape. `labels`: the answers it may give, if it is to classify.
    Raises: ConfigError for unusable files or layers that are not there; NotFound; NotOffered;
    MissingExtra.
    """
    earlier = read_card(start_from) if start_from else None
    if start_from is None:
        verify(base)
    whole = start_from if earlier and not earlier.is_adapter else base.files()
    assert whole is not None
    network = load_network(
        whole, precision=precision, in_4_bits=method == "qlora", changes=method == "full"
    )
    limit = options.max_length or base.max_length
    check_length(network, limit, base.name)
    _set_dropout(network, options.dropout)
    card = CausalCard(
        base_model=base.name,
        base_folder=str(base.files()),
        method=method,
        max_length=base.max_length,
        precision=precision,
        labels=labels,
        cleaning=DEFAULT if options.cleaning is None else options.cleaning,
        mask=options.mask,
    )
    adapter = None
    if earlier and earlier.is_adapter:
        assert start_from is not None
        adapter = _continued(network, start_from)
        _check_shape(adapter, options)
        if method == "full":
            network, adapter = adapter.merge_and_unload(), None
    elif method != "full":
        adapter = _adapted(network, options)
    for parameter in network.parameters() if adapter is None else ():
        parameter.requires_grad_(parameter.is_floating_point())
    if adapter is not None:
        _name_base(adapter, base)
        network = adapter.get_base_model()
    folder = start_from or base.files()
    return Causal(network, Renderer(folder, max_length=limit), card, adapter)


def load(folder: Path) -> Causal:
    """A tuned model as `Causal.save` wrote it.

    Raises: NotFound when its files are gone, or its base model's; ConfigError.
    """
    card = read_card(folder)
    whole = Path(card.base_folder) if card.is_adapter else folder
    in_4_bits = card.method == "qlora"
    network = load_network(whole, precision=card.precision, in_4_bits=in_4_bits)
    adapter = _continued(network, folder) if card.is_adapter else None
    if adapter is not None:
        network = adapter.get_base_model()
    return Causal(network, Renderer(folder, max_length=card.max_length), card, adapter)


# --- loading ------------------------------------------------------------------------------------


def load_network(
    folder: Path, *, precision: Precision, in_4_bits: bool = False, changes: bool = False
) -> Any:
    """Transformers' model in a folder, in evaluation mode, on the GPU if there is one.

    changes: its weights will be tuned. They are fp32 then, since small numbers are added to them.
    Raises: ConfigError for files that do not hold all of it; MissingExtra.
    """
    # Here and not above: the import takes seconds.
    from transformers import AutoModelForCausalLM

    kind = torch.float32 if changes else KINDS[precision]
    options: dict[str, Any] = {"dtype": kind}
    if in_4_bits:
        options["quantization_config"] = _in_4_bits(kind)
    if torch.cuda.is_available():
        options["device_map"] = {"": torch.cuda.current_device()}
    try:
        network, found = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are found below
            attn_implementation="sdpa",
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__).rstrip(" .")
        raise ConfigError(
            f"The model in {folder} cannot be loaded: {why}.",
            fix="Check that its files are whole and from one model.",
        ) from error
    others = [name for name, *_ in found["mismatched_keys"]]
    if missing := sorted(found["missing_keys"]) + sorted(others):
        more = f", and {len(missing) - CHECKED} more" if len(missing) > CHECKED else ""
        raise ConfigError(
            f"The weights in {folder} are not those that its config.json describes: "
            f"{', '.join(missing[:CHECKED])}{more} missing or of another shape.",
            fix="Take all files from one model.",
        )
    for part in network.modules() if in_4_bits else ():
        # Else bitsandbytes lays weights out for answering at the first look, after which no
        # gradient passes through them.
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False
    return network.eval()


def _in_4_bits(kind: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra(
            "The method qlora needs a library that is not installed.",
            fix="Run: pip install 'tunesmith[qlora]'",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=kind,
    )


def check_length(network: Any, max_length: int, name: str) -> None:
    """Raises: ConfigError for a length that the model does not have."""
    config = network.config.get_text_config(decoder=True)
    most = getattr(config, "max_position_embeddings", None)
    if most and max_length > most:
        raise ConfigError(
            f"max_length is {max_length:,}, but {name} reads at most {most:,} tokens.",
            fix=f"Give {most} or less.",
        )


def _set_dropout(network: Any, share: float | None) -> None:
    if share is None:
        return
    config = network.config.get_text_config(decoder=True)
    known = [name for name in DROPOUTS if hasattr(config, name)]
    for name in known:
        setattr(config, name, share)
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.p = share
        for name in known:
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, share)


# --- adapters -----------------------------------------------------------------------------------


def _adapted(network: Any, options: Options) -> Any:
    """PEFT's model with a new adapter, which changes nothing yet."""
    from peft import LoraConfig, get_peft_model

    rank = options.lora_rank or RANK
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=options.lora_alpha or 2 * rank,
        lora_dropout=options.lora_dropout,
        target_modules=list(options.lora_targets) or "all-linear",
        use_dora=options.use_dora,
        use_rslora=options.use_rslora,
    )
    try:
        return get_peft_model(network, config)
    except ValueError as error:
        if not options.lora_targets:
            raise NotOffered(
                f"This model's layers cannot take an adapter: {error}.", fix="Use the method full."
            ) from error
        linear = {n.rpartition(".")[2] for n, m in network.named_modules() if _is_linear(m)}
        raise ConfigError(
            f"lora_targets names layers that the model does not have: "
            f"{', '.join(options.lora_targets)}.",
            fix=f"It has: {', '.join(sorted(linear))}.",
        ) from error


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _continued(network: Any, folder: Path) -> Any:
    """PEFT's model with the adapter in `folder`, to be tuned on."""
    from peft import PeftModel

    for name in (ADAPTER_CONFIG, ADAPTER):
        if not (folder / name).is_file():
            raise ConfigError(
                f"There is no {name} in {folder}.", fix="Take all files from one model."
            )
    return PeftModel.from_pretrained(network, str(folder), is_trainable=True)


def _check_shape(adapter: Any, options: Options) -> None:
    """Raises: ConfigError where another shape is asked for than the adapter has."""
    (config,) = adapter.peft_config.values()
    asked = {"lora_rank": options.lora_rank, "lora_alpha": options.lora_alpha}
    has = {"lora_rank": config.r, "lora_alpha": config.lora_alpha}
    for name, value in asked.items():
        if value is not None and value != has[name]:
            raise ConfigError(
                f"{name} is {value:g}, but the adapter of the model to start from has "
                f"{has[name]:g}.",
                fix=f"Leave {name} out, or start from the base model.",
            )


def _name_base(adapter: Any, base: BaseModel) -> None:
    """Have PEFT write a base model that others can find: its hub id, where it has one."""
    for config in adapter.peft_config.values():
        config.base_model_name_or_path = base.hub or str(base.files())
