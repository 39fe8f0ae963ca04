"""`trident capabilities`: which engine takes which parameter, from the table that requests are validated with."""

from __future__ import annotations

import json

import typer

from trident.manifest import EngineKind


def capabilities(
    engine: str | None = typer.Option(None, help="One kind of engine only, for example openvino."),
    json_output: bool = typer.Option(False, "--json", help="Print one JSON object."),
    markdown: bool = typer.Option(False, help="Print docs/capabilities.md."),
) -> None:
    """Which engine takes which parameter, its range, and what is refused."""
    from trident.engines.capabilities import KINDS, TABLE
    from trident.errors import InvalidRequestError, did_you_mean

    names = [kind.value for kind in KINDS]
    if engine is not None and engine not in names:
        hint = did_you_mean(engine, names)
        raise InvalidRequestError(f"no kind of engine '{engine}'{hint}; known: {', '.join(names)}")
    if markdown:
        print(markdown_table(), end="")
        return
    kinds = [kind for kind in KINDS if engine in {None, kind.value}]
    if json_output:
        rows = {
            row.name: {
                **{kind.value: row.of(kind).value for kind in kinds},
                **({"range": [row.low, row.high]} if row.low is not None else {}),
                **({"note": row.note} if row.note else {}),
            }
            for row in TABLE
        }
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row.name) for row in TABLE)
    print(f"{'parameter':{width}}  " + "".join(f"{kind.value:{_column(kind)}}" for kind in kinds) + "range and note")
    for row in TABLE:
        cells = "".join(f"{row.of(kind).value:{_column(kind)}}" for kind in kinds)
        print(f"{row.name:{width}}  {cells}{'; '.join(filter(None, (row.range_text, row.note)))}")


def _column(kind: EngineKind) -> int:
    return max(len(kind.value), len("refused")) + 2


def markdown_table() -> str:
    """The document: one line for each parameter of the ensemble."""
    from trident.engines.capabilities import KINDS, TABLE

    header = ["parameter", *[f"`{kind.value}`" for kind in KINDS], "range", "note"]
    rows = [
        [f"`{row.name}`", *[row.of(kind).value for kind in KINDS], row.range_text, row.note.replace("|", "\\|")]
        for row in TABLE
    ]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"""\
# What each engine takes

Made by `trident capabilities --markdown` from the table in `src/trident/engines/capabilities.py`, which requests are
validated with; a test compares the two. *yes*: taken. *refused*: a request that asks for it is answered with an error
that names it. *no-op*: accepted and without effect, by contract. Empty texts and lists ask for nothing.

{table}
"""
