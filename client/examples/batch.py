"""Many prompts, a bounded number of them in flight: results as they come, failures among them.

python client/examples/batch.py --url 127.0.0.1:8001

For files of prompts that survive a kill there is `trident batch`; for clusters, trident_client.spark and .ray_data.
"""

import argparse

from trident_client import Client

COUNTRIES = ("France", "Japan", "Kenya", "Peru", "Norway", "Egypt", "India", "Canada")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    prompts = [f"The capital of {country} is" for country in COUNTRIES]
    with Client(arguments.url) as client:
        for result in client.batch(prompts, max_in_flight=4, max_tokens=8):  # in the order in which they end
            if result.completion is None:
                print(f"{COUNTRIES[result.index]}: {result.error}")
            else:
                print(f"{COUNTRIES[result.index]}: {result.completion.text.strip()!r}")


if __name__ == "__main__":
    main()
