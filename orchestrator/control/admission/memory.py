"""Bytes that one worker needs: what is always held, and the peak of a step on top of it.

States follow ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054) as DeepSpeed 0.19 really allocates
them: under stages 1 and 2 the flat fp32 copy that AdamW updates exists in fp32 too, under stage 3
it does not, but gathered weights and a bucket of gradients come on top. Activations follow
Korthikanti et al. 2022 (arXiv:2205.05198), section 4, for an encoder layer in `c` bytes an element:
10 tensors of hidden size and 2 of the feed-forward size a token, and three of attention heads x
length where attention is computed in full, as it is on CPUs with dropout.
Constants marked "measured" are from the runs in docs/plan.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.admission.records import Offload, Precision, Strategy, WorkerMemory
from orchestrator.control.admission.trainable import TrainedModel
from orchestrator.inspect.architectures import GATED_FEED_FORWARD
from orchestrator.specs.deepspeed import DeepSpeedSpec

FP32 = 4
FULL_WIDTH = ("fp32", "tf32")  # the second is stored as the first
QUANTIZED_BYTES = 0.53  # of a 4-bit weight with its share of the scales, quantized too
MOMENTS = 2 * FP32  # AdamW's two, always fp32

BUCKET_ELEMENTS = 500_000_000  # DeepSpeed's reduce_bucket_size where none is written
SUB_GROUP_ELEMENTS = 1_000_000_000  # stage3's sub_group_size: so much is updated at once
LIVE_ELEMENTS = 1_000_000_000  # stage3_max_live_parameters: gathered weights below it are kept

PROCESS_BYTES = 750_000_000  # measured: interpreter, torch, transformers, deepspeed, ray; first use
GPU_CONTEXT_BYTES = 800_000_000  # CUDA context, cuBLAS and NCCL work space
RUNTIME_BYTES = 2_200_000_000  # measured: Ray's servers, six actors, the driver, the orchestrator
CPU_HEAP_SLACK = 1.4  # measured: freed activations the allocator does not give back
GPU_HEAP_SLACK = 1.1
CHECKPOINTED_LAYERS = 3  # measured: a recomputed layer, its gradients and their temporaries

_LINEAR = 8  # tensors of hidden size that a layer keeps for the way back
_KEYS_AND_VALUES = 2  # more, smaller where several heads of queries share one of keys and values
_PLAIN = 2  # tensors of the feed-forward part's size: before and behind its nonlinearity
_GATED = 4  # and the other half, and the product of both
_AUTOCAST = 4  # of them stay fp32 under torch's autocast (norms and residuals)
_QKV = 3  # upcast to fp32 by attention on CPUs
_SCORES = 3  # attention matrices that dropout keeps: softmax, mask, product


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One way to run a training: everything its memory follows from."""

    model: TrainedModel
    strategy: Strategy
    zero_stage: int
    precision: Precision
    offload: Offload
    workers: int
    on_gpu: bool
    micro_batch_size: int
    length: int  # tokens of the longest row
    num_labels: int
    checkpointing: bool
    evaluation_rows: int
    bucket_elements: int = BUCKET_ELEMENTS
    live_elements: int = LIVE_ELEMENTS
    sub_group_elements: int = SUB_GROUP_ELEMENTS

    @property
    def weight_bytes(self) -> int:
        """Of one stored weight: under DDP low precision is autocast's, the weights stay fp32."""
        low = self.precision not in FULL_WIDTH and self.strategy == "deepspeed"
        return 2 if low else FP32

    @property
    def outputs_of_row(self) -> int:
        """Logits: of the classes, or of the vocabulary at every token."""
        vocabulary = self.model.vocabulary
        return vocabulary * self.length if vocabulary else self.num_labels

    @property
    def stored_bytes(self) -> int:
        """Of all weights on one worker, where nothing shards them."""
        quantized = self.model.quantized_parameters
        whole = self.weight_bytes * (self.model.total_parameters - quantized)
        return whole + round(QUANTIZED_BYTES * quantized)

    @property
    def compute_bytes(self) -> int:
        return FP32 if self.precision in FULL_WIDTH else 2


def buffer_sizes(given: DeepSpeedSpec | None) -> dict[str, int]:
    """Of DeepSpeed's buffers, those that the spec sets."""
    zero = given.zero_optimization if given is not None else None
    if zero is None:
        return {}
    sizes = {
        "bucket_elements": zero.reduce_bucket_size,
        "live_elements": zero.stage3_max_live_parameters,
        "sub_group_elements": zero.sub_group_size,
    }
    return {name: size for name, size in sizes.items() if size is not None}


def worker_memory(case: MemoryCase) -> WorkerMemory:
    """The peak of one worker, on its GPU where it has one, else in host memory."""
    weights, gradients, optimizer = _states(case)
    offloaded_weights = case.offload == "parameters" and case.on_gpu
    offloaded_optimizer = case.offload != "none" and case.on_gpu
    activations = _activations(case)
    logits = 3 * FP32 * case.micro_batch_size * case.outputs_of_row
    backward, update = _backward_buffers(case), _update_buffers(case)
    evaluation = max(0, _evaluation(case) - activations)
    if case.on_gpu:
        # The caching allocator reuses the memory of activations for the update.
        buffers = max(backward, update - activations, evaluation)
    else:
        buffers = max(backward, update, evaluation)
    return WorkerMemory(
        weights_bytes=_gathered(case) if offloaded_weights else weights,
        gradients_bytes=0 if offloaded_optimizer else gradients,
        optimizer_bytes=0 if offloaded_optimizer else optimizer,
        activations_bytes=activations,
        logits_bytes=logits,
        buffers_bytes=buffers,
        process_bytes=GPU_CONTEXT_BYTES if case.on_gpu else PROCESS_BYTES,
    )


