"""The same training in nothing but eager PyTorch, written as one would for speed, and with PyTorch's own Adam."""

import sys

import numpy as np
import torch
from torch.nn.functional import linear, softplus

from benchmarks.training.setting import BATCH, CLIP, LATENT, LEARNING_RATE, initial_weights
from benchmarks.training.turns import Turns


class Training:
    """A training whose epochs are loops of eager steps."""

    def __init__(self, images: np.ndarray) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._images = torch.from_numpy(images.reshape(len(images), -1)).to(self._device)
        self._weights = [
            torch.from_numpy(array).to(self._device).requires_grad_()
            for kernel, bias in initial_weights()
            for array in (np.ascontiguousarray(kernel.T), bias)
        ]
        self._adam = torch.optim.Adam(self._weights, LEARNING_RATE, eps=1e-7, fused=True)
        self._generator = torch.Generator(self._device).manual_seed(0)

    def epoch(self, rows: np.ndarray) -> np.ndarray:
        """Trains on the batches of `rows` `[steps, batch]`; returns the steps' measures."""
        batches = torch.from_numpy(rows).to(self._device)
        return torch.stack([self._step(self._images[batch]) for batch in batches]).cpu().numpy()

    def _step(self, codes: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(codes.shape, generator=self._generator, device=self._device)
        x = (codes.float() / 255 > uniform).float()
        mean, log_variance = self._network(x, 0).chunk(2, dim=-1)
        noise = torch.randn(BATCH, LATENT, generator=self._generator, device=self._device)
        logits = self._network(mean + (0.5 * log_variance).exp() * noise, 6)
        reconstruction = (x * logits - softplus(logits)).sum(-1).mean()
        kl = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1).mean()
        loss = kl - reconstruction
        self._adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, CLIP)
        self._adam.step()
        return torch.stack([loss.detach(), reconstruction.detach(), kl.detach(), norm])

    def _network(self, x: torch.Tensor, first: int) -> torch.Tensor:
        kernels = self._weights[first : first + 6]
        x = linear(x, kernels[0], kernels[1]).relu()
        x = linear(x, kernels[2], kernels[3]).relu()
        return linear(x, kernels[4], kernels[5])


def main() -> None:
    """Trains on the images of the .npy file that the command line names, until it is stopped."""
    turns, images, order = Turns(), np.load(sys.argv[1]), np.random.default_rng(0)
    training = Training(images)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    while True:
        rows = order.permutation(len(images))[: len(images) // BATCH * BATCH].reshape(-1, BATCH)
        training.epoch(rows)
        turns.done(rows.size, device=device)


if __name__ == "__main__":
    main()
