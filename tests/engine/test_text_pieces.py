"""Text from tokens: nothing lost, nothing early, whatever the tokens."""

import random

import pytest
from tiny import make_tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from glassformer.engine.text_pieces import Detokenizer, StopStrings
from glassformer.loading.token_text import UNFINISHED

TEXTS = [
    "the quick brown fox",
    "漢字かな交じり文🎉🙂 naïve",
    " \n\n leading and\ttabs  \r\n",
    "👩‍👩‍👧‍👦 joined emoji, flags 🇫🇷🇯🇵",
    "a\ufffdb real replacement characters \ufffd",
    "",
]


def byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2's: words begin with a low line of their own, what is not in the vocabulary is spelt in bytes."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocabulary |= {piece: 256 + i for i, piece in enumerate(["▁", "▁the", "▁ball", "s", ".", "<s>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def pieces(tokenizer: PreTrainedTokenizerFast, prompt: list[int], ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(lambda some: tokenizer.decode(some, skip_special_tokens=True), prompt)
    return [*(detokenizer.add(token_id) for token_id in ids), detokenizer.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(text: str) -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer.encode(text)
    assert "".join(pieces(tokenizer, tokenizer.encode("a prompt"), ids)) == text


def test_a_character_comes_whole() -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer.encode("ж漢👍🏽")
    for piece in pieces(tokenizer, [], ids):
        assert UNFINISHED not in piece


def test_random_tokens_join_to_what_decoding_gives() -> None:
    tokenizer, chance = make_tokenizer(), random.Random(4)
    prompt = tokenizer.encode("the")
    for _ in range(300):
        ids = [chance.randrange(len(tokenizer)) for _ in range(chance.randrange(40))]
        whole = tokenizer.decode([*prompt, *ids], skip_special_tokens=True)
        joined = "".join(pieces(tokenizer, prompt, ids))
        # Bytes that never become a character may be told as one U+FFFD or as several; nothing else may differ.
        assert joined.replace(UNFINISHED, "") == whole[len("the") :].replace(UNFINISHED, "")


def test_random_spelt_text_joins_to_what_decoding_gives() -> None:
    tokenizer, chance = byte_fallback_tokenizer(), random.Random(4)
    words = [[256], [257], [258], [259], [260], *(list(letter.encode()) for letter in "é漢🎉\n a")]
    for _ in range(300):
        ids = [token_id for _ in range(chance.randrange(30)) for token_id in chance.choice(words)]
        whole = tokenizer.decode([257, *ids], skip_special_tokens=True)
        found = pieces(tokenizer, [257], ids)
        assert "".join(found) == whole[len("the") :]
        assert not any(UNFINISHED in piece for piece in found)


def test_a_space_before_the_first_word_is_kept() -> None:
    tokenizer = byte_fallback_tokenizer()
    the, ball = 257, 258
    assert "".join(pieces(tokenizer, [the], [ball, the])) == " ball the"


def test_special_tokens_say_nothing_and_lose_nothing() -> None:
    tokenizer = byte_fallback_tokenizer()
    the, ball, bos = 257, 258, 261
    assert "".join(pieces(tokenizer, [the], [bos, bos, ball, *[bos] * 100, ball])).startswith(" ball")


@pytest.mark.parametrize("spelt", [False, True])
@pytest.mark.parametrize("before", ["ab", "", "é漢字é漢字é漢字é漢字", "end \ufffd"])
def test_a_prompt_that_ends_inside_a_character_loses_nothing(spelt: bool, before: str) -> None:
    """However far inside, also after a long run of bytes, of which the text's window sees a part."""
    tokenizer = byte_fallback_tokenizer() if spelt else make_tokenizer()
    after = "xyz and more漢"
    ids = list((before + "🙂" + after).encode()) if spelt else tokenizer.encode(before + "🙂" + after)
    if spelt:
        size = len(before.encode())
        cuts = range(size + 1, size + 4)
    else:
        size = len(tokenizer.encode(before))
        cuts = range(size + 1, len(tokenizer.encode(before + "🙂")))
    for cut in cuts:
        assert "".join(pieces(tokenizer, ids[:cut], ids[cut:])) == "🙂" + after, cut


def test_what_was_no_character_in_the_prompt_stays_there() -> None:
    tokenizer = make_tokenizer()
    for broken in ("ab\ufffd", "ab"):
        prompt = [*tokenizer.encode(broken), *tokenizer.encode("🙂")[:1]]
        assert "".join(pieces(tokenizer, prompt, tokenizer.encode("xyz"))) == "xyz"


def test_stop_strings_see_what_is_not_shown() -> None:
    def stop_at(*stops: str) -> tuple[str, bool]:
        machine = StopStrings(stops)
        seen = machine.add("a<") + machine.add("<end>", is_shown=False) + machine.add("\nb")
        return seen + machine.finish(), machine.found

    assert stop_at("<end>") == ("a<", True)
    assert stop_at("<end>\nb") == ("a<", True)
    assert stop_at("<end>c") == ("a<\nb", False)
    assert stop_at() == ("a<\nb", False)


def test_stop_strings_across_every_border() -> None:
    chance = random.Random(1)
    for _ in range(500):
        text = "".join(chance.choice("ab") for _ in range(30))
        stops = ["".join(chance.choice("ab") for _ in range(chance.randrange(1, 5))) for _ in range(2)]
        machine, seen, position = StopStrings(stops), "", 0
        while position < len(text) and not machine.found:
            step = chance.randrange(1, 5)
            seen += machine.add(text[position : position + step])
            position += step
        seen += machine.finish()
        ends = [text.find(stop) for stop in stops if stop in text[:position]]
        assert seen == (text[: min(ends)] if ends else text)


def test_text_is_not_held_longer_than_needed() -> None:
    machine = StopStrings(["END"])
    assert machine.add("the E") == "the "
    assert machine.add("X") == "EX"
    assert machine.add("EN") == ""
    assert machine.add("DING") == ""
    assert machine.found