def host_worker_bytes(case: MemoryCase, worker: WorkerMemory) -> int:
    """Host memory of one worker while training; with a GPU what is offloaded, and the process."""
    if not case.on_gpu:
        return worker.total_bytes
    weights, gradients, optimizer = _states(case)
    offloaded = optimizer + gradients if case.offload != "none" else 0
    offloaded += weights if case.offload == "parameters" else 0
    return PROCESS_BYTES + offloaded


def host_load_bytes(case: MemoryCase) -> int:
    """Host memory of one worker while it loads: stored weights are mapped, then held as fp32."""
    stored = case.model.facts.weights_bytes
    return PROCESS_BYTES + stored + FP32 * case.model.total_parameters


def _states(case: MemoryCase) -> tuple[int, int, int]:
    """(weights, gradients, optimizer) that are held through the whole training."""
    total, trained = case.model.total_parameters, case.model.trainable_parameters
    size, shards = case.weight_bytes, case.workers
    if case.strategy == "ddp" or case.zero_stage == 0:
        master = FP32 if size < FP32 else 0
        return case.stored_bytes, size * trained, (MOMENTS + master) * trained
    if case.zero_stage == 3:
        master = FP32 if size < FP32 or case.offload != "none" else 0
        weights = size * _share(total, shards) + _gathered(case)
        optimizer = (MOMENTS + master) * _share(trained, shards)
        return weights, size * _share(trained, shards), optimizer
    gradients = size * (trained if case.zero_stage == 1 else _share(trained, shards))
    return case.stored_bytes, gradients, (MOMENTS + FP32) * _share(trained, shards)


def _backward_buffers(case: MemoryCase) -> int:
    """What communication of gradients holds on the way back."""
    trained, size = case.model.trainable_parameters, case.weight_bytes
    if case.strategy == "ddp" or case.zero_stage == 0:
        return size * trained if case.workers > 1 else 0
    most = case.bucket_elements
    bucket = size * (most if case.on_gpu else min(trained, most))
    if case.on_gpu and case.zero_stage < 3:
        bucket *= 2  # two take turns where communication overlaps the computation
    if case.zero_stage == 3:
        in_flight = min(trained, most) * size
        staged = 3 * in_flight if case.workers > 1 else 0  # measured
        return bucket + in_flight + staged
    return bucket


def _update_buffers(case: MemoryCase) -> int:
    """Temporaries of clipping and AdamW; the fused one of GPUs has none of its own."""
    trained = case.model.trainable_parameters
    largest = min(case.model.facts.parameters.largest, trained)
    if case.strategy == "ddp" or case.zero_stage == 0:
        copies = FP32 * trained if case.weight_bytes < FP32 else 0
        return copies + (0 if case.on_gpu else FP32 * largest)
    if case.offload != "none" and case.on_gpu:
        return 0
    share = FP32 * _share(trained, case.workers)
    if case.zero_stage == 3:
        share = min(share, FP32 * case.sub_group_elements)
        largest = _share(largest, case.workers) if case.on_gpu else largest
    gradients = share  # flat, in fp32
    temporaries = 0 if case.on_gpu else 2 * share  # AdamW's denominator over the whole partition
    bucket = case.weight_bytes * min(trained, case.bucket_elements) if case.zero_stage == 3 else 0
    return gradients + temporaries + bucket + FP32 * largest


def _activations(case: MemoryCase) -> int:
    """What is kept for the way back, with the allocator's slack."""
    facts, layers = case.model.facts, case.model.trainable_layers
    tokens = case.micro_batch_size * case.length
    layer = _layer_bytes_per_token(case)
    if layers == 0:
        per_token = float(layer)  # nothing is kept: one layer's forward at a time
    elif case.checkpointing:
        kept = layers * facts.hidden_size * case.compute_bytes
        per_token = kept + min(layers, CHECKPOINTED_LAYERS) * layer
    else:
        per_token = float(layers * layer)
    slack = GPU_HEAP_SLACK if case.on_gpu else CPU_HEAP_SLACK
    return round(tokens * per_token * slack)


def _layer_bytes_per_token(case: MemoryCase) -> int:
    facts, size = case.model.facts, case.compute_bytes
    kept = _GATED if facts.model_type in GATED_FEED_FORWARD else _PLAIN
    shared = _KEYS_AND_VALUES * facts.hidden_size * facts.num_kv_heads // facts.num_heads
    layer = size * (_LINEAR * facts.hidden_size + shared + kept * facts.intermediate_size)
    if (adapter := case.model.adapter) is not None:
        layer += (size * adapter.kept_per_token + adapter.masks_per_token) // facts.num_layers
    if size < FP32 and case.strategy == "ddp":
        layer += _AUTOCAST * facts.hidden_size * (FP32 - size)
    if case.on_gpu:  # fused attention keeps no matrices
        return layer
    if size < FP32:
        layer += _QKV * facts.hidden_size * (FP32 - size)
    if facts.attention_dropout > 0:
        layer += _SCORES * FP32 * facts.num_heads * case.length
    return layer


def _evaluation(case: MemoryCase) -> int:
    """One layer's forward for the rows that are evaluated at once, and what it predicts."""
    facts = case.model.facts
    per_token = case.compute_bytes * (4 * facts.hidden_size + facts.intermediate_size)
    logits = 2 * FP32 * case.outputs_of_row if case.model.vocabulary else 0
    return int(case.evaluation_rows * (case.length * per_token + logits))


def _gathered(case: MemoryCase) -> int:
    """Whole weights under stage 3: those in use, and all others below DeepSpeed's threshold."""
    return case.weight_bytes * min(case.model.total_parameters, case.live_elements)


def _share(parameters: int, workers: int) -> int:
    return -(-parameters // workers)
