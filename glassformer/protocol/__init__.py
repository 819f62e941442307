"""The wire: JSON messages and live frames. Knows neither torch nor a web framework; see SPEC.md."""
