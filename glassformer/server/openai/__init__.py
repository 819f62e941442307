"""The OpenAI-shaped surface under `/v1`, taken apart: requests, log probabilities, answers, errors."""
