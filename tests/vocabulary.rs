//! Tables of vocabularies: those that no binding of a device holds are trained in parts, and where few
//! of their rows are looked up no gradient of the whole is made, with the same result.

use std::sync::Arc;

use gradus_graph::plan::{Plan, Request, Role, SlabLayout, lower};
use gradus_graph::{Array, DType, Graph, Optimizer, Scope, Target, Var, grad};
use gradus_nn::{AdamW, Dense, Embedding, Lamb, Muon, OptimizerExt as _, Sgd, params};
use libtest_mimic::{Arguments, Failed, Trial};
use support::golden::{Trained, Training};
use support::gpu::Gpu;
use support::planned::{self, Planned};

mod support;

/// Tokens, numbers of a vector, positions of a batch.
#[derive(Clone, Copy)]
struct Size {
    tokens: usize,
    width: usize,
    positions: usize,
}

const SMALL: Size = Size {
    tokens: 331,
    width: 12,
    positions: 6,
};

/// GPT-2's table: 154 MB.
const GPT2: Size = Size {
    tokens: 50_257,
    width: 768,
    positions: 8,
};

/// A mean loss of the next token, scored by the table that looked up the last one.
fn loss(graph: &Graph, size: Size) -> Var<'_> {
    let Size {
        tokens,
        width,
        positions,
    } = size;
    let input = |name: &str| graph.input(name, [positions], DType::I32);
    let (x, next) = (input("x"), input("next"));
    let table = Embedding::new(tokens, width).padding_idx(3);
    let scope = Scope::root(graph, true);
    let hidden = scope.apply("table", &table, x).tanh();
    let scale = scope.param("scale", [width], gradus_nn::init::Ones);
    let logits = scope.apply("table", &table.unembedding(), hidden * scale);
    logits.cross_entropy(next).mean_all() + scale.square().sum_all() * 1e-3
}

/// 1.2 MB, of which few rows are looked up, some more than once.
const LOOKED_UP: Size = Size {
    tokens: 8_209,
    width: 36,
    positions: 0,
};

/// A mean of what a few numbers of each vector score; the table has no other reader.
fn untied(graph: &Graph, size: Size) -> Var<'_> {
    let input = |name: &str| graph.input(name, [size.positions], DType::I32);
    let (x, next) = (input("x"), input("next"));
    let scope = Scope::root(graph, true);
    let table = Embedding::new(size.tokens, size.width).padding_idx(3);
    let hidden = scope.apply("table", &table, x).tanh();
    let logits = scope.apply("head", &Dense::new(5), hidden);
    logits.cross_entropy(next % 5).mean_all()
}

fn batch(size: Size, step: usize) -> Vec<Array> {
    let token = |i: usize| i32::try_from((i * i * 37 + step * 11) % size.tokens).unwrap_or(0);
    let tokens = |from: usize| {
        (from..from + size.positions)
            .map(token)
            .collect::<Vec<i32>>()
    };
    vec![Array::vector(tokens(0)), Array::vector(tokens(1))]
}

fn training(size: Size, steps: usize, optimizer: impl Optimizer + 'static) -> Training {
    training_of(loss, size, steps, optimizer)
}

fn training_of(
    loss: LossOf,
    size: Size,
    steps: usize,
    optimizer: impl Optimizer + 'static,
) -> Training {
    let batches = (0..steps).map(|step| batch(size, step)).collect();
    let optimizer = Arc::new(optimizer);
    Training::free(
        "vocabulary",
        move |graph| loss(graph, size),
        optimizer,
        batches,
    )
}

/// A target whose bindings hold about a third of the small table.
fn narrow(mut planned: Planned) -> Planned {
    planned.target.max_binding_bytes = 6 << 10;
    planned
}

/// Every number of both, to a few units of the last place of the largest.
fn same(found: &Trained, want: &Trained, share: f64) -> Result<(), Failed> {
    let vectors = |t: &Trained| {
        let mut all = vec![t.losses.clone()];
        let arrays = t.gradients.iter().chain(t.after.iter().flatten());
        all.extend(arrays.chain(t.states.iter().flatten()).map(numbers));
        all
    };
    let (found, want) = (vectors(found), vectors(want));
    assert_eq!(found.len(), want.len());
    for (number, (found, want)) in found.iter().zip(&want).enumerate() {
        let largest = want.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let far = found.iter().zip(want).map(|(f, w)| (f - w).abs());
        let far = far.fold(0.0, f64::max);
        if far > share * largest || found.iter().any(|v| v.is_nan()) {
            return Err(format!("vector {number}: {far:.2e} too far of {largest:.2e}").into());
        }
    }
    Ok(())
}

fn numbers(array: &Array) -> Vec<f64> {
    let floats = array.as_f32().unwrap_or_default();
    floats.iter().map(|&v| f64::from(v)).collect()
}

fn as_whole(planned: &Planned) -> Result<(), Failed> {
    let all: [Training; 2] = [
        training(SMALL, 4, AdamW::new(0.01).weight_decay(0.1)),
        training(SMALL, 4, Sgd::new(0.1).momentum(0.9)).clip_norm(0.5),
    ];
    for training in all {
        let want = training.by_oracle::<f32>()?;
        same(&planned.train(&training)?, &want, 2e-4)?;
    }
    Ok(())
}

