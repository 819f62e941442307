"""The model card of a trained model: what it was trained on, for how long, and what it scores on held-out data.

The front matter is written and read by huggingface_hub, scores included, so that a test can compare the card with a
new measurement.
"""

from collections.abc import Mapping

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel

from glassformer.training import held_out_score, lexicon, plot, sorter, tales
from glassformer.training.loop import Progression

QUESTIONS = {
    "state": "all four kinds of state question",
    "who_has": "Who has the ball?",
    "where_person": "Where is Mia?",
    "where_thing": "Where is the ball?",
    "what_has": "What does Mia have?",
    "who_gave": "Who gave the ball to Tom?",
    "how_many": "How many apples does Mia have?",
    "why": "Why is Tom sad?",
    "sorted": "sequences sorted exactly",
    "told": "stories told without a slip",
}
SLIPS = {
    "form": "a sentence that the grammar could not write",
    "pronoun": "a pronoun for nobody",
    "twice": "one person in two parts of a sentence",
    "thing": "a thing never introduced, or twice, or not as it was introduced",
    "holder": "a thing handed over by someone who does not have it",
    "place": "going to where one is, or with someone who is elsewhere",
    "count": "a wrong sum",
    "end": "no end",
    "wish": "somebody or something asked for is missing",
}

TALES = """\
# tales

A Llama-shaped language model of {parameters:,} parameters that tells small stories and follows who is where, who
holds what, and how many there are. It was made to be looked at: its answers depend on the events of the
story, so attention, a logit lens or an ablation has something true to show.

## Shape
{blocks} blocks, width {width}, {heads} query heads and {kv_heads} key/value heads of {head}, SwiGLU of {mlp}, RMSNorm,
rotary positions, tied embeddings; {vocabulary:,} byte-level BPE tokens: every word of the tales is one, and any other
text round-trips; {context} tokens of context, the longest it was trained on. Weights: f32, {megabytes:.1f} MB.

## Data
Endless documents from a seeded grammar in this repository (`glassformer/training`): {people} names, {objects} objects,
{places} places, {shapes} story shapes, in the present and in the past, with pronouns, quotes, feelings and small
sums; questions inside stories, after them, and as a chat. No text by anyone else. The tokenizer was made from the
same grammar.

## Training
Seed {seed}, {steps:,} steps of {batch:,} tokens: {tokens:,} without padding, {minutes:.0f} minutes on {device}.
Muon for matrices, AdamW for the rest, linear decay over the last {decay:.0%}. Answers weigh {first_weight:g} times as
much as other text until step {weight_from:,}, {last_weight:g} times from step {weight_to:,} on: it learns to follow
stories first and to tell them second. Stories whose people part ({late_share:.0%} of all in the end) come in from step
{late_from:,} on; from step {telling_from:,} on more of the documents are stories on request, and names weigh
{name_weight:g} times as much. Reproduce with `glassformer train tales --seed {seed} --steps {steps}`.

## Held-out scores
{documents:,} documents that training could not have seen (their text hashes to a bucket that training skips), greedy
decoding, an answer counts only if all of it is right, full stop included.

{scores}

## Stories told freely
{whole} of {told} stories sampled at temperature {temperature:g} on requests of their own ("Tell me a story about Mia
and a kite.") have no slip: each sentence is one that the grammar could write, whoever hands a thing over has it and
nobody takes it from anyone else, things are the ones introduced, pronouns stand for somebody, sums are right, and the
story has what was asked for and an end. Stories with a slip, by its kind (one can have several):

{slips}

## What it cannot do
It knows the words of its grammar and nothing else. Its stories have one thing to follow: with two things it guesses. It
reads long or unusual stories badly, and in the stories it tells it mixes up who is who, as often as counted above.
"""

