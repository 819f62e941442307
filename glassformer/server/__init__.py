"""The HTTP server: parse, call, encode, nothing else. `create_app` in `app.py` puts it together."""
