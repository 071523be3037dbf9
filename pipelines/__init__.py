"""The graphs, the experiment, the targets and the command line: where the rooms become one house."""
