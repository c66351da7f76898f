//! Plans of steps that decode.

use std::sync::Arc;

use gradus_graph::plan::{self, Plan, Request};
use gradus_graph::{DType, Decoding, Graph, Scope};
use gradus_nn::Vars;

use super::sampling::Choice;
use crate::engine::Handle;
use crate::spec::{Field, Spec};
use crate::trace::Layout;
use crate::{Device, Error};

/// Tokens of each sequence so far, `i32` `[B]`.
pub(super) const START: &str = "generate/start";
/// New tokens of each sequence, `i32` `[B]`.
pub(super) const COUNT: &str = "generate/count";
/// The token that follows, `i32` `[B]`.
pub(super) const TOKEN: &str = "token";
/// The scores that it was chosen from, `f32` `[B, V]`.
pub(super) const LOGITS: &str = "logits";

/// A plan that adds tokens to sequences. All sizes but that of the caches of long sequences come from
/// a few powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Sequences.
    pub(super) batch: usize,
    /// Tokens added to each.
    pub(super) length: usize,
    /// Positions there is room for.
    pub(super) capacity: usize,
    /// Do the sequences begin with these tokens?
    pub(super) begins: bool,
    /// How the next token is chosen.
    pub(super) choice: Choice,
}

/// A plan that is ready to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    pub(super) handle: Handle,
    pub(super) facts: Facts,
}

/// What is known of a network once it is traced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// How many tokens there are.
    pub(super) vocabulary: usize,
    /// The longest sequence that its layers can take.
    pub(super) longest: usize,
}

impl Key {
    /// Are there sequences with fewer new tokens than others?
    const fn is_padded(&self) -> bool {
        self.begins || self.length > 1
    }
}

/// Traces the network with the `token` field as what is decoded.
pub(super) fn plan(
    spec: &Spec,
    device: &Device,
    layout: &Layout,
    token: &Field,
    key: Key,
) -> Result<(Arc<Plan>, Facts), Error> {
    let refuse = |message: String| Err(Error::Generate { message });
    let graph = Graph::new();
    layout.leaves.declare(&graph);
    let mut inputs = Vars::new();
    for field in &spec.inputs {
        let var = match field.name == token.name {
            true => graph.input(&field.name, [key.batch, key.length], field.dtype),
            false => field.declare(&graph, key.batch),
        };
        inputs = inputs.with(&field.name, var);
    }
    let tokens = inputs.get(&graph, &token.name);
    let mut decoding = Decoding::new(tokens, key.capacity);
    if !key.begins {
        decoding = decoding.after(graph.input(START, [key.batch], DType::I32));
    }
    if key.is_padded() {
        decoding = decoding.count(graph.input(COUNT, [key.batch], DType::I32));
    }
    let scope = Scope::decode(&graph, decoding);
    let outputs = spec.network.outputs(&scope, &inputs);
    graph.check()?;
    let (Some(logits), Some(decoding)) = (outputs.first(), scope.decoding(tokens)) else {
        return refuse("the network has no outputs".into());
    };
    let shape = logits.shape();
    let is_scores = matches!(shape[..], [b, t, v] if (b, t) == (key.batch, key.length) && v > 0);
    if !is_scores || logits.dtype() != DType::F32 {
        return refuse(format!(
            "for tokens [B, T] = [{}, {}] the network must give f32 scores [B, T, V], found {} \
             {shape}",
            key.batch,
            key.length,
            logits.dtype()
        ));
    }
    let last = decoding.last(logits);
    let chosen = key.choice.of(&scope, last);
    graph.check()?;
    let kept = graph.states().into_iter().filter(|s| !s.cache).count();
    let leaves = &layout.leaves;
    if graph.params().len() > leaves.params.len() || kept > leaves.states.len() {
        return refuse("the network has other parameters while it decodes".into());
    }
    let facts = Facts {
        vocabulary: shape[2],
        longest: decoding.longest(),
    };
    let plan = plan::lower(&Request {
        outputs: vec![(TOKEN.to_owned(), chosen), (LOGITS.to_owned(), last)],
        ..Request::new("generate", &graph, layout.slabs.clone(), &device.target())
    })?;
    Ok((Arc::new(plan), facts))
}
