"""Which kinds of models a task can start from, known without importing transformers.

Called by `inspect.model`. The names are those of transformers' `model_type`; a test compares them
with the installed release.
"""

from __future__ import annotations

from importlib import metadata

KNOWN_RELEASE = (5, 23)
"""The transformers release the table below was read from."""

_CLASSIFIERS = """
    albert arcee axk1 axk2 bart bert big_bird bigbird_pegasus biogpt bloom camembert canine
    cohere_compass_text convbert ctrl data2vec-text deberta deberta-v2 deepseek_v2 deepseek_v3
    diffllama distilbert doge electra ernie esm esmc eurobert exaone4 falcon flaubert fnet
    funnel gemma gemma2 gemma3 gemma3_text glm glm4 gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox
    gpt_oss gptj gte helium hunyuan_v1_dense hunyuan_v1_moe ibert jamba jetmoe
    jina_embeddings_v3 layoutlm layoutlmv2 layoutlmv3 lilt llama longformer luke markuplm mbart
    megatron-bert minicpm3 minimax ministral ministral3 mistral mistral4 mixtral mobilebert
    modernbert modernbert-decoder modernvbert mpnet mpt mra mt5 mvp nemotron nomic_bert
    nystromformer olmo olmo2 olmo3 openai-gpt opt perceiver persimmon phi phi3 phimoe plbart
    qwen2 qwen2_moe qwen3 qwen3_5 qwen3_5_text qwen3_moe qwen3_next reformer rembert roberta
    roberta-prelayernorm roc_bert roformer seed_oss smollm3 squeezebert stablelm starcoder2 t5
    t5gemma t5gemma2 tapas ultrabert ultravbert umt5 xlm xlm-roberta xlm-roberta-xl xlnet xmod
    yoso zamba zamba2
"""

SEQUENCE_CLASSIFICATION = frozenset(_CLASSIFIERS.split())
"""Kinds that `AutoModelForSequenceClassification` builds."""

_WRITERS = """
    afmoe apertus arcee axk1 axk2 bailing_hybrid bamba biogpt bitnet bloom blt codegen cohere
    cohere2 cohere2_moe ctrl cwm dbrx deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 diffllama
    doge dots1 ernie4_5 ernie4_5_moe exaone exaone4 exaone_moe falcon falcon_h1 falcon_mamba
    flex_olmo gemma gemma2 gemma3 gemma3_text gemma3n_text gemma4_text glm glm4 glm4_moe
    glm4_moe_lite gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite
    granitemoe granitemoehybrid granitemoeshared helium hunyuan_v1_dense hunyuan_v1_moe internlm3
    jais2 jamba jetmoe kimi_linear lfm2 lfm2_moe lfm3 llama llama4_text longcat_flash mamba mamba2
    minicpm3 minimax minimax_m2 ministral ministral3 mistral mixtral modernbert-decoder mpt
    nanochat nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt opt persimmon phi
    phi3 phimoe qwen2 qwen2_moe qwen3 qwen3_5_text qwen3_moe qwen3_next recurrent_gemma rwkv
    seed_oss smollm3 stablelm starcoder2 vaultgemma xglm xlstm youtu zamba zamba2
"""

CAUSAL_LM = frozenset(_WRITERS.split())
"""Kinds that `AutoModelForCausalLM` builds and that see only what stands before a token.

Encoders are left out: transformers builds a language model of them too, whose tokens would see the
ones they are to predict."""

_REWRITERS = """
    bart bigbird_pegasus blenderbot blenderbot-small encoder-decoder fsmt led longt5 m2m_100 marian
    mbart mt5 mvp nllb-moe pegasus pegasus_x plbart prophetnet switch_transformers t5 t5gemma
    t5gemma2 umt5
"""

SEQ2SEQ_LM = frozenset(_REWRITERS.split())
"""Kinds that `AutoModelForSeq2SeqLM` builds: an encoder reads, a decoder writes."""

_READERS = """
    albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra
    ernie eurobert fnet gte ibert longformer megatron-bert mobilebert modernbert mpnet mra
    nomic_bert nystromformer rembert roberta roberta-prelayernorm roc_bert roformer squeezebert
    xlm-roberta xlm-roberta-xl yoso
"""

MASKED_LM = frozenset(_READERS.split())
"""Encoders of text that `AutoModelForMaskedLM` builds; those it builds of decoders are left out."""

NUMBERED_SPANS = frozenset({"longt5", "mt5", "switch_transformers", "t5", "umt5"})
"""Kinds whose tokenizers have a sentinel for each hidden span."""

_ABLE = {
    "text-classification": SEQUENCE_CLASSIFICATION,
    "causal-lm": CAUSAL_LM,
    "masked-lm": MASKED_LM,
    "denoising": SEQ2SEQ_LM,
    "translation": CAUSAL_LM | SEQ2SEQ_LM,
    "summarization": CAUSAL_LM | SEQ2SEQ_LM,
}

RELATIVE_POSITIONS = frozenset(
    {"bloom", "longt5", "mt5", "switch_transformers", "t5", "umt5", "xlnet"}
)
"""Kinds without a table of positions: no text is too long for them."""

PADDED_POSITIONS = frozenset(
    {
        *("camembert", "data2vec-text", "esm", "ibert", "longformer", "mpnet", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Kinds that count positions from behind the padding index: their table is shorter by it."""

DENSE_HEADS = frozenset(
    {
        *("bart", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "esm", "ibert"),
        *("longformer", "mbart", "modernbert", "mpnet", "mvp", "plbart", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Kinds whose new classification head has a square layer before the output."""


MIXTURES = frozenset({"mixtral", "qwen2_moe", "qwen3_moe"})
"""Kinds of which each token uses only some experts."""

GATED_FEED_FORWARD = frozenset(
    {
        *("gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "mixtral", "phi3"),
        *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"),
    }
)
"""Kinds whose feed-forward part multiplies two halves: it keeps four tensors of its size, not two.
"""


_PACKED_BY_POSITION = frozenset(
    {
        *("cohere", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "granite", "llama"),
        *("mistral", "mixtral", "olmo", "olmo2", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe"),
        *("smollm3", "stablelm", "starcoder2"),
    }
)
_PACKED_BY_MASK = frozenset(
    {
        *("albert", "bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie"),
        *("ibert", "megatron-bert", "mpnet", "rembert", "roberta", "roberta-prelayernorm"),
        "xlm-roberta",
    }
)
_READ_BOTH_WAYS = frozenset({"text-classification", "masked-lm"})


def can_pack(task: str, model_type: str) -> bool:
    """Whether rows may lie side by side: the model is told positions, and whose a token is.

    A test trains one of each kind on packed and on padded rows.
    """
    kinds = _PACKED_BY_MASK if task in _READ_BOTH_WAYS else _PACKED_BY_POSITION
    return model_type in kinds


def can_do(task: str, model_type: str) -> bool:
    """Whether transformers, as far as is known here, does a task with this kind of model."""
    return model_type in _ABLE[task]


def is_known(model_type: str) -> bool:
    """Whether it is known of this kind what it can do."""
    return any(model_type in able for able in _ABLE.values())


def knows_more_than_this() -> bool:
    """Whether kinds absent here may exist: transformers is newer, or not installed here."""
    try:
        version = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return True
    major, minor = (int(part) for part in version.split(".")[:2])
    return (major, minor) > KNOWN_RELEASE
