import pytest
import torch

from isometry.anatomy.task import make_task
from isometry.repair import fix

transformers = pytest.importorskip("transformers", reason="the models come from transformers")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of transformers' own
TEXT = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
SHARED_KEYS = TEXT | {"num_key_value_heads": 2}
T5 = {"vocab_size": 96, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 3, "num_heads": 4}
STAGES = {"num_labels": 10, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
PATCHES = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
WINDOWS = {"patch_size": 2, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}


@pytest.mark.parametrize(
    ("model", "config", "settings"),
    [
        pytest.param("BertForMaskedLM", "BertConfig", TEXT, id="BERT"),
        pytest.param("GPTNeoXForCausalLM", "GPTNeoXConfig", TEXT, id="GPT-NeoX"),
        pytest.param("MistralForCausalLM", "MistralConfig", SHARED_KEYS, id="Mistral"),
        pytest.param("Qwen2ForCausalLM", "Qwen2Config", SHARED_KEYS, id="Qwen 2"),
        pytest.param("GemmaForCausalLM", "GemmaConfig", SHARED_KEYS | {"head_dim": 16}, id="Gemma"),
        pytest.param("MambaForCausalLM", "MambaConfig", TEXT | {"state_size": 8}, id="Mamba"),
        pytest.param("T5ForConditionalGeneration", "T5Config", T5 | {"decoder_start_token_id": 0}, id="T5"),
    ],
)
def test_language_models_as_transformers_builds_them_are_healthy(
    model: str, config: str, settings: dict[str, object]
) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(96, (4, 24))
    built = getattr(transformers, model)(getattr(transformers, config)(**settings))
    repair = fix(make_task(built, {"input_ids": tokens, "labels": tokens}))

    assert repair.before.verdict == "healthy"
    assert not repair.plan.changes


@pytest.mark.parametrize(
    ("model", "config", "settings"),
    [
        pytest.param("ViTForImageClassification", "ViTConfig", PATCHES | {"patch_size": 8}, id="ViT"),
        pytest.param("ConvNextForImageClassification", "ConvNextConfig", STAGES, id="ConvNeXt"),
        pytest.param("ResNetForImageClassification", "ResNetConfig", STAGES | {"embedding_size": 16}, id="ResNet"),
        pytest.param("SwinForImageClassification", "SwinConfig", WINDOWS, id="Swin"),
        pytest.param("MobileNetV2ForImageClassification", "MobileNetV2Config", {}, id="MobileNet 2"),
    ],
)
def test_image_classifiers_as_transformers_builds_them_are_healthy(
    model: str, config: str, settings: dict[str, object]
) -> None:
    torch.manual_seed(0)
    made = getattr(transformers, config)(**settings | {"image_size": 32, "num_labels": 10})
    batch = {"pixel_values": torch.randn(16, 3, 32, 32), "labels": torch.randint(10, (16,))}
    repair = fix(make_task(getattr(transformers, model)(made), batch))

    assert repair.before.verdict == "healthy"
    assert not repair.plan.changes
