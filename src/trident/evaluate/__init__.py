"""How good an engine is: perplexity, and how far its choices are from another's. See README in `held_out`."""
