//! Plans whose backward pass computes values of the forward pass again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use gradus_graph::plan::{Plan, PlanError, Request, SlabLayout, lower};
use gradus_graph::{DType, Graph, Scope, Target, Var, grad};

const LAYERS: usize = 12;
const BATCH: usize = 64;
const WIDTH: usize = 96;

/// What is asked of a network.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Layers of a checkpointed segment.
    segment: Option<usize>,
    limit: Option<u64>,
    /// Whether there is a backward pass.
    predicts: bool,
}

fn layer<'g>(x: Var<'g>, weight: Var<'g>) -> Var<'g> {
    let h = x.matmul(weight);
    h * h.sigmoid()
}

/// A network of dense layers with an activation that takes several operations.
fn plan(target: &Target, options: Options) -> Result<Plan, PlanError> {
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let mut h = graph.input("x", [BATCH, WIDTH], DType::F32);
    let names = (0..LAYERS).map(|i| i.to_string());
    let weights = names.map(|name| graph.input(&name, [WIDTH, WIDTH], DType::F32));
    let weights: Vec<Var<'_>> = weights.collect();
    for part in weights.chunks(options.segment.unwrap_or(LAYERS)) {
        let run = || part.iter().fold(h, |h, &w| layer(h, w));
        h = match options.segment {
            Some(_) => scope.checkpoint(run),
            None => run(),
        };
    }
    let loss = h.square().mean_all();
    let mut outputs = vec![("y".to_owned(), h)];
    if !options.predicts {
        let gradients = grad(loss, &weights).into_iter();
        outputs.extend(gradients.map(|dx| ("dw".to_owned(), dx)));
    }
    let plan = lower(&Request {
        outputs,
        readbacks: vec![("loss".into(), loss)],
        memory_limit: options.limit,
        ..Request::new("train", &graph, SlabLayout::default(), target)
    })?;
    plan.check().unwrap_or_else(|e| panic!("{e}\n{plan:#}"));
    Ok(plan)
}

fn targets() -> [Target; 4] {
    [
        Target::webgpu(),
        Target::discrete(),
        Target::lavapipe(),
        Target::cpu(),
    ]
}

fn limited(target: &Target, limit: u64) -> Result<Plan, PlanError> {
    let limit = Some(limit);
    plan(
        target,
        Options {
            limit,
            ..Options::default()
        },
    )
}

#[test]
fn segments_are_computed_again_when_the_backward_pass_arrives() {
    for target in targets() {
        let plain = plan(&target, Options::default()).unwrap();
        let segment = Some(3);
        let segments = plan(
            &target,
            Options {
                segment,
                ..Options::default()
            },
        );
        let segments = segments.unwrap();
        let (found, all) = (segments.bill.transient, plain.bill.transient);
        assert!(found * 2 < all, "{found} of {all}\n{segments:#}");
        // The operations of a forward pass, but for what each segment gives.
        let forward = 2 * (LAYERS * BATCH * WIDTH * WIDTH) as u64;
        let more = segments.recomputed.unwrap();
        assert_eq!(segments.bill.flops, plain.bill.flops + more);
        assert!(more > forward * 3 / 4 && more < forward * 11 / 10, "{more}");
        // One segment after the other, the last one first.
        let again = |k: &&gradus_graph::plan::Kernel| k.again;
        let first = segments.kernels.iter().position(|k| k.again).unwrap();
        let before = &segments.kernels[..first];
        let products = before.iter().filter(|k| k.label.contains("matmul"));
        assert!(products.count() >= LAYERS, "{segments:#}");
        let kernels = segments.kernels.iter().filter(again).count();
        assert!(kernels >= LAYERS, "{kernels}\n{segments:#}");
        let together = segments.kernels.split(|k| !k.again);
        let parts = together.filter(|part| !part.is_empty()).count();
        assert!(parts >= LAYERS / 3, "{parts}\n{segments:#}");
    }
}

#[test]
fn nothing_changes_without_a_backward_pass() {
    let options = |segment| Options {
        segment,
        predicts: true,
        ..Options::default()
    };
    let [plain, segments] = [None, Some(2)].map(|s| plan(&Target::discrete(), options(s)).unwrap());
    assert_eq!(format!("{plain:#}"), format!("{segments:#}"));
    assert_eq!(segments.recomputed, None);
}

