//! Layers: plain structs of settings.

mod activation;
mod attention;
mod checkpoint;
mod conv;
mod dense;
mod dropout;
mod embedding;
mod flatten;
mod layer_norm;
mod norm;
mod pool;
mod position;
mod recurrent;
mod resize;
mod sequential;
mod transformer;

pub use activation::{Activate, Activation};
pub use attention::{Attend, MultiHeadAttention};
pub use checkpoint::Checkpoint;
pub use conv::{Conv, Conv1d, Conv2d, ConvTranspose, ConvTranspose1d, ConvTranspose2d};
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingBag, Pooling, Unembedding};
pub use flatten::Flatten;
pub use layer_norm::{LayerNorm, RmsNorm};
pub use norm::{BatchNorm, GroupNorm, InstanceNorm};
pub use pool::{AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool};
pub use position::{LearnedPositions, Rotary, SinusoidalPositions};
pub use recurrent::{Cell, Recurrent, Unrolled};
pub use resize::{Pad, PixelShuffle, PixelUnshuffle, Upsample};
pub use sequential::Sequential;
pub use transformer::{TransformerDecoderLayer, TransformerEncoderLayer};
