"""What all kinds of networks have in common: hidden layers with weights, and one output layer."""

import keras

LAYOUT = "channels_last"  # of images, `[batch, height, width, channels]`; Keras has a global default besides
OUTPUT = "output"  # the name of a network's last layer with weights, which makes its outputs


def output(network: keras.Sequential) -> keras.Layer:
    """Returns the layer that makes the outputs."""
    return network.get_layer(OUTPUT)


def hidden(network: keras.Sequential) -> list[keras.Layer]:
    """Returns the layers with weights before the output, dense or convolutional, from the input on."""
    return [layer for layer in network.layers if layer.weights and layer.name != OUTPUT]
