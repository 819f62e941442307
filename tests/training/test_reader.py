"""The reader finds nothing in what the grammar writes, and each kind of slip where one is made."""

import random

import pytest

from glassformer.training import corpus, reader


def test_the_grammar_never_slips():
    rng = random.Random(4)
    documents = [
        document for document in (corpus.write(rng) for _ in range(3000)) if "\n" not in document.story
    ]
    assert len(documents) > 2500
    for document in documents:
        assert reader.slips(document.story) == [], document.story


@pytest.mark.parametrize(
    ("kind", "story", "repaired"),
    [
        ("form", "Mia has a ball. Mia ball the.", "Mia has a ball. Mia laughs."),
        ("form", "Mia has a ball. Mia laughed.", "Mia had a ball. Mia laughed."),
        ("form", "Mia has a ball. Mia", "Mia has a ball."),
        ("pronoun", "Mia has a ball. He laughs.", "Mia has a ball. She laughs."),
        (
            "pronoun",
            "Mia has a ball. Mia is sad because he lost the ball.",
            "Mia has a ball. Mia is sad because she lost the ball.",
        ),
        ("twice", "Ada and Ada are in the park.", "Ada and Leo are in the park."),
        ("twice", "Leo has a hat. Leo gives the hat to Leo.", "Leo has a hat. Leo gives the hat to Ada."),
        ("twice", "Leo has two plums. Leo gives Leo two more.", "Leo has two plums. Ada gives Leo two more."),
        ("thing", "Mia has a ball. Mia gives the kite to Tom.", "Mia has a kite. Mia gives the kite to Tom."),
        ("thing", "Mia has a ball. Tom has a ball.", "Mia has a ball. Tom has a kite."),
        (
            "holder",
            "Mia has a ball. Tom gives the ball to Mia.",
            "Mia has a ball. Tom takes the ball from Mia.",
        ),
        (
            "holder",
            "Mia has a ball. Tom finds the ball.",
            "Mia has a ball. She drops it on the table. Tom finds it.",
        ),
        (
            "holder",
            "Mia has a ball. Tom has a kite. Tom swaps the ball for Mia's kite.",
            "Mia has a ball. Tom has a kite. Tom swaps the kite for Mia's ball.",
        ),
        ("place", "Mia is in the park. Mia goes to the park.", "Mia is in the park. Mia goes to the zoo."),
        (
            "place",
            "Mia and Tom are in the park. Mia and Leo go to the zoo.",
            "Mia and Tom are in the park. Mia and Tom go to the zoo.",
        ),
        ("count", "Mia has two plums. Mia eats two of them.", "Mia has two plums. Mia eats one of them."),
        (
            "count",
            "Mia had two plums. Mia got one more. Then Mia had four plums.",
            "Mia had two plums. Mia got one more. Then Mia had three plums.",
        ),
        (
            "thing",
            "Mia has a red ball. Mia likes the blue ball.",
            "Mia has a red ball. Mia likes the red ball.",
        ),
        ("form", "Mia has a egg.", "Mia has an egg."),
        ("form", "Mia has a hat. Mia is happy because she lost the hat.", "Mia has a hat. Mia is happy."),
    ],
)
def test_a_slip_is_found_and_its_repair_is_not(kind: str, story: str, repaired: str):
    assert kind in {found for found, _ in reader.slips(story)}
    assert reader.slips(repaired) == []
