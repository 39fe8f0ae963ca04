"""`python ray_job.py NUMBER OUTPUT URL...`: answer so many prompts on a local Ray with two worker processes."""

import sys
from pathlib import Path

import ray

from trident_client.ray_data import complete

number, output, urls = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20)
prompts = ray.data.from_items([{"id": each, "prompt": f"Prompt {each}"} for each in range(number)]).repartition(8)
answers = complete(prompts, urls, num_workers=2, batch_size=64, max_tokens=8)
output.write_text(answers.to_pandas().to_json(orient="records", lines=True), encoding="utf-8")
ray.shutdown()
