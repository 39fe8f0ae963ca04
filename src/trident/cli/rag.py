"""`trident rag`: the documents that a gateway answers from, of the tenant whose key is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from trident.cli.connection import ApiKey
from trident.cli.gateway_request import GATEWAY_URL, GatewayUrl, ask_gateway
from trident.cli.table import print_table
from trident.errors import SettingsError

app = typer.Typer(help="Documents that a gateway answers from.", no_args_is_help=True)

Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="a-z, 0-9, '_', '.' and '-'")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
_ADD_TIMEOUT_S = 3600.0  # a document of megabytes on a small machine
_EXCERPT_CHARS = 160


@app.command()
def add(
    collection: Collection,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="text, Markdown (.md) or PDF (.pdf)")],
    *,
    url: GatewayUrl = GATEWAY_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Put files in, each in place of the document with its name; what has not changed is not embedded again."""
    names = [file.name for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"two files are called {twice}, and a document is known by its name; rename one")
    texts = [_text_of(file) for file in files]
    added = []
    for name, text in zip(names, texts, strict=True):
        found = ask_gateway(
            url, api_key, _path(collection, name), {"text": text}, method="PUT", timeout_s=_ADD_TIMEOUT_S
        )
        added.append(found)
        if not as_json:
            print(f"{name}: {found['passages']} passages, {found['embedded']} embedded now")
    if as_json:
        print(json.dumps(added, indent=2))
    else:
        typer.echo(f'next  trident rag search {collection} "a question"', err=True)


@app.command("list")
def list_(
    collection: Annotated[str | None, typer.Argument(help="its documents; all collections by default")] = None,
    *,
    url: GatewayUrl = GATEWAY_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The collections, or the documents of one."""
    found = ask_gateway(url, api_key, "/v1/collections" if collection is None else _path(collection))
    columns = ("name", "documents", "passages", "version", "model") if collection is None else _DOCUMENT_COLUMNS
    _show(found, columns, as_json)


@app.command()
def remove(
    collection: Collection,
    documents: Annotated[list[str] | None, typer.Argument(metavar="[DOCUMENT]...", help="their names")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="The collection with all its documents.")] = False,
    url: GatewayUrl = GATEWAY_URL,
    api_key: ApiKey = None,
) -> None:
    """Delete documents, or a whole collection, for ever."""
    if bool(documents) == everything:
        raise SettingsError("name the documents to remove, or give --all for the collection with all of them")
    paths = [_path(collection, name) for name in documents or ()] or [f"/v1/collections/{quote(collection, safe='')}"]
    for path in paths:
        print(f"{ask_gateway(url, api_key, path, method='DELETE')['name']} is removed")


@app.command()
def search(
    collection: Collection,
    question: Annotated[str, typer.Argument(help="in words, as it is asked of the model")],
    *,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=50, help="passages at most")] = 5,
    url: GatewayUrl = GATEWAY_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The passages that are nearest to a question, with their scores: what `min_score` is chosen by."""
    body = {"query": question, "top_k": top_k}
    found = ask_gateway(url, api_key, f"/v1/collections/{quote(collection, safe='')}/search", body)
    if not as_json:
        rows = [{**each, "text": " ".join(each["text"].split())[:_EXCERPT_CHARS]} for each in found["data"]]
        found = {**found, "data": rows}
    _show(found, ("score", "document", "place", "text"), as_json)


_DOCUMENT_COLUMNS = ("name", "passages", "bytes")


def _path(collection: str, document: str | None = None) -> str:
    path = f"/v1/collections/{quote(collection, safe='')}/documents"
    return path if document is None else f"{path}/{quote(document, safe='')}"


def _show(found: Mapping[str, Any], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_table(columns, [[str(row[name]) for name in columns] for row in found["data"]])


def _text_of(path: Path) -> str:
    """Of a file; of a PDF file the text of its pages, with form feeds between.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    if data.startswith(b"%PDF-"):
        return _pdf_text(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise SettingsError(
            f"{path} is not UTF-8 text: byte {exc.start} is 0x{data[exc.start]:02x}; text, Markdown and PDF are read"
        ) from exc


def _pdf_text(path: Path) -> str:
    try:
        from pypdf import PdfReader
    except ImportError as exc:
        raise SettingsError(f"{path} is a PDF file; to read it: pip install 'trident-llm[pdf]'") from exc
    try:
        return "\f".join(page.extract_text() for page in PdfReader(path).pages)
    except Exception as exc:  # of any kind, as pypdf says of broken files; of encrypted ones it lacks a library
        raise SettingsError(f"{path} cannot be read as PDF: {exc}") from exc
