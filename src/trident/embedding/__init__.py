"""Texts to vectors with an embedding engine: the model `embedding` that may be served beside an LLM."""