#[test]
fn a_limit_is_kept_with_few_operations() {
    for target in targets() {
        let plain = plan(&target, Options::default()).unwrap();
        let whole = limited(&target, plain.bill.memory()).unwrap();
        assert_eq!(format!("{plain:#}"), format!("{whole:#}"));
        let mut before = 0;
        for percent in [75, 50] {
            let spared = plain.bill.transient * (100 - percent) / 100;
            let limit = plain.bill.memory() - spared;
            let [plan, again] = [(); 2].map(|()| limited(&target, limit).unwrap());
            assert_eq!(format!("{plan:#}"), format!("{again:#}"));
            assert!(plan.bill.memory() <= limit, "{plan:#}");
            let more = plan.recomputed.unwrap();
            assert!(more >= before, "{more} and {before} operations");
            assert!(more * 100 <= plain.bill.flops * 35, "{percent}: {more}");
            before = more;
        }
    }
}

#[test]
fn a_limit_that_cannot_be_kept_says_what_can() {
    for target in targets() {
        let error = limited(&target, 1000).unwrap_err();
        let PlanError::Memory { least, .. } = error else {
            panic!("{error}");
        };
        let text = error.to_string();
        for part in ["`train`", "1000 bytes", &format!("takes {least}")] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(limited(&target, least).unwrap().bill.memory(), least);
        assert!(limited(&target, least - 1).is_err());
    }
}

/// What the limit and the checkpoints ask for comes together.
#[test]
fn checkpoints_stay_within_a_limit() {
    let target = Target::discrete();
    let segment = Some(1);
    let options = Options {
        segment,
        ..Options::default()
    };
    let segments = plan(&target, options).unwrap();
    let limit = Some(segments.bill.memory() - segments.bill.transient / 4);
    let both = plan(&target, Options { limit, ..options }).unwrap();
    assert!(both.recomputed >= segments.recomputed);
}

fn of(graph: &Graph, target: &Target, loss: Var<'_>, wanted: &[Var<'_>]) -> Plan {
    let outputs = wanted.iter().map(|v| ("wanted".to_owned(), *v)).collect();
    let plan = lower(&Request {
        outputs,
        readbacks: vec![("loss".into(), loss)],
        ..Request::new("train", graph, SlabLayout::default(), target)
    });
    let plan = plan.unwrap();
    plan.check().unwrap_or_else(|e| panic!("{e}\n{plan:#}"));
    plan
}

/// The sums beside an attention are made where it is.
#[test]
fn attention_is_computed_again_at_most_once() {
    for (last, kernels) in [(false, 3), (true, 2)] {
        let graph = Graph::new();
        let x = graph.input("x", [2, 32, 12, 16], DType::F32);
        let options = gradus_graph::AttentionOptions::new().causal(true);
        let y = Scope::root(&graph, true).checkpoint(|| {
            let y = x.tanh().self_attention(4, 4, &options);
            // What the segment gives is kept.
            if last {
                y.reshape([2, 32, 64])
            } else {
                y.sin()
            }
        });
        let loss = y.square().mean_all();
        let dx = grad(loss, &[x]).remove(0);
        let plan = of(&graph, &Target::discrete(), loss, &[dx]);
        let attention = plan
            .kernels
            .iter()
            .filter(|k| k.label.contains("attention"));
        assert_eq!(attention.count(), kernels, "{plan:#}");
        assert!(plan.recomputed.is_some(), "{plan:#}");
    }
}

/// A step that reports the norm of its gradient computes again as others do.
#[test]
fn a_gradient_that_is_reported_is_no_forward_pass() {
    let graph = Graph::new();
    let x = graph.input("x", [BATCH, WIDTH], DType::F32);
    let w = graph.input("w", [WIDTH, WIDTH], DType::F32);
    let y = Scope::root(&graph, true).checkpoint(|| layer(layer(x, w), w).sin());
    let loss = y.square().mean_all();
    let dw = grad(loss, &[w]).remove(0);
    let plan = of(&graph, &Target::cpu(), loss, &[dw, dw.square().sum_all()]);
    assert!(plan.recomputed.is_some(), "{plan:#}");
}

/// A sum that a forward pass needs is not made beside the weight gradient that reads the same rows.
#[test]
fn a_sum_does_not_wait_for_what_waits_for_it() {
    for target in targets() {
        let graph = Graph::new();
        let x = graph.input("x", [64, 24], DType::F32).tanh();
        let w = graph.input("w", [24, 24], DType::F32);
        let loss = (x.matmul(w) * x.sum(&[0]).sin()).square().mean_all();
        let dw = grad(loss, &[w]).remove(0);
        of(&graph, &target, loss, &[dw]);
    }
}
