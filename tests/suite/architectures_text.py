"""Models of language from transformers."""

from tests.suite.architecture import (
    SPECIAL,
    VOCABULARY,
    from_transformers,
    hidden_language,
    labelled_language,
    language,
    translation,
)

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}
KEYS = TEXT | {"num_key_value_heads": 2, "pad_token_id": 0}
GEMMA = KEYS | {"head_dim": 16}
EXPERTS = KEYS | {"num_experts_per_tok": 2, "moe_intermediate_size": 64}
GPT = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 64}
PAIR = SPECIAL | {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}

CAUSAL = {
    "GPT2LMHeadModel": GPT,
    "GPTJForCausalLM": GPT | {"rotary_dim": 8},
    "GPTNeoForCausalLM": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 64,
    },
    "GPTNeoXForCausalLM": TEXT,
    "GPTBigCodeForCausalLM": GPT,
    "CodeGenForCausalLM": GPT | {"rotary_dim": 8, "n_ctx": 64},
    "OpenAIGPTLMHeadModel": GPT,
    "OPTForCausalLM": TEXT | {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "BloomForCausalLM": {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 3, "n_head": 4},
    "FalconForCausalLM": TEXT,
    "MptForCausalLM": {"vocab_size": VOCABULARY, "d_model": 64, "n_layers": 3, "n_heads": 4, "max_seq_len": 64},
    "LlamaForCausalLM": KEYS,
    "MistralForCausalLM": KEYS,
    "MixtralForCausalLM": KEYS | {"num_local_experts": 4},
    "Qwen2ForCausalLM": KEYS,
    "Qwen2MoeForCausalLM": EXPERTS | {"num_experts": 4, "shared_expert_intermediate_size": 64},
    "Qwen3ForCausalLM": GEMMA,
    "Qwen3MoeForCausalLM": EXPERTS | {"num_experts": 4, "head_dim": 16},
    "GemmaForCausalLM": GEMMA,
    "Gemma2ForCausalLM": GEMMA,
    "Gemma3ForCausalLM": GEMMA,
    "PhiForCausalLM": TEXT,
    "Phi3ForCausalLM": KEYS,
    "StableLmForCausalLM": KEYS,
    "Starcoder2ForCausalLM": KEYS,
    "OlmoForCausalLM": KEYS,
    "Olmo2ForCausalLM": KEYS,
    "OlmoeForCausalLM": KEYS | {"num_experts": 4, "num_experts_per_tok": 2},
    "CohereForCausalLM": KEYS,
    "Cohere2ForCausalLM": KEYS,
    "GraniteForCausalLM": KEYS,
    "GraniteMoeForCausalLM": KEYS | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "PersimmonForCausalLM": TEXT,
    "NemotronForCausalLM": KEYS,
    "GlmForCausalLM": GEMMA,
    "Glm4ForCausalLM": GEMMA,
    "SmolLM3ForCausalLM": KEYS,
    "ArceeForCausalLM": KEYS,
    "HeliumForCausalLM": GEMMA,
    "Exaone4ForCausalLM": KEYS,
    "Ernie4_5ForCausalLM": KEYS,
    "DiffLlamaForCausalLM": KEYS,
    "MambaForCausalLM": {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3, "state_size": 8},
    "FalconMambaForCausalLM": {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    "Mamba2ForCausalLM": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "state_size": 16,
        "head_dim": 16,
        "num_heads": 8,
        "n_groups": 2,
        "chunk_size": 16,
    },
    "RwkvForCausalLM": {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3, "context_length": 64},
    "JambaForCausalLM": KEYS
    | {"num_hidden_layers": 4, "attn_layer_period": 2, "expert_layer_period": 2, "num_experts": 4, "mamba_d_state": 8}
    | {"attn_layer_offset": 1, "use_mamba_kernels": False},
    "RecurrentGemmaForCausalLM": KEYS | {"lru_width": 64, "attention_window_size": 8, "head_dim": 16},
    "XGLMForCausalLM": {
        "vocab_size": VOCABULARY,
        "d_model": 64,
        "num_layers": 2,
        "attention_heads": 4,
        "ffn_dim": 128,
        "max_position_embeddings": 64,
    },
    "BioGptForCausalLM": TEXT,
    "CTRLLMHeadModel": GPT | {"dff": 128},
    "XLNetLMHeadModel": {"vocab_size": VOCABULARY, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128},
    "ModernBertDecoderForCausalLM": TEXT | SPECIAL | {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8},
    "DeepseekV3ForCausalLM": KEYS
    | {"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    | {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 16, "q_lora_rank": 16}
    | {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16},
    "GptOssForCausalLM": GEMMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Lfm2ForCausalLM": KEYS | {"full_attn_idxs": [1]},
}

MASKED = {
    "BertForMaskedLM": TEXT,
    "RobertaForMaskedLM": TEXT,
    "RobertaPreLayerNormForMaskedLM": TEXT,
    "DistilBertForMaskedLM": {"vocab_size": VOCABULARY, "dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 128},
    "AlbertForMaskedLM": TEXT | {"embedding_size": 32},
    "ElectraForMaskedLM": TEXT | {"embedding_size": 32},
    "DebertaForMaskedLM": TEXT,
    "DebertaV2ForMaskedLM": TEXT
    | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    "ConvBertForMaskedLM": TEXT | {"embedding_size": 64},
    "MPNetForMaskedLM": TEXT,
    "MobileBertForMaskedLM": TEXT
    | {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32, "num_feedforward_networks": 2},
    "SqueezeBertForMaskedLM": TEXT | {"embedding_size": 64},
    "FunnelForMaskedLM": {
        "vocab_size": VOCABULARY,
        "d_model": 64,
        "d_head": 16,
        "d_inner": 128,
        "n_head": 4,
        "block_sizes": [1, 1],
    },
    "FNetForMaskedLM": TEXT,
    "BigBirdForMaskedLM": TEXT | {"attention_type": "original_full"},
    "LongformerForMaskedLM": TEXT | {"attention_window": 8},
    "NystromformerForMaskedLM": TEXT | {"num_landmarks": 8, "segment_means_seq_len": 16},
    "RoFormerForMaskedLM": TEXT,
    "YosoForMaskedLM": TEXT | {"use_expectation": True},
    "MegatronBertForMaskedLM": TEXT,
    "IBertForMaskedLM": TEXT,
    "RemBertForMaskedLM": TEXT | {"input_embedding_size": 32, "output_embedding_size": 48},
    "EsmForMaskedLM": TEXT | {"mask_token_id": 3, "pad_token_id": 0, "position_embedding_type": "rotary"},
    "ModernBertForMaskedLM": TEXT | SPECIAL | {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8},
    "NomicBertForMaskedLM": TEXT,
    "EuroBertForMaskedLM": KEYS,
    "LayoutLMForMaskedLM": TEXT,
    "XmodForMaskedLM": TEXT | {"default_language": "en_XX"},
    "LukeForMaskedLM": TEXT | {"entity_vocab_size": 10},
}

LABELLED = {
    "BertForSequenceClassification": TEXT,
    "XLMRobertaForSequenceClassification": TEXT,
    "CanineForSequenceClassification": TEXT | {"num_hash_buckets": 64, "local_transformer_stride": 8},
    "GPT2ForSequenceClassification": GPT | {"pad_token_id": 0},
    "DebertaV2ForSequenceClassification": TEXT,
}

PAIRED = {
    "BartForConditionalGeneration": PAIR,
    "MBartForConditionalGeneration": PAIR,
    "PegasusForConditionalGeneration": PAIR,
    "MarianMTModel": PAIR,
    "BlenderbotForConditionalGeneration": PAIR,
    "BlenderbotSmallForConditionalGeneration": PAIR,
    "M2M100ForConditionalGeneration": PAIR,
    "LEDForConditionalGeneration": PAIR
    | {"attention_window": 8, "max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64},
    "ProphetNetForConditionalGeneration": SPECIAL
    | {"vocab_size": VOCABULARY, "hidden_size": 64, "num_encoder_layers": 2, "num_decoder_layers": 2}
    | {"num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4, "decoder_ffn_dim": 128}
    | {"encoder_ffn_dim": 128, "max_position_embeddings": 64, "decoder_start_token_id": 1},
    "T5ForConditionalGeneration": T5,
    "MT5ForConditionalGeneration": T5,
    "UMT5ForConditionalGeneration": T5,
    "LongT5ForConditionalGeneration": T5 | {"local_radius": 7},
    "SwitchTransformersForConditionalGeneration": T5 | {"num_experts": 4, "num_sparse_encoder_layers": 1},
}

for table, batch in ((CAUSAL, language), (MASKED, hidden_language), (LABELLED, labelled_language)):
    for model, settings in table.items():
        from_transformers(model, settings, batch, config="Gemma3TextConfig" if model == "Gemma3ForCausalLM" else "")
for model, settings in PAIRED.items():
    from_transformers(model, settings, translation, config="MarianConfig" if model == "MarianMTModel" else "")
