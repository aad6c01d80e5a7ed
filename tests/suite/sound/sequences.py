"""Sound nets on sequences and texts: recurrent, attending, convolving."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, sgd, sound
from tests.suite.data import remembered, sums, text


def each_token(out: Tensor, goal: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), goal.flatten())


class Reader(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, core: nn.RNNBase, *, out: int, into: int) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(into, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.core(x)[0][:, -1])


@sound(steps=300)
def lstm_over_fifty_steps() -> Task:
    core = nn.LSTM(2, 48, batch_first=True)
    return make_task(Reader(core, out=1, into=48), *sums(256, 50), loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=300)
def gru_over_fifty_steps() -> Task:
    core = nn.GRU(2, 48, batch_first=True)
    return make_task(Reader(core, out=1, into=48), *sums(256, 50), loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=200)
def bidirectional_lstm_of_two_layers() -> Task:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(40, 24)
            self.core = nn.LSTM(24, 24, 2, batch_first=True, bidirectional=True, dropout=0.1)
            self.head = nn.Linear(48, 5)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.core(self.embed(tokens))[0])

    rows = text()
    return make_task(Tagger(), rows, rows % 5, loss=each_token, optimizer_factory=adam(5e-3))


@sound(steps=250)
def identity_rnn_over_forty_steps() -> Task:
    core = nn.RNN(6, 32, nonlinearity="relu", batch_first=True)
    nn.init.eye_(core.weight_hh_l0)
    nn.init.normal_(core.weight_ih_l0, std=0.05)
    nn.init.zeros_(core.bias_hh_l0)
    nn.init.zeros_(core.bias_ih_l0)
    return make_task(
        Reader(core, out=4, into=32), *remembered(256, 40), loss=F.cross_entropy, optimizer_factory=adam(1e-3)
    )


@sound(steps=200)
def elman_net_that_needs_only_its_last_steps() -> Task:
    x = torch.randn(256, 30, 3)
    goal = (x[:, -1, :1] + x[:, -2, 1:2]).tanh()
    core = nn.RNN(3, 32, batch_first=True)
    return make_task(Reader(core, out=1, into=32), x, goal, loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound(steps=200)
def lstm_cell_in_a_loop_over_packed_lengths() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = nn.LSTM(6, 32, batch_first=True), nn.Linear(32, 4)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.head(self.core(packed)[1][0][-1])

    x, labels = remembered(256, 12)
    lengths = torch.randint(4, 13, (256,))
    return make_task(Net(), (x, lengths), labels, loss=F.cross_entropy, optimizer_factory=adam(5e-3))


class Gpt(nn.Module):
    """A small causal transformer with tied embeddings."""

    def __init__(self, *, width: int = 48, depth: int = 3, checkpointed: bool = False) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(40, width), nn.Embedding(32, width)
        make = lambda: nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)  # noqa: E731
        self.blocks = nn.ModuleList([make() for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 40, bias=False)
        self.head.weight = self.tokens.weight
        self.checkpointed = checkpointed
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.tokens(tokens) + self.places.weight[:length]
        for block in self.blocks:
            x = checkpoint(block, x, mask, use_reentrant=False) if self.checkpointed else block(x, mask)
        return self.head(self.norm(x))


@sound(steps=200)
def causal_transformer_with_tied_embeddings() -> Task:
    rows = text()
    return make_task(Gpt(), rows[:, :-1], rows[:, 1:], loss=each_token, optimizer_factory=adam(3e-3))


@sound(steps=200)
def checkpointed_transformer() -> Task:
    rows = text()
    return make_task(Gpt(checkpointed=True), rows[:, :-1], rows[:, 1:], loss=each_token, optimizer_factory=adam(3e-3))


@sound(steps=200)
def masked_language_model_with_ignored_places() -> Task:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(41, 48)
            self.places = nn.Parameter(0.02 * torch.randn(1, 16, 48))
            layer = nn.TransformerEncoderLayer(48, 4, 96, 0.1, batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(48, 40)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.body(self.embed(tokens) + self.places))

    rows = text()
    hidden = torch.rand(rows.shape) < 0.15
    return make_task(
        Model(), rows.masked_fill(hidden, 40), rows.masked_fill(~hidden, -100), loss=each_token,
        optimizer_factory=adam(3e-3),
    )  # fmt: skip


@sound(steps=200)
def padded_texts_with_a_padding_mask() -> Task:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(41, 32, padding_idx=0)
            self.attention, self.norm = nn.MultiheadAttention(32, 4, batch_first=True), nn.LayerNorm(32)
            self.head = nn.Linear(32, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            x, padding = self.embed(tokens), tokens == 0
            x = self.norm(x + self.attention(x, x, x, key_padding_mask=padding)[0])
            return self.head(x.masked_fill(padding[..., None], 0).sum(1) / (~padding).sum(1, keepdim=True))

    tokens = text(256, 12) + 1
    labels = ((tokens < 15).float().mean(1) > 0.35).long()
    lengths = torch.randint(3, 13, (256, 1))
    return make_task(
        Classifier(), tokens.masked_fill(torch.arange(12) >= lengths, 0), labels, loss=F.cross_entropy,
        optimizer_factory=adam(3e-3),
    )  # fmt: skip


@sound(steps=200)
def translation_with_teacher_forcing() -> Task:
    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(40, 32), nn.Embedding(41, 32)
            self.core = nn.Transformer(32, 4, 2, 2, 64, 0.0, batch_first=True)
            self.places = nn.Parameter(0.1 * torch.randn(16, 32))
            self.head = nn.Linear(32, 40)

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            shifted = F.pad(target[:, :-1], (1, 0), value=40)
            source, target = (table(x) + self.places[: x.shape[1]]
                              for table, x in ((self.source, source), (self.target, shifted)))  # fmt: skip
            return self.head(self.core(source, target, tgt_mask=mask))

    rows = text(128, 10)
    goal = (rows + 5) % 40
    return make_task(Translator(), (rows, goal), goal, loss=each_token, optimizer_factory=adam(3e-3))


@sound(steps=200)
def convolutions_over_time_with_dilations() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv1d(2, 24, 1)
            self.filters = nn.ModuleList([nn.Conv1d(24, 48, 2, dilation=2**i) for i in range(5)])
            self.outs = nn.ModuleList([nn.Conv1d(24, 24, 1) for _ in range(5)])
            self.head = nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x.transpose(1, 2))
            for i, (convolution, out) in enumerate(zip(self.filters, self.outs, strict=True)):
                value, gate = convolution(F.pad(x, (2**i, 0))).chunk(2, 1)
                x = x + out(torch.tanh(value) * torch.sigmoid(gate))
            return self.head(x[..., -1])

    return make_task(Net(), *sums(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound(steps=200)
def speech_by_connectionist_temporal_classification() -> Task:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = nn.GRU(8, 48, batch_first=True, bidirectional=True), nn.Linear(96, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.core(x)[0]).log_softmax(-1)

    words = torch.randint(1, 6, (64, 5))
    frames = F.one_hot(words.repeat_interleave(4, 1), 8).float() + 0.3 * torch.randn(64, 20, 8)

    def step(model: nn.Module, batch: Batch) -> Tensor:
        out = model(batch.inputs).transpose(0, 1)
        full = torch.full((64,), 20), torch.full((64,), 5)
        return F.ctc_loss(out, batch.targets, *full)

    return Task(model=Model(), batch=Batch(frames, words), step=step, optimizer_factory=adam(3e-3))


@sound(steps=200)
def word_vectors_with_negative_samples() -> Task:
    class SkipGram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.contexts = nn.Embedding(60, 16), nn.Embedding(60, 16)
            nn.init.uniform_(self.words.weight, -0.5 / 16, 0.5 / 16)
            nn.init.zeros_(self.contexts.weight)

        def forward(self, word: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
            vectors = self.words(word)
            near = (vectors * self.contexts(context)).sum(-1)
            far = torch.einsum("bd,bkd->bk", vectors, self.contexts(negatives))
            return -(F.logsigmoid(near) + F.logsigmoid(-far).sum(1)).mean()

    words = torch.randint(60, (512,))
    contexts = (words // 6) * 6 + torch.randint(6, (512,))
    batch = (words, contexts, torch.randint(60, (512, 5)))
    return Task(model=SkipGram(), batch=batch, step=lambda model, batch: model(*batch), optimizer_factory=adam(1e-2))


@sound(steps=200)
def pointer_that_selects_by_attention() -> Task:
    class Pointer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.GRU(2, 32, batch_first=True, bidirectional=True)
            self.score = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 1, bias=False))

        def forward(self, x: Tensor) -> Tensor:
            return self.score(self.encode(x)[0])[..., 0]

    x = torch.rand(256, 10, 2)
    return make_task(Pointer(), x, x[..., 0].argmax(1), loss=F.cross_entropy, optimizer_factory=adam(5e-3))


@sound(steps=150)
def linear_state_space_layer() -> Task:
    class Layer(nn.Module):
        def __init__(self, width: int = 24, states: int = 8) -> None:
            super().__init__()
            self.into = nn.Linear(2, width)
            self.log_rates = nn.Parameter(torch.log(torch.arange(1, states + 1).float()).repeat(width, 1))
            self.read = nn.Parameter(torch.randn(width, states) / states**0.5)
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.into(x)
            decay = torch.exp(-0.02 * self.log_rates.exp())
            state = x.new_zeros(len(x), *decay.shape)
            for part in x.unbind(1):
                state = decay * state + part[..., None]
            return self.head(F.gelu(self.norm((state * self.read).sum(-1))))

    return make_task(Layer(), *sums(), loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=100)
def autocast_to_bfloat16() -> Task:
    rows = text()

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return each_token(model(batch.inputs).float(), batch.targets)

    return Task(
        model=Gpt(depth=2),
        batch=Batch(rows[:, :-1], rows[:, 1:]),
        step=step,
        context=lambda: torch.autocast("cpu", torch.bfloat16),
        optimizer_factory=adam(3e-3),
    )


@sound(steps=150)
def prefix_sums_with_a_relative_bias() -> Task:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.qkv, self.out = nn.Linear(1, 32), nn.Linear(32, 96), nn.Linear(32, 1)
            self.bias = nn.Parameter(torch.zeros(4, 16))
            self.norm = nn.LayerNorm(32)

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x)
            q, k, v = (part.unflatten(-1, (4, 8)).transpose(1, 2) for part in self.qkv(self.norm(h)).chunk(3, -1))
            gap = (torch.arange(16)[:, None] - torch.arange(16)[None]).clamp(min=0)
            scores = q @ k.transpose(-1, -2) / 8**0.5 + self.bias[:, gap]
            scores = scores.masked_fill(torch.ones(16, 16).triu(1).bool(), -torch.inf)
            return self.out(h + (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    x = torch.randn(256, 16, 1)
    return make_task(
        Block(), x, x.cumsum(1) / torch.arange(1, 17)[:, None], loss=F.mse_loss, optimizer_factory=sgd(0.05, 0.9)
    )