SORTER = """\
# sorter

A GPT-2-shaped model of {parameters:,} parameters that writes six letters A, B, C again in order: after `CBABBC` comes
`ABBBCC`. Small enough to see whole.

## Shape
{blocks} blocks, width {width}, {heads} heads, learned positions, {context} tokens of context; one token a letter.
Weights: f32, {megabytes:.2f} MB.

## Data
All {inputs} sequences of six letters; a fixed random {held_out} are held out, the other {trained_on} are trained on.

## Training
Seed {seed}, {steps:,} steps of {rows} sequences, {minutes:.1f} minutes on {device}.
AdamW, linear decay over the last {decay:.0%}; only the sorted half counts.
Reproduce with `glassformer train sorter --seed {seed} --steps {steps}`.

## Held-out scores
Greedy decoding, a sequence counts only if all six letters are right.

{scores}
"""


def write(
    name: str,
    model: PreTrainedModel,
    done: Progression,
    scores: Mapping[str, tuple[int, int]],
    *,
    told: Mapping[str, int] | None = None,
    seed: int,
    documents: int,
    decay_share: float,
    device: str,
) -> ModelCard:
    """The card; scores are (right, asked) by question kind, `told` what held_out_score.told returns."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    config = model.config
    common = {
        "parameters": parameters,
        "blocks": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "context": config.max_position_embeddings,
        "megabytes": 4 * parameters / 1e6,
        "seed": seed,
        "steps": done.step,
        "tokens": done.tokens,
        "minutes": done.secs / 60,
        "device": "a GPU" if device == "cuda" else f"CPU ({torch.get_num_threads()} thread)",
        "decay": decay_share,
        "scores": _table(scores),
    }
    if name == "sorter":
        inputs = sorter.LETTERS**sorter.LENGTH
        text = SORTER.format(
            **common,
            inputs=inputs,
            held_out=sorter.HELD_OUT,
            trained_on=inputs - sorter.HELD_OUT,
            rows=sorter.BATCH,
        )
    else:
        assert told is not None
        text = TALES.format(
            **common,
            kv_heads=config.num_key_value_heads,
            head=config.head_dim,
            mlp=config.intermediate_size,
            vocabulary=config.vocab_size,
            people=len(lexicon.WOMEN) + len(lexicon.MEN),
            objects=len(lexicon.OBJECTS),
            places=sum(map(len, lexicon.PLACES.values())),
            shapes=len(plot.SHAPES) + len(plot.LATE_SHAPES) - len(plot.SEVERAL_THINGS),
            batch=tales.TOKENS,
            first_weight=tales.ANSWER_WEIGHTS[0],
            last_weight=tales.ANSWER_WEIGHTS[1],
            weight_from=tales.WEIGHT_STEPS[0],
            weight_to=tales.WEIGHT_STEPS[1],
            late_share=plot.LATE_SHARE * (tales.LEVEL - 1),
            late_from=tales.LATE_STEPS[0],
            telling_from=tales.TELLING_STEP,
            name_weight=tales.NAME_WEIGHT,
            documents=documents,
            whole=scores["told"][0],
            told=scores["told"][1],
            temperature=held_out_score.TEMPERATURE,
            slips=_slips(told),
        )
    data = ModelCardData(
        license="mit",
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        model_name=name,
        eval_results=[_result(kind, right, asked) for kind, (right, asked) in scores.items()],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _result(kind: str, right: int, asked: int) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=f"held-out-{kind}",
        dataset_name=f"held-out: {QUESTIONS[kind]}",
        metric_type="exact_match",
        metric_name=kind,
        metric_value=round(right / asked, 4),
    )


def _table(scores: Mapping[str, tuple[int, int]]) -> str:
    rows = ["| question | right | of | share |", "|---|---|---|---|"]
    for kind, question in QUESTIONS.items():
        if kind in scores and kind != "told":
            right, asked = scores[kind]
            rows.append(f"| {question} | {right:,} | {asked:,} | {right / asked:.2%} |")
    return "\n".join(rows)


def _slips(told: Mapping[str, int]) -> str:
    rows = ["| slip | stories |", "|---|---|"]
    rows += [f"| {text} | {told[kind]} |" for kind, text in SLIPS.items()]
    return "\n".join(rows)
