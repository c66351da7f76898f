//! `cargo xtask plan`: the plan of a named model, printed in full. Needs no device.

use anyhow::{Context, Result, bail};
use gradus_graph::plan::{Request, SlabLayout, lower};
use gradus_graph::{DType, Graph, Layer, Plan, Scope, Target, grad};
use gradus_nn::{Accuracy, Adam, CrossEntropy, Loss, Metric, Sequential};

use crate::args::Args;

pub(crate) fn run(args: &[String]) -> Result<()> {
    println!("{:#}", parse(args)?);
    Ok(())
}

fn parse(args: &[String]) -> Result<Plan> {
    let known = ["widths", "batch", "target", "dropout", "clip", "resident"];
    let args = Args::parse(args, &known)?;
    let widths = args
        .get("widths")?
        .unwrap_or_else(|| "784,128,10".to_string());
    let widths: Result<Vec<usize>, _> = widths.split(',').map(str::parse).collect();
    let target = args
        .get("target")?
        .unwrap_or_else(|| "lavapipe".to_string());
    match args.words.as_slice() {
        [model] if model == "mlp" => mlp(&Mlp {
            widths: widths.context("`--widths` takes numbers with commas between: 784,128,10")?,
            batch: args.get("batch")?.unwrap_or(64),
            target: named(&target)?,
            dropout: args.get("dropout")?.unwrap_or(0.0),
            clip: args.get("clip")?,
            resident: args.get("resident")?,
        }),
        _ => bail!(
            "usage: cargo xtask plan mlp [--{} …]",
            known.join(" …] [--")
        ),
    }
}

/// The devices that plans can be made for without having them.
fn named(name: &str) -> Result<Target> {
    let targets = targets();
    let names: Vec<String> = targets.iter().map(|t| t.name.clone()).collect();
    let found = targets.into_iter().find(|t| t.name == name);
    found.with_context(|| format!("no target `{name}`; there are {}", names.join(", ")))
}

pub(crate) fn targets() -> [Target; 4] {
    [
        Target::webgpu(),
        Target::discrete(),
        Target::lavapipe(),
        Target::cpu(),
    ]
}

/// A classifier of dense layers with relu between, cross-entropy, accuracy and Adam.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    /// Inputs, hidden layers, classes.
    pub(crate) widths: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) target: Target,
    /// After every hidden layer; 0 for none.
    pub(crate) dropout: f64,
    /// The largest norm of the gradient.
    pub(crate) clip: Option<f64>,
    /// Samples of a data set on the device; without it every step uploads its batch.
    pub(crate) resident: Option<usize>,
}

/// The plan of a training step.
pub(crate) fn mlp(model: &Mlp) -> Result<Plan> {
    let [inputs, hidden @ .., classes] = model.widths.as_slice() else {
        bail!("an MLP has at least two widths: inputs and classes");
    };
    let mut net = Sequential::new();
    for &width in hidden {
        net = net.dense(width).relu();
        if model.dropout > 0.0 {
            net = net.dropout(model.dropout);
        }
    }
    let net = net.dense(*classes);
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [model.batch, *inputs], DType::F32);
    let y = graph.input("y", [model.batch], DType::I32);
    let logits = net.forward(&scope, x);
    let loss = CrossEntropy::new();
    let accuracy = Accuracy::new().forward(&scope, &loss, logits, y);
    let loss = loss.forward(&scope, logits, y);
    let plan = lower(&Request {
        name: "train",
        graph: &graph,
        outputs: vec![],
        readbacks: vec![("loss".into(), loss), ("accuracy".into(), accuracy)],
        gradients: grad(loss, &graph.param_vars())
            .into_iter()
            .map(Some)
            .collect(),
        optimizer: Some(&Adam::new(1e-3)),
        clip_norm: model.clip,
        first_state: 0,
        resident: model.resident,
        slabs: SlabLayout::new(&graph.params(), &model.target)?,
        target: &model.target,
    })?;
    plan.check()?;
    Ok(plan)
}
