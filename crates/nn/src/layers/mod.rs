//! Layers: plain structs of settings.

mod activation;
mod conv;
mod dense;
mod dropout;
mod embedding;
mod flatten;
mod norm;
mod pool;
mod resize;
mod sequential;

pub use activation::{Activate, Activation};
pub use conv::{Conv, Conv1d, Conv2d, ConvTranspose, ConvTranspose1d, ConvTranspose2d};
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingBag, Pooling, Unembedding};
pub use flatten::Flatten;
pub use norm::{BatchNorm, GroupNorm, InstanceNorm};
pub use pool::{AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool};
pub use resize::{Pad, PixelShuffle, PixelUnshuffle, Upsample};
pub use sequential::Sequential;
