"""An answer that fits a JSON schema, whatever the model: the guide lets no other token through.

python client/examples/json_schema.py "Marie Curie" --url 127.0.0.1:8001
"""

import argparse
import json

from trident_client import Client

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "born": {"type": "integer", "minimum": 1000, "maximum": 2100},
        "fields": {"type": "array", "items": {"enum": ["physics", "chemistry", "poetry"]}, "maxItems": 2},
    },
    "required": ["name", "born", "fields"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("person", nargs="?", default="Marie Curie")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    with Client(arguments.url) as client:
        answer = client.chat(
            f"Describe {arguments.person} as JSON.",
            max_tokens=200,
            guided_decoding_guide_type="json_schema",
            guided_decoding_guide=PERSON,
        )
    print(json.dumps(json.loads(answer.text), indent=2))


if __name__ == "__main__":
    main()
