"""Parts of networks: dense blocks, activations, losses, optimizers, and models made from trained networks."""
