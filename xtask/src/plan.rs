//! `cargo xtask plan`: the plan of a named model, printed in full. Needs no device.

use anyhow::{Context, Result, bail};
use gradus_graph::plan::{Request, SlabLayout, lower};
use gradus_graph::{DType, Graph, Layer, Plan, Scope, Storage, Target, grad};
use gradus_nn::{Accuracy, Adam, CrossEntropy, Loss, Metric, Sequential};

use crate::args::Args;
use crate::gpt::Gpt;
use crate::networks::{ResNet18, cnn};

pub(crate) fn run(args: &[String]) -> Result<()> {
    println!("{:#}", parse(args)?);
    Ok(())
}

fn parse(args: &[String]) -> Result<Plan> {
    let known = [
        "widths",
        "batch",
        "target",
        "dropout",
        "clip",
        "resident",
        "size",
        "width",
        "layers",
        "heads",
        "storage",
        "weights",
        "checkpoint",
        "memory",
    ];
    let args = Args::parse(args, &known)?;
    let widths = args
        .get("widths")?
        .unwrap_or_else(|| "784,128,10".to_string());
    let widths: Result<Vec<usize>, _> = widths.split(',').map(str::parse).collect();
    let target = args
        .get("target")?
        .unwrap_or_else(|| "lavapipe".to_string());
    let mut step = Step {
        input: Vec::new(),
        batch: args.get("batch")?.unwrap_or(64),
        target: named(&target)?,
        clip: args.get("clip")?,
        resident: args.get("resident")?,
        tokens: false,
        storage: storage(&args, "storage")?,
        weights: storage(&args, "weights")?,
        memory: args.get("memory")?,
    };
    let [model] = args.words.as_slice() else {
        bail!("name one model: mlp, cnn, resnet18 or gpt");
    };
    let size = args.get("size")?;
    match model.as_str() {
        "mlp" => mlp(&Mlp {
            widths: widths.context("`--widths` takes numbers with commas between: 784,128,10")?,
            dropout: args.get("dropout")?.unwrap_or(0.0),
            step,
        }),
        "cnn" => {
            let size = size.unwrap_or(28);
            step.input = vec![1, size, size];
            train(&cnn(10), &step)
        }
        "resnet18" => {
            let size = size.unwrap_or(224);
            step.input = vec![3, size, size];
            train(&ResNet18 { classes: 1000 }, &step)
        }
        "gpt" => {
            step.input = vec![size.unwrap_or(64)];
            step.tokens = true;
            let net = Gpt {
                tokens: 256,
                width: args.get("width")?.unwrap_or(128),
                heads: args.get("heads")?.unwrap_or(4),
                layers: args.get("layers")?.unwrap_or(4),
                positions: size.unwrap_or(64),
                checkpoint: args.get("checkpoint")?.unwrap_or(false),
            };
            train(&net, &step)
        }
        _ => bail!(
            "usage: cargo xtask plan mlp|cnn|resnet18|gpt [--{} …]",
            known.join(" …] [--")
        ),
    }
}

fn storage(args: &Args, name: &str) -> Result<Storage> {
    match args.get::<String>(name)?.as_deref() {
        None | Some("f32") => Ok(Storage::F32),
        Some("bf16") => Ok(Storage::Bf16),
        Some(other) => bail!("`--{name}` is f32 or bf16, not {other}"),
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

/// A classifier of dense layers with relu between.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    /// Inputs, hidden layers, classes.
    pub(crate) widths: Vec<usize>,
    /// After every hidden layer; 0 for none.
    pub(crate) dropout: f64,
    pub(crate) step: Step,
}

/// A training step of a classifier: cross-entropy, accuracy and Adam.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The shape of a sample; that of an MLP is its first width.
    pub(crate) input: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) target: Target,
    /// The largest norm of the gradient.
    pub(crate) clip: Option<f64>,
    /// Samples of a data set on the device; without it every step uploads its batch.
    pub(crate) resident: Option<usize>,
    /// Samples are tokens, each with a label.
    pub(crate) tokens: bool,
    /// How what the backward pass reads is stored.
    pub(crate) storage: Storage,
    /// How its products read weights.
    pub(crate) weights: Storage,
    /// The most that may lie between kernels, in units of what does without a limit.
    pub(crate) memory: Option<f64>,
}

/// The plan of an MLP's step.
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
    let input = vec![*inputs];
    train(
        &net.dense(*classes),
        &Step {
            input,
            ..model.step.clone()
        },
    )
}

/// The plan of a training step.
pub(crate) fn train(net: &dyn Layer, step: &Step) -> Result<Plan> {
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let shape = [&[step.batch], &step.input[..]].concat();
    let (dtype, labels) = match step.tokens {
        true => (DType::I32, shape.clone()),
        false => (DType::F32, vec![step.batch]),
    };
    let x = graph.input("x", shape, dtype);
    let y = graph.input("y", labels, DType::I32);
    let logits = net.forward(&scope, x);
    let loss = CrossEntropy::new();
    let mut accuracy = Accuracy::new().forward(&scope, &loss, logits, y);
    let mut loss = loss.forward(&scope, logits, y);
    let forward = graph.node_count();
    let mut gradients = grad(loss, &graph.param_vars());
    if step.storage == Storage::Bf16 {
        let now = graph.round_saved(forward, &gradients);
        let all = gradients.iter_mut().chain([&mut loss, &mut accuracy]);
        all.for_each(|var| *var = now(*var));
    }
    if step.weights == Storage::Bf16 {
        let now = graph.round_weights();
        let all = gradients.iter_mut().chain([&mut loss, &mut accuracy]);
        all.for_each(|var| *var = now(*var));
    }
    let slabs = SlabLayout::new(&graph.params(), &step.target)?;
    let optimizer = Adam::new(1e-3);
    let mut request = Request {
        readbacks: vec![("loss".into(), loss), ("accuracy".into(), accuracy)],
        gradients: gradients.into_iter().map(Some).collect(),
        optimizer: Some(&optimizer),
        clip_norm: step.clip,
        resident: step.resident,
        ..Request::new("train", &graph, slabs, &step.target)
    };
    let mut plan = lower(&request)?;
    if let Some(share) = step.memory {
        let spared = plan.bill.transient as f64 * (1.0 - share);
        request.memory_limit = Some(plan.bill.memory().saturating_sub(spared as u64));
        plan = lower(&request)?;
    }
    plan.check()?;
    Ok(plan)
}
