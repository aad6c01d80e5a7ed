"""Models of pictures, sound, both, and time series from transformers."""

import torch

from tests.suite.architecture import (
    CLASSES,
    SIDE,
    SPECIAL,
    VOCABULARY,
    Batch,
    from_transformers,
    labelled_images,
    pictures_with_words,
    plain_images,
    segmented_images,
    spectra,
    speech,
)

WIDTHS = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
PATCHES = WIDTHS | {"image_size": SIDE, "patch_size": 8}
STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
WINDOWS = {"image_size": SIDE, "patch_size": 2, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4]}
SPEECH = WIDTHS | {
    "vocab_size": VOCABULARY,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 3),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
    "apply_spec_augment": False,
    "layerdrop": 0.0,
    "pad_token_id": 0,
}
WORDS = {**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 32, **SPECIAL}

CLASSIFIERS = {
    "ViTForImageClassification": PATCHES,
    "DeiTForImageClassification": PATCHES,
    "BeitForImageClassification": PATCHES,
    "Data2VecVisionForImageClassification": PATCHES,
    "Dinov2ForImageClassification": PATCHES,
    "Dinov2WithRegistersForImageClassification": PATCHES,
    "ViTMSNForImageClassification": PATCHES,
    "IJepaForImageClassification": PATCHES,
    "SwinForImageClassification": WINDOWS | {"window_size": 4},
    "Swinv2ForImageClassification": WINDOWS | {"window_size": 4},
    "ConvNextForImageClassification": STAGES,
    "ConvNextV2ForImageClassification": STAGES,
    "ResNetForImageClassification": STAGES | {"embedding_size": 16},
    "RegNetForImageClassification": STAGES | {"embedding_size": 16, "groups_width": 16},
    "BitForImageClassification": STAGES | {"embedding_size": 16, "num_groups": 8},
    "MobileNetV1ForImageClassification": {"image_size": SIDE, "depth_multiplier": 0.25, "min_depth": 8},
    "MobileNetV2ForImageClassification": {"image_size": SIDE},
    "EfficientNetForImageClassification": {
        "image_size": SIDE,
        "width_coefficient": 0.5,
        "depth_coefficient": 0.3,
        "hidden_dim": 640,
    },
    "MobileViTForImageClassification": {
        "image_size": SIDE,
        "hidden_sizes": [32, 48, 64],
        "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 128],
        "num_attention_heads": 4,
    },
    "PoolFormerForImageClassification": STAGES,
    "SegformerForImageClassification": {
        "hidden_sizes": [16, 32, 48, 64],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 4, 4],
        "decoder_hidden_size": 32,
    },
    "LevitForImageClassification": {
        "image_size": SIDE,
        "hidden_sizes": [32, 48, 64],
        "num_attention_heads": [2, 3, 4],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "FocalNetForImageClassification": {"image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 1, 2, 1]},
    "PvtForImageClassification": {"image_size": SIDE, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
    | {"num_attention_heads": [1, 2, 4, 4]},
    "PvtV2ForImageClassification": {"image_size": SIDE, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
    | {"num_attention_heads": [1, 2, 4, 4]},
    "SwiftFormerForImageClassification": {"image_size": SIDE, "embed_dims": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
    "HieraForImageClassification": {
        "image_size": [SIDE, SIDE],
        "embed_dim": 32,
        "depths": [1, 1, 2],
        "num_heads": [1, 2, 4],
        "num_query_pool": 2,
        "query_stride": [2, 2],
        "patch_stride": [2, 2],
        "patch_size": [3, 3],
        "patch_padding": [1, 1],
        "masked_unit_size": [4, 4],
    },
}


def labelled_spectra() -> Batch:
    return {"input_values": torch.randn(6, 32, 16), "labels": torch.randint(CLASSES, (6,))}


def series() -> Batch:
    rows = torch.randn(6, 24).cumsum(1)
    rows = (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True)
    return {
        "past_values": rows[:, :15],
        "past_time_features": torch.linspace(-0.5, 0.5, 15).expand(6, 15)[..., None],
        "past_observed_mask": torch.ones(6, 15),
        "future_values": rows[:, 15:21],
        "future_time_features": torch.linspace(0.5, 0.8, 6).expand(6, 6)[..., None],
        "future_observed_mask": torch.ones(6, 6),
    }


def many_series() -> Batch:
    return {"past_values": torch.randn(6, 32, 3).cumsum(1), "future_values": torch.randn(6, 8, 3)}


SERIES = {
    "prediction_length": 6,
    "context_length": 12,
    "lags_sequence": [1, 2, 3],
    "num_time_features": 1,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}

for model, settings in CLASSIFIERS.items():
    from_transformers(model, settings | {"num_labels": CLASSES}, labelled_images)
from_transformers("ViTMAEForPreTraining", PATCHES | {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 4, "decoder_intermediate_size": 64}, plain_images)  # fmt: skip
from_transformers(
    "SegformerForSemanticSegmentation",
    CLASSIFIERS["SegformerForImageClassification"] | {"num_labels": CLASSES},
    segmented_images,
)
from_transformers("MobileNetV2ForSemanticSegmentation", {"image_size": SIDE, "num_labels": CLASSES}, segmented_images)
from_transformers("DPTForSemanticSegmentation", PATCHES | {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3],
    "neck_hidden_sizes": [16, 24, 32, 48], "fusion_hidden_size": 32, "num_labels": CLASSES,
    "use_batch_norm_in_fusion_residual": True}, segmented_images)  # fmt: skip
for model in (
    "Wav2Vec2ForCTC",
    "HubertForCTC",
    "WavLMForCTC",
    "UniSpeechForCTC",
    "UniSpeechSatForCTC",
    "Data2VecAudioForCTC",
    "Wav2Vec2ConformerForCTC",
):
    from_transformers(model, SPEECH, speech)
from_transformers("SEWForCTC", SPEECH | {"squeeze_factor": 2}, speech)
from_transformers(
    "ASTForAudioClassification",
    WIDTHS
    | {"num_labels": CLASSES, "max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8}
    | {"time_stride": 8},
    labelled_spectra,
)
WHISPER = SPECIAL | {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "num_mel_bins": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_source_positions": 16,
    "max_target_positions": 16,
    "decoder_start_token_id": 1,
}
from_transformers("WhisperForConditionalGeneration", WHISPER, spectra)
from_transformers(
    "CLIPModel", {"text_config": WORDS, "vision_config": PATCHES, "projection_dim": 32}, pictures_with_words
)
from_transformers("ChineseCLIPModel", {"text_config": WORDS, "vision_config": PATCHES, "projection_dim": 32},
    pictures_with_words)  # fmt: skip
from_transformers("SiglipModel", {"text_config": WORDS, "vision_config": PATCHES}, pictures_with_words)
from_transformers("TimeSeriesTransformerForPrediction", SERIES, series)
from_transformers("InformerForPrediction", SERIES, series)
from_transformers("AutoformerForPrediction", SERIES, series)
from_transformers("PatchTSTForPrediction", {"num_input_channels": 3, "context_length": 32, "prediction_length": 8,
    "patch_length": 8, "patch_stride": 8, "d_model": 32, "num_hidden_layers": 2, "ffn_dim": 64,
    "num_attention_heads": 4}, many_series)  # fmt: skip
from_transformers("PatchTSMixerForPrediction", {"num_input_channels": 3, "context_length": 32, "prediction_length": 8,
    "patch_length": 8, "patch_stride": 8, "d_model": 32, "num_layers": 2}, many_series)  # fmt: skip
