"""Running a model: sampling, the generation loop, text from tokens. Knows neither HTTP nor recordings."""
