//! Layers, activations, losses, metrics, initializers and optimizers: pure graph code.
//!
//! ```
//! use gradus_graph::{DType, Graph, Layer, Scope};
//! use gradus_nn::Sequential;
//!
//! let net = Sequential::new().dense(64).relu().dropout(0.2).dense(10);
//! let graph = Graph::new();
//! let x = graph.input("x", [32, 784], DType::F32);
//! let logits = net.forward(&Scope::root(&graph, true), x);
//! assert_eq!(&logits.shape()[..], [32, 10]);
//! assert_eq!(graph.params()[0].name, "0.weight");
//! graph.check()?;
//! # Ok::<(), gradus_graph::BuildError>(())
//! ```
#![forbid(unsafe_code)]

mod augment;
pub mod init;
mod layers;
mod loss;
mod metric;
mod network;
mod optim;
mod params;
pub mod schedule;

pub use augment::{Cutout, Normalize, RandomCrop, RandomFlip};
pub use layers::{
    Activate, Activation, AdaptiveAvgPool, Attend, AvgPool, BatchNorm, Cell, Checkpoint, Conv,
    Conv1d, Conv2d, ConvTranspose, ConvTranspose1d, ConvTranspose2d, Dense, Dropout, Embedding,
    EmbeddingBag, Flatten, GlobalAvgPool, GroupNorm, InstanceNorm, LayerNorm, LearnedPositions,
    MaxPool, MultiHeadAttention, Pad, PixelShuffle, PixelUnshuffle, Pooling, Recurrent, RmsNorm,
    Rotary, Sequential, SinusoidalPositions, TransformerDecoderLayer, TransformerEncoderLayer,
    Unembedding, Unrolled, Upsample,
};
pub use loss::{
    BceWithLogits, BinaryFocal, CosineEmbedding, CrossEntropy, Ctc, Focal, GaussianNll, Hinge,
    HingeEmbedding, Huber, KlDivergence, L1, Loss, MarginRanking, Mse, MultiMargin, Nll,
    PoissonNll, Reduction, SmoothL1, TripletMargin,
};
pub use metric::{Accuracy, Metric, Perplexity};
pub use network::{Functional, Network, OUTPUT, Vars};
pub use optim::{
    Accumulate, Adadelta, Adagrad, Adam, AdamW, Adamax, Ema, Groups, Lamb, Lion, Muon, NAdam,
    RAdam, RmsProp, Sgd, Undecayed,
};
pub use params::{Params, params};
pub use schedule::{
    Cosine, CosineRestarts, MultiStep, Noam, OneCycle, OptimizerExt, Plateau, Schedule, Scheduled,
    StepDecay, Warmup,
};
