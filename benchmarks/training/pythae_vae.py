"""pythae's own trainer, with its default settings, on the same networks; it runs in pythae's environment.

The data are the intensities as they are: pythae has no dynamic binarisation, so that it has less to do.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn

from benchmarks.training.turns import Turns

BATCH, PIXELS, HIDDEN, LATENT = 128, 784, 200, 50


class Encoder(BaseEncoder):
    """784 → 200 → 200 → mean and log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        hidden = self.hidden(x)
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_variance(hidden))


class Decoder(BaseDecoder):
    """50 → 200 → 200 → 784 probabilities."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(HIDDEN, PIXELS), nn.Sigmoid())

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


class Clock(TrainingCallback):
    """Ends a turn at every epoch's end."""

    def __init__(self, turns: Turns, examples: int, device: str) -> None:
        self._turns, self._examples, self._device = turns, examples, device

    def on_epoch_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self._turns.done(self._examples, device=self._device)


def main() -> None:
    """Trains on the images of the .npy file that the command line names, until it is stopped."""
    turns = Turns()
    images = torch.from_numpy(np.load(sys.argv[1]).reshape(-1, PIXELS).astype(np.float32) / 255)
    with tempfile.TemporaryDirectory() as output:
        config = BaseTrainerConfig(
            output_dir=str(Path(output)), per_device_train_batch_size=BATCH, num_epochs=sys.maxsize
        )
        model = VAE(VAEConfig(input_dim=(PIXELS,), latent_dim=LATENT, reconstruction_loss="bce"), Encoder(), Decoder())
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        data = BaseDataset(images, torch.zeros(len(images)))
        trainer = BaseTrainer(model, data, None, config, [Clock(turns, len(images), device)])
        trainer.train()


if __name__ == "__main__":
    main()
