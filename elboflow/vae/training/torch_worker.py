"""A worker process of a PyTorch training, for one further device of a machine.

`elboflow.vae.compute.torch.distributed` starts it. The worker reads its job from standard input, trains in lockstep
with the other processes, and writes no files.
"""

import pickle
import sys

from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from elboflow.vae import compute


def main() -> None:
    """Runs the training of the parent process as a worker."""
    training, machines, whole = pickle.load(sys.stdin.buffer)
    compute.use("torch", training, machines)
    # Only now may Keras be imported, also by unpickling the job.
    from elboflow.vae.training.loop import train

    train(pickle.load(sys.stdin.buffer), cluster=whole)


if __name__ == "__main__":
    child.end_with_parent()
    try:
        main()
    except (WorkError, RequestError) as error:
        sys.exit(f"error: {error}")
