"""`python spark_job.py NUMBER OUTPUT URL...`: answer so many prompts on a local cluster of two executor processes."""

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from trident_client.spark import complete

number, output, urls = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
os.environ.update({"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable})
spark = (
    SparkSession.builder.master("local-cluster[2,1,1024]")  # executors, cores and MiB of each
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "250")
    .config("spark.sql.warehouse.dir", str(output.parent / "warehouse"))
    .getOrCreate()
)
prompts = spark.range(number, numPartitions=8).selectExpr("id", "concat('Prompt ', id) AS prompt")
answers = complete(prompts, urls, max_tokens=8)
output.write_text(answers.toPandas().to_json(orient="records", lines=True), encoding="utf-8")
spark.stop()
