"""OpenAI's API: bodies in, bodies and events out. Generation itself is `gateway/exchange.py`."""
