//! What a graph consists of: nodes, and what is known of its leaves.

use std::panic::Location;
use std::sync::Arc;

use thiserror::Error;

use crate::ops::{Meta, Op};
use crate::{Init, Scalar, Shape};

/// The index of a node; nodes only read nodes with smaller indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The id of a poisoned [`Var`].
    pub(crate) const POISON: Self = Self(u32::MAX);

    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One operation on the results of others.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<NodeId>,
    /// Shape and dtype of the result.
    pub meta: Meta,
    /// The layer that made it: an index into the graph's paths.
    pub path: u32,
    /// The part of a step that it belongs to.
    pub part: Part,
}

/// The part of a step that a node belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What is not one of the others: most often a forward pass.
    #[default]
    Forward,
    /// The segment of this number of a forward pass, which a backward pass computes again instead
    /// of reading what lies within.
    Checkpoint(u32),
    /// What a gradient is made of ([`crate::grad`], [`crate::vjp`]).
    Backward,
    /// What is computed again: the copy of a node of the forward pass.
    Again,
}

/// A value fed at every step.
#[derive(Clone, Debug, PartialEq)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// Its shape, the batch included, and dtype.
    pub meta: Meta,
}

/// A trained parameter.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// Its path: the name in checkpoints.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its initial values.
    pub init: Arc<dyn Init>,
}

/// A value kept between steps and not trained.
#[derive(Clone, Debug)]
pub struct StateInfo {
    /// Its path: the name in checkpoints.
    pub name: String,
    /// Its shape and dtype.
    pub meta: Meta,
    /// Its value before the first step.
    pub init: Scalar,
    /// Does it last only while sequences are decoded? It is then no part of the model.
    pub cache: bool,
}

/// A node that cannot be built: the first mistake in a graph.
#[derive(Clone, Debug, Error)]
#[error("cannot build {op} in `{layer}`, declared at {location}: {message}")]
pub struct BuildError {
    /// The op.
    pub op: &'static str,
    /// The path of the layer, `model` at the top.
    pub layer: String,
    /// The user's line.
    pub location: &'static Location<'static>,
    /// Which values clash and what was expected.
    pub message: String,
}
