"""The second engine: validators of several organisations agree on each block, by CometBFT over ABCI 2.0."""