/// A gradient that is looked up where the optimizer reads it is the same as one that is made, whether
/// bindings hold the table or parts of it, with an order of the positions and without.
fn looked_up(planned: &mut Planned) -> Result<(), Failed> {
    for (positions, width, bytes) in [(200, 36, None), (60, 37, None), (200, 33, Some(400 << 10))] {
        let size = Size {
            positions,
            width,
            ..LOOKED_UP
        };
        planned.target.max_binding_bytes = bytes.unwrap_or(planned.target.max_binding_bytes);
        let of = |optimizer: AdamW| training_of(untied, size, 3, optimizer);
        let decayed = of(AdamW::new(0.01).weight_decay(0.1));
        let clipped = of(AdamW::new(0.01)).clip_norm(0.05);
        for training in [decayed, clipped] {
            let want = training.by_oracle::<f32>()?;
            same(&planned.train(&training)?, &want, 2e-4)?;
        }
    }
    Ok(())
}

type LossOf = for<'g> fn(&'g Graph, Size) -> Var<'g>;

/// The plan of a step that clips its gradients, checked.
fn clipped(
    loss: LossOf,
    size: Size,
    optimizer: &dyn Optimizer,
    target: &Target,
) -> Result<Plan, Failed> {
    let graph = Graph::new();
    let loss = loss(&graph, size);
    let gradients = grad(loss, &graph.param_vars()).into_iter().map(Some);
    let slabs = SlabLayout::new(&graph.params(), target)?;
    let plan = lower(&Request {
        readbacks: vec![("loss".into(), loss)],
        gradients: gradients.collect(),
        optimizer: Some(optimizer),
        clip_norm: Some(1.0),
        ..Request::new("train", &graph, slabs, target)
    })?;
    plan.check()?;
    Ok(plan)
}

/// A gradient is looked up where that is less work, and nothing needs it as a whole.
fn when_looked_up() -> Result<(), Failed> {
    let few = Size {
        positions: 60,
        ..LOOKED_UP
    };
    let many = Size {
        positions: 5_000,
        ..LOOKED_UP
    };
    let small = Size {
        tokens: 4_000,
        ..few
    };
    let adamw = || AdamW::new(0.01);
    let muon = || Muon::new(0.02).rest(params("head"), adamw());
    let accumulated = adamw().accumulate(2);
    let phases = accumulated.phases();
    let cases: [(&str, LossOf, Size, &dyn Optimizer, bool); 9] = [
        ("as it is", untied, few, &adamw(), true),
        ("other rules", untied, few, &Sgd::new(0.1), true),
        ("gradients that are collected", untied, few, phases[0], true),
        ("many positions", untied, many, &adamw(), false),
        ("a small table", untied, small, &adamw(), false),
        ("the mean of several", untied, few, phases[1], false),
        ("norms of parameters", untied, few, &Lamb::new(0.01), false),
        ("whole matrices", untied, few, &muon(), false),
        ("tied weights", loss, few, &adamw(), false),
    ];
    for target in [Target::webgpu(), Target::cpu()] {
        for (what, loss, size, optimizer, wanted) in cases {
            let plan = clipped(loss, size, optimizer, &target)?;
            assert_eq!(plan.sparse.len(), usize::from(wanted), "{what}");
            let mut gradients = plan.buffers.iter();
            let gradients = gradients.find(|b| matches!(b.role, Role::Grads(_)));
            let table = 4 * size.tokens as u64 * size.width as u64;
            assert_eq!(gradients.is_some_and(|b| b.bytes < table), wanted, "{what}");
        }
    }
    Ok(())
}

/// Kernels bind parts of the table, and none of them more than the device allows.
fn gpt2_is_planned() -> Result<(), Failed> {
    for target in [Target::webgpu(), Target::lavapipe()] {
        let plan = clipped(loss, GPT2, &AdamW::new(1e-3), &target)?;
        let bindings = plan.kernels.iter().flat_map(|k| &k.bindings);
        assert!(
            bindings
                .clone()
                .all(|b| b.bytes <= target.max_binding_bytes)
        );
    }
    Ok(())
}

/// A rule that measures whole parameters says that it cannot.
fn layerwise_is_refused() -> Result<(), Failed> {
    let planned = narrow(planned::interpreted().swap_remove(0));
    let refused = planned.train(&training(SMALL, 1, Lamb::new(0.01)));
    match refused {
        Err(message) if message.contains("table.weight") && message.contains("whole") => Ok(()),
        Err(message) => Err(message.into()),
        Ok(_) => Err("was planned".into()),
    }
}

fn main() {
    let gpu = Gpu::from_env();
    let mut trials = vec![
        Trial::test("gpt2/plans", gpt2_is_planned),
        Trial::test("layerwise", layerwise_is_refused),
        Trial::test("looked up/when", when_looked_up),
        Trial::test("looked up/executor", || looked_up(&mut planned::executor())),
        gpu.trial("looked up/gpu", |device| {
            looked_up(&mut planned::on(device))
        }),
        gpu.trial("small/gpu", |device| as_whole(&narrow(planned::on(device)))),
        gpu.trial("gpt2/full/gpu", |device| {
            let training = training(GPT2, 1, Sgd::new(0.1));
            let want = training.by_oracle::<f32>()?;
            same(&planned::on(device).train(&training)?, &want, 2e-4)
        })
        .with_ignored_flag(true),
    ];
    for target in 0..planned::interpreted().len() {
        trials.push(Trial::test(format!("small/plan {target}"), move || {
            as_whole(&narrow(planned::interpreted().swap_remove(target)))
        }));
        trials.push(Trial::test(format!("looked up/plan {target}"), move || {
            looked_up(&mut planned::interpreted().swap_remove(target))
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
