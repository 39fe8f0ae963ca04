"""Answers that were given before: to the same tenant, for the same request, by the same engine; or none at all."""
