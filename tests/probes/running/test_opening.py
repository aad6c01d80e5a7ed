import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from isometry.probes.running.meter import Meter
from isometry.probes.running.readings import Reading
from tests.probes.running.steps import measured, rms


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.0), nn.Linear(5, 2))


def test_only_the_first_pass_with_gradients_in_training_mode_counts() -> None:
    model, x = network(), torch.randn(8, 4)

    def loss() -> Tensor:
        with torch.no_grad():
            model(100 * x)
        model.eval()(50 * x)
        model.train()
        return model(x).mean() + model(200 * x).mean()

    expected = rms(model[0](x))
    reading = measured(model, loss)

    assert [each.name for each in reading.layers] == ["0", "3"]
    assert reading.layers[0].activation_rms == pytest.approx(expected, rel=1e-6)


def test_a_model_that_trains_in_evaluation_mode_is_seen() -> None:
    model = network().eval()

    assert len(measured(model, lambda: model(torch.randn(8, 4)).mean()).layers) == 2


def test_a_model_that_is_called_by_its_parts_is_seen_from_the_second_reading_on() -> None:
    model = network()

    reading = measured(model, lambda: model[3](model[1](model[0](torch.randn(8, 4)))).mean(), steps=2)

    assert [each.name for each in reading.layers] == ["0", "3"]


def test_other_models_are_not_seen() -> None:
    model, teacher = network(), network()

    reading = measured(model, lambda: (model(torch.ones(8, 4)) - teacher(torch.ones(8, 4))).square().mean())

    assert len(reading.layers) == 2


def test_an_error_in_the_forward_pass_leaves_nothing_behind() -> None:
    class Breaks(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(4, 4), Breaks())
    meter = Meter(model, torch.optim.SGD(model.parameters(), lr=0.1))
    meter.open()
    with pytest.raises(KeyboardInterrupt):
        model(torch.randn(8, 4))

    meter.abandon()

    assert torch.overrides._get_current_function_mode_stack() == []
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def test_after_an_error_that_the_loop_catches_the_next_pass_is_seen() -> None:
    model = network()

    def loss() -> Tensor:
        with pytest.raises(RuntimeError, match="mat1"):
            model(torch.ones(8, 3))
        return model(torch.ones(8, 4)).mean()

    reading = measured(model, loss)

    assert [each.name for each in reading.layers] == ["0", "3"]


def test_a_compiled_model_is_neither_broken_nor_compiled_again() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    model = network()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    meter = Meter(compiled, optimizer)
    x, names = torch.randn(8, 4), list[list[str]]()

    def step() -> None:
        optimizer.zero_grad()
        compiled(x).square().mean().backward()
        meter.before_update()
        optimizer.step()
        meter.after_update()

    with torch._dynamo.config.patch(error_on_recompile=True):
        for number in range(9):
            if number % 3 == 1:
                meter.open()
                step()
                reading = meter.close([], step=number, seconds=0.0, micro_batches=1, loss_scale=None)
                names.append([each.name for each in reading.layers])
            else:
                step()

    assert counter.frame_count == 1
    assert names == [["0", "3"]] * 3


def test_a_compiled_training_step_is_neither_broken_nor_compiled_again() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    meter = Meter(model, optimizer)

    @torch.compile(backend=counter, fullgraph=True)
    def loss_of(x: Tensor) -> Tensor:
        return model(x).square().mean()

    for number in range(6):
        if number % 2:
            meter.open()
        loss_of(torch.ones(8, 4)).backward()
        meter.before_update()
        optimizer.step()
        meter.after_update()
        if number % 2:
            reading = meter.close([], step=number, seconds=0.0, micro_batches=1, loss_scale=None)

            assert len(reading.layers) == 2

    assert counter.frame_count == 1


def in_parallel() -> Reading:
    model = nn.parallel.DistributedDataParallel(network())
    return measured(model, lambda: model(torch.randn(8, 4)).mean(), steps=2)


def test_inside_of_data_parallel_training_names_are_those_of_the_model(tmp_path: Path) -> None:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    try:
        reading = in_parallel()
        gc.collect()  # a reducer that outlives the group ends it under the interpreter lock, at times for ever
    finally:
        torch.distributed.destroy_process_group()

    assert [each.name for each in reading.layers] == ["0", "3"]
    assert [each.name for each in reading.parameters] == ["0.weight", "0.bias", "3.weight", "3.bias"]


@pytest.mark.slow
def test_a_language_model_of_hugging_face_has_the_numbers_of_its_hooks() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    model, tokens = transformers.GPT2LMHeadModel(config), torch.randint(50, (2, 6))
    model.config.resid_pdrop = 0.0
    outputs: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output, name=name: outputs.setdefault(name, output))

    reading = measured(model, lambda: model(input_ids=tokens, labels=tokens).loss)

    layers = {each.name: each for each in reading.layers if each.kind != "attention"}
    assert [each.name for each in reading.layers if each.kind == "attention"] == [
        "transformer.h.0.attn",
        "transformer.h.1.attn",
    ]
    assert len(layers) == 2 + 2 * 6 + 2
    for name, layer in layers.items():
        assert layer.activation_rms == pytest.approx(rms(outputs[name]), rel=1e-5)
