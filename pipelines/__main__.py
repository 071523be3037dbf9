"""`python -m pipelines` is `elboflow`."""

from pipelines.cli import main

if __name__ == "__main__":
    main()
