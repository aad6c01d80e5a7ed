"""What the tests of LightningWatch train; imported by their fixture, since Lightning takes seconds to import."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from isometry import EarlyStopping
from isometry.training import LightningWatch

__all__ = ["Alternating", "Classifier", "LightningWatch", "loader", "trainer"]


class Classifier(LightningModule):
    """A small network whose training step goes past its `forward`, as many do."""

    def __init__(self, *, rate: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rate = rate
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))

    def training_step(self, batch: tuple[Tensor, Tensor], *_: int) -> Tensor:
        inputs, targets = batch
        return functional.cross_entropy(self.net(inputs), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], *_: int) -> None:
        inputs, targets = batch
        self.log("val/loss", functional.cross_entropy(self.net(inputs), targets))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.rate, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Alternating(LightningModule):
    """Two optimisers that take turns, as in an adversarial training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.first, self.second = nn.Linear(6, 3), nn.Linear(6, 3)

    def training_step(self, batch: tuple[Tensor, Tensor], *_: int) -> None:
        inputs, targets = batch
        for name, optimizer in zip(("first", "second"), self.optimizers(), strict=True):
            loss = functional.cross_entropy(getattr(self, name)(inputs), targets)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log(f"{name}_loss", loss)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.first, self.second)]


def loader(*, num_rows: int = 48, broken: tuple[int, ...] = ()) -> DataLoader[Any]:
    """Batches of eight; each row named in `broken` holds a NaN."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_rows, 6, generator=generator)
    targets = (inputs[:, :3] + 0.1 * torch.randn(num_rows, 3, generator=generator)).argmax(1)
    inputs[list(broken), 0] = torch.nan
    return DataLoader(TensorDataset(inputs, targets), batch_size=8)


def trainer(folder: Path, **settings: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    plain = {"accelerator": "cpu", "devices": 1, "enable_checkpointing": False, "default_root_dir": folder}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on this machine
        return Trainer(**(quiet | plain | settings))


def fit_on_two_processes(folder: Path) -> None:
    """Validate on data that differ from process to process, under metrics that nobody synchronises."""
    watch = LightningWatch(every=2, to=[folder / "run"], stopping=EarlyStopping("val/loss", patience=1))
    two = trainer(folder, max_epochs=9, devices=2, strategy="ddp_spawn", callbacks=[watch])
    two.fit(Classifier(rate=5.0), loader(), loader(num_rows=16))


if __name__ == "__main__":
    fit_on_two_processes(Path(sys.argv[1]))
