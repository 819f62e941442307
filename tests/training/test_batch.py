"""Packing: every document is alone in its row, whatever lies beside it."""

import torch

from glassformer.training import tales
from glassformer.training.batch import Encoded, pack


def test_packed_documents_see_only_themselves():
    documents = [
        Encoded([5, 6, 7], [1.0, 1.0, 4.0]),
        Encoded([8, 9], [1.0, 1.0]),
        Encoded([5] * 9, [1.0] * 9),
    ]
    batch = pack(documents, rows=1, length=8, pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 8, 9, 0, 0, 0]]
    assert batch.positions.tolist()[0][:5] == [0, 1, 2, 0, 1]
    assert batch.weights.tolist() == [[0, 1, 4, 0, 1, 0, 0, 0]]
    assert batch.tokens == 3
    expected = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2), *[torch.ones(1, 1)] * 3).tril().bool()
    assert torch.equal(batch.mask[0, 0], expected)


def test_packing_does_not_change_the_logits(tales_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tales_folder)
    model = AutoModelForCausalLM.from_pretrained(tales_folder)
    encoded = [tales.encode(document, tokenizer) for document in tales.held_out(5, 6)]
    batch = pack(encoded, rows=1, length=tales.CONTEXT, pad=0)
    with torch.inference_mode():
        packed = model(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions).logits[0]
        start = 0
        for document in encoded:
            stop = start + len(document.ids)
            if stop > tales.CONTEXT:
                break
            alone = model(input_ids=torch.tensor([document.ids])).logits[0]
            torch.testing.assert_close(packed[start:stop], alone, atol=2e-3, rtol=1e-3)
            start = stop
    assert start > 0


def test_a_batch_is_a_function_of_seed_and_step(tales_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tales_folder)
    one, again = (tales.batch(1, 7, tokenizer, tokens=512) for _ in range(2))
    assert torch.equal(one.ids, again.ids)
    assert not torch.equal(one.ids, tales.batch(1, 8, tokenizer, tokens=512).ids)
    assert not torch.equal(one.ids, tales.batch(2, 7, tokenizer, tokens=512).ids)


def test_answers_weigh_less_later():
    weights = [tales.answer_weight(step) for step in range(0, 7000, 100)]
    assert weights[: tales.WEIGHT_STEPS[0] // 100] == [16.0] * (tales.WEIGHT_STEPS[0] // 100)
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 2.0
    assert tales.level(0) == 0
    assert tales.level(2000) == 1
    assert tales.level(6000) == tales.LEVEL


def test_only_answers_are_weighed(tales_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tales_folder)
    document = next(document for document in tales.held_out(5, 20) if document.answers)
    encoded = tales.encode(document, tokenizer, answer_weight=7.0)
    said = tokenizer.decode([i for i, w in zip(encoded.ids, encoded.weights, strict=True) if w == 7.0])
    assert said == "".join(document.text[answer.start : answer.stop] for answer in document.answers)


def test_names_weigh_more_where_telling_is_learned(tales_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tales_folder)
    document = next(document for document in tales.held_out(5, 20) if not document.answers)
    encoded = tales.encode(document, tokenizer, name_weight=3.0)
    heavy = {
        tokenizer.decode([i]).strip() for i, w in zip(encoded.ids, encoded.weights, strict=True) if w == 3
    }
    assert heavy
    assert heavy <= {*document.people}
    early, late = (tales.batch(0, tales.TELLING_STEP + step, tokenizer, tokens=512) for step in (-1, 0))
    assert not (early.weights == tales.NAME_WEIGHT).any()
    assert (late.weights == tales.NAME_WEIGHT).any()
