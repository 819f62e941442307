"""Conversations in a model's own words: its chat template, the calls of tools and the reasoning it marks.

Knows tokenizers only. Text in which control tokens are told from text that reads alike is *marked* (`marked.py`).
"""
