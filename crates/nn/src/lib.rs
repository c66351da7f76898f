//! Layers, activations, losses, initializers and optimizers: pure graph code.
