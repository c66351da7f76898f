//! What the oracle refuses.

use gradus_graph::ops::Meta;
use gradus_graph::{BuildError, Node, NodeId};
use thiserror::Error;

/// Why nodes could not be evaluated.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OracleError {
    /// A node that is not in the list.
    #[error("there is no node {}", .0.0)]
    NoSuchNode(NodeId),
    /// A leaf without a value, or an index that was never checked.
    #[error("node {} ({op}) has no value: {message}", .node.0)]
    NoValue {
        /// The node.
        node: NodeId,
        /// Its op.
        op: &'static str,
        /// What is missing.
        message: &'static str,
    },
    /// A value of another shape or dtype than its node.
    #[error("node {} ({op}) is {} {}, but its value is {} {}",
        .node.0, .metas.0.dtype, .metas.0.shape, .metas.1.dtype, .metas.1.shape)]
    Feed {
        /// The node.
        node: NodeId,
        /// Its op.
        op: &'static str,
        /// What the node says, and what was given.
        metas: Box<(Meta, Meta)>,
    },
    /// A node that breaks the shape rule of its op.
    #[error("node {} ({op}): {message}", .node.0)]
    Invalid {
        /// The node.
        node: NodeId,
        /// Its op.
        op: &'static str,
        /// What clashes.
        message: String,
    },
    /// A function of the user, or an expansion, that builds no valid graph.
    #[error(transparent)]
    Build(#[from] Box<BuildError>),
    /// A number of values that does not fit.
    #[error("expected {expected} {what}, found {found}")]
    Count {
        /// Values of what.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

pub(super) fn invalid(id: NodeId, node: &Node, message: impl Into<String>) -> OracleError {
    OracleError::Invalid {
        node: id,
        op: node.op.name(),
        message: message.into(),
    }
}

pub(super) fn feed(id: NodeId, op: &'static str, expected: Meta, found: Meta) -> OracleError {
    OracleError::Feed {
        node: id,
        op,
        metas: Box::new((expected, found)),
    }
}

pub(super) fn no_value(id: NodeId, node: &Node) -> OracleError {
    let message = if node.op.is_source() {
        "nothing was fed for it"
    } else {
        "an index lies outside the table and was not checked"
    };
    OracleError::NoValue {
        node: id,
        op: node.op.name(),
        message,
    }
}
