"""Sizes of well-known models as their configs on the hub have them, and how many parameters the
hub counts in their safetensors files (what it shows on a model's page)."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]


def llama(
    vocab: int, hidden: int, inner: int, layers: int, heads: tuple[int, int], **more: Any
) -> Config:
    """Of Llama and its kin; `heads` are those of queries, and of keys and values."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
        **more,
    }


def encoder(kind: str, vocab: int, positions: int, types: int) -> Config:
    """Of BERT's base size."""
    return {
        "model_type": kind,
        "vocab_size": vocab,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
    }


def gpt2(hidden: int, layers: int, heads: int) -> Config:
    return {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 1024,
    }


def t5(kind: str, vocab: int, hidden: int, inner: int, depth: tuple[int, int], **m: Any) -> Config:
    """`depth` are layers and heads."""
    return {
        "model_type": kind,
        "vocab_size": vocab,
        "d_model": hidden,
        "d_ff": inner,
        "d_kv": 64,
        "num_layers": depth[0],
        "num_decoder_layers": depth[0],
        "num_heads": depth[1],
        **m,
    }


BART_LARGE: Config = {
    "model_type": "bart",
    "vocab_size": 50265,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "max_position_embeddings": 1024,
}
LLAMA_2_7B = llama(32000, 4096, 11008, 32, (32, 32))
LLAMA_3_8B = llama(128256, 4096, 14336, 32, (32, 8))
LLAMA_3_70B = llama(128256, 8192, 28672, 80, (64, 8))

PUBLISHED: dict[str, tuple[Config, int]] = {
    "bert-base-uncased": (encoder("bert", 30522, 512, 2), 109_482_240),
    "roberta-base": (encoder("roberta", 50265, 514, 1), 124_645_632),
    "distilbert-base": (
        {
            "model_type": "distilbert",
            "vocab_size": 30522,
            "dim": 768,
            "hidden_dim": 3072,
            "n_layers": 6,
            "n_heads": 12,
            "max_position_embeddings": 512,
        },
        66_362_880,
    ),
    "gpt2": (gpt2(768, 12, 12), 124_439_808),
    "gpt2-xl": (gpt2(1600, 48, 25), 1_557_611_200),
    "t5-base": (t5("t5", 32128, 768, 3072, (12, 12)), 222_903_552),
    "flan-t5-base": (
        t5(
            *("t5", 32128, 768, 2048, (12, 12)),
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        ),
        247_577_856,
    ),
    "bart-large": (BART_LARGE, 406_291_456),
    "Llama-2-7B": (LLAMA_2_7B, 6_738_415_616),
    "Llama-2-13B": (llama(32000, 5120, 13824, 40, (40, 40)), 13_015_864_320),
    "Llama-2-70B": (llama(32000, 8192, 28672, 80, (64, 8)), 68_976_648_192),
    "Llama-3-8B": (LLAMA_3_8B, 8_030_261_248),
    "Llama-3-70B": (LLAMA_3_70B, 70_553_706_496),
    "Llama-3.1-405B": (llama(128256, 16384, 53248, 126, (128, 8)), 405_853_388_800),
    "SmolLM2-135M": (
        llama(49152, 576, 1536, 30, (9, 3), tie_word_embeddings=True),
        134_515_008,
    ),
    "Mistral-7B-v0.1": (
        llama(32000, 4096, 14336, 32, (32, 8), model_type="mistral"),
        7_241_732_096,
    ),
    "Mixtral-8x7B": (
        llama(32000, 4096, 14336, 32, (32, 8), model_type="mixtral", num_local_experts=8),
        46_702_792_704,
    ),
    "Qwen2.5-0.5B": (
        llama(151936, 896, 4864, 24, (14, 2), model_type="qwen2", tie_word_embeddings=True),
        494_032_768,
    ),
    "Qwen2.5-7B": (llama(152064, 3584, 18944, 28, (28, 4), model_type="qwen2"), 7_615_616_512),
    "Qwen2.5-72B": (llama(152064, 8192, 29568, 80, (64, 8), model_type="qwen2"), 72_706_203_648),
    "Qwen3-8B": (
        llama(151936, 4096, 12288, 36, (32, 8), model_type="qwen3", head_dim=128),
        8_190_735_360,
    ),
    "Qwen3-30B-A3B": (
        llama(
            *(151936, 2048, 6144, 48, (32, 4)),
            model_type="qwen3_moe",
            head_dim=128,
            num_experts=128,
            moe_intermediate_size=768,
        ),
        30_532_122_624,
    ),
    "gemma-7b": (
        llama(256000, 3072, 24576, 28, (16, 16), model_type="gemma", head_dim=256),
        8_537_680_896,
    ),
    "gemma-2-9b": (
        llama(256000, 3584, 14336, 42, (16, 8), model_type="gemma2", head_dim=256),
        9_241_705_984,
    ),
    "Phi-3-mini": (llama(32064, 3072, 8192, 32, (32, 32), model_type="phi3"), 3_821_079_552),
    "pythia-1b": (
        {
            **llama(50304, 2048, 8192, 16, (8, 8)),
            "model_type": "gpt_neox",
        },
        1_011_781_632,
    ),
}
