"""`trident models`: what a server has loaded, and what one of its models takes and gives."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trident.cli.connection import ApiKey, CaFile, CertFile, KeyFile, ProtocolName, Url, connect, connection_of
from trident.cli.table import print_table
from trident.contract import ENSEMBLE


def models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="show this one's inputs and outputs")] = None,
    *,
    url: Url = None,
    protocol: ProtocolName = "grpc",
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """The models that a server has loaded; with a name, what that one takes and gives."""
    connection = connection_of(api_key, ca_file, cert_file, key_file)
    with connect(url, protocol, name or ENSEMBLE.name, connection) as client:
        if name is not None:
            interface = client.interface()
            if as_json:
                fields = {"name": name, "inputs": dict(interface.inputs), "outputs": sorted(interface.outputs)}
                print(json.dumps(fields, indent=2))
                return
            inputs = [
                ("input", each, _kind(dtype, each in interface.required)) for each, dtype in interface.inputs.items()
            ]
            print_table(
                ["", "tensor", "dtype"], [*inputs, *[("output", each, "") for each in sorted(interface.outputs)]]
            )
            return
        served = client.models()
    if as_json:
        print(json.dumps([each._asdict() for each in served], indent=2))
        return
    rows = [(each.name, each.version, str(each.num_inferences), str(each.num_executions)) for each in served]
    print_table(["model", "version", "inferences", "executions"], rows)


def _kind(dtype: str, is_required: bool) -> str:
    return f"{dtype}, required" if is_required else dtype
