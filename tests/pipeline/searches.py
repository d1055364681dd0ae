"""Small searches against a provider in memory, whose curves depend on the settings."""

from dataclasses import replace

from tunesmith import pipeline, wire
from tunesmith.config import IterateConfig, RunConfig
from tunesmith.pipeline import RunDir, Workshop


def smoothing(request: wire.JobCreate) -> float:
    return request.tunesmith.label_smoothing if request.tunesmith else 0.0


def better_with_smoothing(request: wire.JobCreate) -> tuple[float, ...]:
    """The accuracy on the dev slice, by look."""
    return (0.5, 0.6, 0.8 + smoothing(request))


def asked(config: RunConfig, **iteration) -> RunConfig:
    iteration = {"search": ("label_smoothing",), "trials": 4} | iteration
    evaluation = replace(config.evaluate, advice=False)
    return replace(config, iterate=IterateConfig(**iteration), evaluate=evaluation)


def iterate(config: RunConfig, shop: Workshop, **how) -> list:
    return list(pipeline.iterate(config, shop, **how))


def again(shop: Workshop) -> Workshop:
    """The same directory as a new process would see it."""
    return replace(shop, run_dir=RunDir(shop.run_dir.path))
