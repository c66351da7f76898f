//! Gradus trains neural networks.
