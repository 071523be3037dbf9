"""Where a pipeline runs. `local` runs it; `kubeflow` and `vertex` compile it for their platforms."""
