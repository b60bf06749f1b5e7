"""Whole configurations of other tools become specs, and nothing of them gets lost in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.errors import UserError
from orchestrator.interfaces.cli.importing import spec_text
from orchestrator.interfaces.cli.main import cli
from orchestrator.specs import FineTune
from orchestrator.specs.checks import check_spec
from orchestrator.specs.foreign import Translated, translate
from orchestrator.specs.loading import load_spec

AXOLOTL = """\
base_model: org/llama-8b
model_type: AutoModelForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: true
strict: false
datasets:
  - path: org/chats
    name: small
    split: train[:90%]
    type: chat_template
    field_messages: turns
    roles_to_train: [assistant]
  - path: ./more.jsonl
    ds_type: json
    type: chat_template
  - path: org/instructions
    type: alpaca
test_datasets:
  - path: ./held-out.jsonl
    type: chat_template
val_set_size: 0.05
output_dir: ./out
adapter: qlora
lora_model_dir:
sequence_len: 4096
sample_packing: true
pad_to_sequence_len: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_modules: [q_proj, v_proj]
lora_target_linear:
wandb_project: mine
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: paged_adamw_32bit
lr_scheduler: cosine
learning_rate: 2e-4
train_on_inputs: false
group_by_length: false
bf16: auto
fp16:
gradient_checkpointing: true
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
deepspeed: deepspeed_configs/zero2.json
weight_decay: 0.0
fsdp:
special_tokens:
  pad_token: "<pad>"
my_own_key: 3
"""
LLAMA_FACTORY = """\
model_name_or_path: org/llama-8b-instruct
trust_remote_code: true
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
deepspeed: examples/deepspeed/ds_z3_offload_config.json
dataset: identity,demo,absent
template: llama3
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
output_dir: saves/sft
logging_steps: 10
save_steps: 500
plot_loss: true
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: polynomial
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
val_size: 0.1
eval_strategy: steps
eval_steps: 500
"""


def translated(text: str, folder: Path) -> tuple[str, Translated]:
    return translate(yaml.safe_load(text), folder)


def spec_of(found: Translated) -> FineTune:
    return load_spec(spec_text(found, "job", "tool", "file.yaml")).spec


def left(found: Translated) -> dict[str, Any]:
    return {entry.key: entry.value for entry in found.left_out}


def test_axolotl(tmp_path: Path) -> None:
    kind, found = translated(AXOLOTL, tmp_path)
    spec = spec_of(found)
    body = spec.spec

    assert kind == "axolotl"
    assert check_spec(spec) == []
    assert body.model is not None
    assert (body.model.base, body.task.rows) == ("hf://org/llama-8b", "chat")  # type: ignore[union-attr]
    domain = body.data.domains["imported"]
    assert domain.train is not None
    assert domain.test is not None
    assert [(s.hub, s.config, s.split, s.path, s.columns) for s in domain.train] == [
        ("org/chats", "small", "train[:90%]", None, {"messages": "turns"}),
        (None, None, None, "./more.jsonl", {"messages": "messages"}),
    ]
    assert domain.test[0].path == "./held-out.jsonl"
    method: Any = body.method
    assert (method.type, method.rank, method.alpha) == ("qlora", 32, 16.0)
    assert method.target_modules == ("q_proj", "v_proj")
    training = body.training
    assert (training.learning_rate, training.epochs, training.warmup_steps) == (2e-4, 4, 10)
    assert (training.global_batch_size, body.engine.micro_batch_size) == (8, 2)
    assert (training.max_length, training.precision, training.packs) == (4096, "bf16", True)
    assert (body.engine.zero_stage, body.resources.gpus_per_worker) == (2, 1)
    assert body.data.valid_fraction == 0.05
    assert left(found).keys() == {
        "model_type", "tokenizer_type", "datasets[0].roles_to_train", "datasets[2].type",
        "datasets[2]", "output_dir", "pad_to_sequence_len", "wandb_project", "optimizer",
        "evals_per_epoch", "saves_per_epoch", "deepspeed", "special_tokens", "my_own_key",
    }  # fmt: skip
    reasons = {entry.key: entry.reason for entry in found.left_out}
    assert reasons["my_own_key"] == "this importer does not know the key"
    assert all(reasons.values())


def test_llama_factory_with_its_list_of_data_sets(tmp_path: Path) -> None:
    listed = {
        "identity": {"file_name": "identity.json"},
        "demo": {"hf_hub_url": "org/demo", "columns": {"prompt": "q", "response": "a"}},
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data/dataset_info.json").write_text(json.dumps(listed))

    kind, found = translated(LLAMA_FACTORY, tmp_path)
    spec = spec_of(found)
    body = spec.spec

    assert kind == "LLaMA-Factory"
    assert check_spec(spec) == []
    domain = body.data.domains["imported"]
    assert domain.train is not None
    assert [(s.hub, s.path) for s in domain.train] == [
        (None, "data/identity.json"),
        ("org/demo", None),
        (None, "FILL-IN/absent.jsonl"),
    ]
    assert domain.train[1].columns == {"prompt": "q", "completion": "a"}
    method: Any = body.method
    assert (method.type, method.rank, method.target_modules) == ("lora", 8, None)
    assert (body.engine.zero_stage, body.engine.offload) == (3, "parameters")
    assert (body.training.global_batch_size, body.training.warmup_ratio) == (2, 0.1)
    assert body.checkpoint.every_steps == 500
    told = left(found)
    assert told["lr_scheduler_type"] == "polynomial"
    assert told["max_samples"] == 1000
    assert "data.domains.imported.test" in told
    assert "dataset: absent" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_model: a/b\nrl: dpo\n", "preferences"),
        ("model_name_or_path: a/b\nstage: ppo\n", "preferences"),
        ("epochs: 3\n", "no configuration of axolotl or LLaMA-Factory"),
    ],
)
def test_what_no_spec_can_say_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        translated(text, tmp_path)


def test_no_key_is_lost(tmp_path: Path) -> None:
    """Every key that is set is in the spec or in the list."""
    for text in (AXOLOTL, LLAMA_FACTORY):
        document = yaml.safe_load(text)
        _, whole = translate(document, tmp_path)
        for key, value in document.items():
            if value in (None, False) or key in ("stage", "finetuning_type", "train_on_inputs"):
                continue
            if key in ("base_model", "model_name_or_path"):
                continue
            _, without = translate({k: v for k, v in document.items() if k != key}, tmp_path)
            changed = (without.body, without.left_out) != (whole.body, whole.left_out)
            defaults = ("lora_target", "load_in_4bit", "per_device_train_batch_size")
            assert changed or key in defaults, key


def test_the_command_writes_a_spec_that_loads(tmp_path: Path) -> None:
    source, target = tmp_path / "My QLoRA.yml", tmp_path / "spec.yaml"
    source.write_text(AXOLOTL)

    done = CliRunner().invoke(cli, ["import", str(source), "-o", str(target), "--json"])

    document = json.loads(done.stdout)
    assert document["format"] == "axolotl"
    assert {"key": "my_own_key", "value": 3, "reason": "this importer does not know the key"} in (
        document["left_out"]
    )
    assert target.read_text() == document["spec"]
    assert load_spec(target).spec.metadata.name == "my-qlora"
    assert "#   my_own_key (3): this importer does not know the key" in document["spec"]
    assert CliRunner().invoke(cli, ["import", str(source), "-o", str(target)]).exit_code != 0
