"""Testing criteria: which there are, and what is wrong with one.

They are the graders that jobs know too, and two that ask a model of this server.
Does not know: how any of them is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tunesmith.errors import RequestError
from tunesmith.metrics.graders.definitions import WHY_NOT, StringCheck, Template
from tunesmith.metrics.graders.templates import parse
from tunesmith.server.bodies import without_nulls
from tunesmith.server.evals.messages import texts
from tunesmith.wire import Request, TemplateMessage

COSINE = "cosine"
OFFERED = ("string_check", "text_similarity", "label_model", "score_model")
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Likeness(Request):
    """Passes when two texts are at least so much alike; `cosine` is that of their embeddings."""

    type: Literal["text_similarity"]
    name: str
    input: Template
    reference: Template
    evaluation_metric: Literal[
        "cosine", "fuzzy_match", "bleu", "gleu", "meteor",
        "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
    ]  # fmt: skip
    pass_threshold: Number


class _Judge(Request):
    """A model is asked about the answer."""

    name: str
    model: str
    input: Annotated[list[TemplateMessage], Field(min_length=1)]


class LabelModel(_Judge):
    """Passes when the model chooses one of the passing labels."""

    type: Literal["label_model"]
    labels: Annotated[list[str], Field(min_length=1, max_length=1000)]
    passing_labels: list[str]

    @model_validator(mode="after")
    def _known(self) -> LabelModel:
        if set(self.passing_labels) - set(self.labels):
            raise PydanticCustomError("labels", "one whose 'passing_labels' are all in 'labels'")
        return self


class JudgeSampling(BaseModel):
    """How a judge is to answer; the misspelt name is OpenAI's."""

    model_config = ConfigDict(extra="ignore")
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None


class ScoreModel(_Judge):
    """Passes when the number that the model gives is at least the threshold."""

    type: Literal["score_model"]
    range: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    sampling_params: JudgeSampling = JudgeSampling()
    pass_threshold: Number | None = None
    """None: the middle of the range."""

    @model_validator(mode="after")
    def _ordered(self) -> ScoreModel:
        if self.range[0] >= self.range[1]:
            raise PydanticCustomError("range", "one whose 'range' has the lower number first")
        return self


Criterion = StringCheck | Likeness | LabelModel | ScoreModel


class _Asked(BaseModel):
    """Gives errors their place."""

    testing_criteria: list[Annotated[Criterion, Field(discriminator="type")]]


def criteria(asked: Sequence[Mapping[str, Any]]) -> list[Criterion]:
    """The criteria, which may have an `id`.

    Raises: RequestError for kinds that are not run here and templates that can never be filled in;
    pydantic's ValidationError.
    """
    plain = [without_nulls({k: v for k, v in one.items() if k != "id"}) for one in asked]
    for i, one in enumerate(plain):
        _check_kind(one.get("type"), f"testing_criteria[{i}].type")
    made = _Asked.model_validate({"testing_criteria": plain}).testing_criteria
    for i, criterion in enumerate(made):
        try:
            for template in templates(criterion):
                parse(template)
        except RequestError as error:
            error.param = f"testing_criteria[{i}]"
            raise
    return made


def named(asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The criteria as they are kept, each with an id of its own."""
    return [{**without_nulls(dict(one)), "id": f"{one['name']}-{uuid4()}"} for one in asked]


def templates(criterion: Criterion) -> Iterator[str]:
    """The texts with variables that the criterion has.

    Raises: RequestError for messages that hold something else than text.
    """
    if isinstance(criterion, StringCheck | Likeness):
        yield from (criterion.input, criterion.reference)
    else:
        for message in criterion.input:
            yield from texts(message.content)


def _check_kind(kind: Any, param: str) -> None:
    if kind is None:
        raise RequestError(f"Missing required parameter: '{param}'.", param=param)
    if kind not in OFFERED:
        why = f"There is no testing criterion of the type {str(kind)[:100]!r}."
        if kind == "python":
            why = f"This server does not run 'python' graders: {WHY_NOT['python']}."
        raise RequestError(why, fix=f"Use {', '.join(OFFERED)}.", param=param)
