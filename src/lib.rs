//! Gradus trains neural networks on any GPU that Vulkan, Metal or DX12 reaches; where there is no
//! GPU the same program trains on the CPU.
//!
//! *Gradus* is Latin for a step: one training step is one plan, run as one compute pass.
//!
//! ```no_run
//! use gradus::prelude::*;
//!
//! # fn main() -> Result<(), gradus::Error> {
//! let data = datasets::digits().split(0.2, 7)?;
//! let net = Sequential::new().dense(64).relu().dense(10);
//! let mut model = net.compile(
//!     Compile::for_data(&data.train)
//!         .device(Device::best()?)
//!         .loss(CrossEntropy::new()).optimizer(Adam::new(3e-3)).metric(Accuracy::new())
//!         .batch(32).seed(7),
//! )?;
//! model.fit(&data.train, Fit::epochs(20))?;
//! println!("{}", model.evaluate(&data.test)?);
//! # Ok(())
//! # }
//! ```
//!
//! This crate re-exports the parts: [`graph`] says what to compute, [`nn`] has layers, losses and
//! optimizers, [`data`] has data sets, [`train`] has models, [`cpu`] has the reference that
//! everything is checked against.
#![forbid(unsafe_code)]

pub use gradus_cpu as cpu;
pub use gradus_data as data;
pub use gradus_graph as graph;
pub use gradus_nn as nn;
#[cfg(feature = "gpu")]
pub use gradus_tensor as tensor;
pub use gradus_train as train;

/// wgpu, of the version that [`Device::from_wgpu`](train::Device::from_wgpu) takes.
#[cfg(feature = "gpu")]
pub use gradus_tensor::wgpu;

pub use gradus_train::Error;

/// What most programs need.
pub mod prelude {
    pub use gradus_data::{Batch, Dataset, IGNORED, TOKEN_MASK, TOKENS, datasets, text};
    #[cfg(feature = "tokenizers")]
    pub use gradus_data::{TOKEN_TYPES, Tokenizer, TokenizerTraining};
    pub use gradus_graph::{
        Array, Border, DType, Graph, Init, Layer, Optimizer, Padding, Scope, Storage, Var,
    };
    pub use gradus_nn::{
        Accuracy, Activate, Activation, Adadelta, Adagrad, Adam, AdamW, Adamax, AdaptiveAvgPool,
        Attend, AvgPool, BatchNorm, BceWithLogits, BinaryFocal, Cell, Checkpoint, Conv1d, Conv2d,
        ConvTranspose1d, ConvTranspose2d, Cosine, CosineEmbedding, CrossEntropy, Ctc, Cutout,
        Dense, Dropout, Ema, Embedding, EmbeddingBag, Flatten, Focal, Functional, GaussianNll,
        GlobalAvgPool, GroupNorm, Groups, Hinge, HingeEmbedding, Huber, InstanceNorm, KlDivergence,
        L1, Lamb, LayerNorm, LearnedPositions, Lion, Loss, MarginRanking, MaxPool, Metric, Mse,
        MultiHeadAttention, MultiMargin, MultiStep, Muon, NAdam, Network, Nll, Normalize, OneCycle,
        OptimizerExt, Pad, Perplexity, PixelShuffle, PixelUnshuffle, Plateau, PoissonNll, Pooling,
        RAdam, RandomCrop, RandomFlip, Recurrent, Reduction, RmsNorm, RmsProp, Rotary, Schedule,
        Sequential, Sgd, SinusoidalPositions, SmoothL1, StepDecay, TransformerDecoderLayer,
        TransformerEncoderLayer, TripletMargin, Upsample, Vars, Warmup, init, schedule,
    };
    pub use gradus_train::{
        Compile, Device, Fit, Generate, History, IntoModel, Model, Params, Samples, Scores, params,
    };
}
