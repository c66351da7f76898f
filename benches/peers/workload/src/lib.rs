//! What is raced: workloads with their data and their right results, and the protocol between
//! the race and its contestants.
//!
//! A workload is a file here, a variant of [`Workload`], a row in [`all`], and an implementation
//! of [`Task`] in each contestant that can do it.
#![forbid(unsafe_code)]

mod cnn;
pub mod data;
mod gpt;
mod matmul;
mod mlp;
mod protocol;
mod training;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use cnn::{Cnn, Conv};
pub use gpt::{Block, Gpt};
pub use matmul::Matmul;
pub use mlp::Mlp;
pub use protocol::{Reply, Request, Turn, serve};
pub use training::{ADAM, ADAMW, Adam, Dense};

/// Something to do in steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    Matmul(Matmul),
    Mlp(Mlp),
    Cnn(Cnn),
    Gpt(Gpt),
}

/// A workload made ready by a contestant.
pub trait Task {
    /// Does one step and returns what is checked: see [`Workload::expected`].
    fn step(&mut self) -> Result<Vec<f32>>;

    /// Does many steps; returns when all are done.
    fn run(&mut self, steps: usize) -> Result<()>;
}

/// Every workload, in the order of the table.
pub fn all() -> Vec<Workload> {
    let matmuls = [128, 256, 512, 1024, 2048].map(|size| Workload::Matmul(Matmul { size }));
    let mlp = |widths: &[usize], batch| {
        let widths = widths.to_vec();
        Workload::Mlp(Mlp { widths, batch })
    };
    let mut all = matmuls.to_vec();
    all.push(mlp(&[784, 128, 64, 10], 64));
    all.push(mlp(&[784, 512, 512, 10], 512));
    all.push(mlp(&[784, 512, 512, 512, 512, 512, 512, 512, 10], 256));
    all.push(Workload::Cnn(Cnn {
        side: 28,
        channels: vec![1, 16, 32],
        classes: 10,
        batch: 32,
    }));
    all.push(Workload::Gpt(Gpt {
        tokens: 256,
        width: 128,
        heads: 4,
        layers: 4,
        batch: 4,
        length: 64,
    }));
    all
}

impl Workload {
    /// `matmul 512`.
    pub fn name(&self) -> String {
        match self {
            Self::Matmul(matmul) => format!("matmul {}", matmul.size),
            Self::Mlp(mlp) => mlp.name(),
            Self::Cnn(cnn) => cnn.name(),
            Self::Gpt(gpt) => gpt.name(),
        }
    }

    /// In what a rate is given.
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Matmul(_) => "GFLOP/s",
            Self::Mlp(_) | Self::Cnn(_) | Self::Gpt(_) => "steps/s",
        }
    }

    /// How many of these units one step is.
    pub fn amount(&self) -> f64 {
        match self {
            Self::Matmul(matmul) => 2e-9 * (matmul.size as f64).powi(3),
            Self::Mlp(_) | Self::Cnn(_) | Self::Gpt(_) => 1.0,
        }
    }

    /// How many steps are checked.
    pub const fn checked_steps(&self) -> usize {
        match self {
            Self::Matmul(_) => 1,
            Self::Mlp(_) | Self::Cnn(_) | Self::Gpt(_) => training::CHECKED_STEPS,
        }
    }

    /// What the checked steps give, in f64 and from the plainest of loops, and how far a result
    /// in f32 may be from it.
    pub fn expected(&self) -> Vec<Expected> {
        match self {
            Self::Matmul(matmul) => matmul.expected(),
            Self::Mlp(mlp) => mlp.expected(),
            Self::Cnn(cnn) => cnn.expected(),
            Self::Gpt(gpt) => gpt.expected(),
        }
    }
}

/// The version of a crate that this workspace is locked to.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    entry
        .and_then(|(_, entry)| entry.split('"').next())
        .unwrap_or("?")
}

/// A result, and how far from it another may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub value: f64,
    pub tolerance: f64,
}
