"""Answers from documents: collections of tenants, the passages of them that fit a question, and what cites them."""
