"""The HTTP and gRPC edge in front of any number of Triton servers: OpenAI's API and KServe v2, keys, limits, routing.

It speaks to Triton through `trident_client` only, and knows nothing of engines, tokenizers or Triton's Python backend.
"""
