"""Raw data → sharded TFRecords with a manifest, by Apache Beam; and back into arrays.

`preprocessing.config` says what can be asked for, `preprocessing.pipeline` makes a dataset folder and
`preprocessing.reader` reads one. Only the pipeline imports Beam; nothing imports TensorFlow.
"""
