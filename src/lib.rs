//! Gradus trains neural networks.
#![forbid(unsafe_code)]
