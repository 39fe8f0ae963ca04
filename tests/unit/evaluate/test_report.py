"""One engine a line, every figure that was measured, and a file that says the same."""

import json

from tests.unit.manifests import MANIFEST
from trident.evaluate.report import candidate, table, write_report
from trident.manifest import write_manifest


def test_table_and_file_say_what_was_measured(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    write_manifest(tmp_path, MANIFEST)
    candidates = [
        candidate(tmp_path, {"perplexity": 20.123, "greedy_agreement": 0.9}, 812.0),
        candidate(tmp_path, {"perplexity": 19.5}),
    ]
    head, first, second = table(candidates).splitlines()
    assert head.split() == ["engine", "precision", "MB", "tokens/s", "perplexity", "greedy_agreement"]
    assert first.split() == ["test@1", "q4_1", "0.0", "812", "20.12", "0.9"]
    assert second.split()[-3:] == ["-", "19.5", "-"]
    write_report(candidates, tmp_path)
    written = json.loads((tmp_path / "quality.json").read_text())
    assert [one["size_bytes"] for one in written] == [5, 5]
    assert written[0]["figures"]["perplexity"] == 20.123
