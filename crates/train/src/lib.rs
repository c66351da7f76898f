//! Models: compile, plan, verify, fit, evaluate, predict, save.
#![forbid(unsafe_code)]

mod average;
mod checkpoint;
mod compile;
mod define;
mod device;
mod digest;
mod engine;
mod environment;
mod error;
mod evaluate;
mod fit;
mod generate;
mod history;
mod memory;
mod model;
mod parameters;
#[cfg(feature = "plot")]
mod plot;
mod predict;
mod profile;
mod program;
mod progress;
mod replace;
mod sample;
mod scores;
mod spec;
mod step;
mod supervised;
mod trace;
#[cfg(feature = "gpu")]
mod tuning;
mod verify;

pub use checkpoint::{CheckpointError, Matching};
pub use compile::{Compile, IntoModel};
pub use device::Device;
pub use digest::Digest;
pub use error::Error;
pub use fit::Fit;
pub use generate::{Generate, Generation};
pub use gradus_nn::{Params, params};
pub use history::{Epoch, History};
pub use model::{Model, Ticket};
pub use predict::Samples;
pub use profile::{KernelProfile, Peak, Profile, Roof};
pub use scores::Scores;
pub use step::Step;
pub use verify::{Check, Failure, Rules, Verification};
