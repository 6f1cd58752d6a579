"""Parts of networks: dense blocks, activations, losses, optimizers, and what is made of trained networks."""
