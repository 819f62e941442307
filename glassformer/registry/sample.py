"""What a model is opened with that brings no samples of its own: something that even a small one has an answer to, and
in which one sees where the answer comes from. Knows nothing of models."""

from glassformer.protocol.messages import ChatMessage

# Each ends just before what the model should write; the likely word is named by what the text says, not by its end.
PROMPTS = (
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is",
    "When Mary and John went to the store, John gave a drink to",
    "Monday, Tuesday, Wednesday,",
)
# The first answer shows how to answer: with one word, so that it is decided where the question ends.
CONVERSATION = (
    ChatMessage(role="user", content="What is the capital of Spain?"),
    ChatMessage(role="assistant", content="Madrid"),
    ChatMessage(role="user", content="What is the capital of France?"),
)
