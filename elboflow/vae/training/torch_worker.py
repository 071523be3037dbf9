"""A further process of a training with PyTorch, for one more device of the same machine.

`elboflow.vae.compute.torch.distributed` starts it. It reads from its standard input what it is to train, trains in
step with the others, and writes nothing.
"""

import pickle
import sys

from elboflow.settings import RequestError, WorkError
from elboflow.vae import compute


def main() -> None:
    """Trains as the process that started this one does."""
    training, machines, whole = pickle.load(sys.stdin.buffer)
    compute.use("torch", training, machines)
    # From here on Keras is imported, by the classes of the job as well.
    from elboflow.vae.compute.torch.distributed import joined
    from elboflow.vae.training.loop import run

    job = pickle.load(sys.stdin.buffer)
    with joined(whole):
        run(job, whole)


if __name__ == "__main__":
    try:
        main()
    except (WorkError, RequestError) as error:
        sys.exit(f"error: {error}")
