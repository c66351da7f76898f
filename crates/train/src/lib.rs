//! Models: compile, plan, verify, fit, evaluate, predict, save.
#![forbid(unsafe_code)]

mod checkpoint;
mod compile;
mod device;
mod engine;
mod environment;
mod error;
mod evaluate;
mod fit;
mod history;
mod memory;
mod model;
#[cfg(feature = "plot")]
mod plot;
mod predict;
mod progress;
mod sample;
mod scores;
mod spec;
mod verify;

pub use checkpoint::{CheckpointError, Digest};
pub use compile::{Compile, IntoModel};
pub use device::Device;
pub use error::Error;
pub use fit::Fit;
pub use history::{Epoch, History};
pub use model::{Model, Ticket};
pub use predict::Samples;
pub use scores::Scores;
pub use verify::{Check, Failure, Rules, Verification};
