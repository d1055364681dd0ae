"""Words that need a hint, and the hint: one or two sentences without other such words."""

from __future__ import annotations

from tunesmith.web.controls import Tag, tag

WORDS = {
    "base model": "The model that tuning begins with. It knows the language already and learns "
    "your labels or answers on top.",
    "epoch": "One pass over all training rows.",
    "step": "One correction of the model, after it has looked at a handful of rows.",
    "loss": "How wrong the model is, as training sees it. Lower is better; the curve should fall "
    "and then flatten.",
    "training loss": "How wrong the model is on the rows it learns from.",
    "dev loss": "How wrong the model is on rows set aside while training. When it rises while the "
    "training loss falls, the model learns by heart.",
    "accuracy": "The share of rows that the model gets right.",
    "token": "A piece of a word. Models read and write tokens; an English word has about 1.3.",
    "validation rows": "Rows that are kept from training, so that the score is honest.",
    "learning rate": "How large each correction is. Too large and it never settles, too small and "
    "it takes forever.",
    "batch": "Rows that the model looks at together before it corrects itself.",
    "balance": "What is done when some labels have many more rows than others.",
    "duplicates": "Rows that say the same. They are merged, so that none is learned from and "
    "checked with at once.",
    "label": "What a row is to be recognised as, such as 'billing'.",
    "head": "Only the last layer learns; the rest stays as it was. Fast, and good for few rows.",
    "full": "All of the model learns. Slower, and better with many rows.",
    "lora": "A small addition to the model learns, and the model itself stays as it was.",
    "seed": "A number that decides every draw, so that the same run gives the same result.",
    "parity": "Proof that the model answers over the network exactly as it did in training.",
    "early stopping": "Training ends by itself once it no longer helps.",
    "token count": "How long the texts are, in the pieces of words that models read.",
}


def term(word: str, said: str = "") -> Tag:
    """The word with its hint, which a click, Enter or a finger shows. `said`: what stands there."""
    box = tag("span", kind="term")
    with box:
        name = f"t{box.id}"
        tag("button", said or word, type="button", popovertarget=name, aria_describedby=name)
        tag("span", WORDS[word], id=name, popover="auto", role="tooltip")
    return box
