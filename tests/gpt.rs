//! The plan of a GPT's training step, without running it: kernels, pipelines, memory.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use gpt::Gpt;
use gradus_graph::plan::{Plan, Request, SlabLayout, lower};
use gradus_graph::{DType, Graph, Layer, Scope, Target, grad};
use gradus_nn::{AdamW, CrossEntropy, Loss};

#[path = "../examples/shared/gpt.rs"]
mod gpt;

const LAYERS: usize = 4;

fn plan(target: &Target, batch: usize, length: usize, layers: usize) -> Plan {
    limited(target, batch, (length, layers, false), None)
}

fn limited(
    target: &Target,
    batch: usize,
    (length, layers, checkpoint): (usize, usize, bool),
    memory_limit: Option<u64>,
) -> Plan {
    let net = Gpt {
        tokens: 256,
        positions: length,
        checkpoint,
        width: 128,
        heads: 4,
        layers,
    };
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [batch, length], DType::I32);
    let y = graph.input("y", [batch, length], DType::I32);
    let loss = CrossEntropy::new().forward(&scope, net.forward(&scope, x), y);
    let gradients = grad(loss, &graph.param_vars()).into_iter().map(Some);
    let plan = lower(&Request {
        readbacks: vec![("loss".into(), loss)],
        gradients: gradients.collect(),
        optimizer: Some(&AdamW::new(1e-3)),
        memory_limit,
        ..Request::new(
            "train",
            &graph,
            SlabLayout::new(&graph.params(), target).unwrap(),
            target,
        )
    });
    let plan = plan.unwrap();
    plan.check().unwrap();
    plan
}

#[test]
fn a_layer_takes_twenty_dispatches() {
    for target in [Target::discrete(), Target::webgpu(), Target::cpu()] {
        for length in [64, 256] {
            let plan = plan(&target, 4, length, LAYERS);
            let most = 20 * LAYERS + 13;
            assert!(plan.kernels.len() <= most, "{plan:#}");
        }
    }
}

/// All layers share the kernels of one.
#[cfg(feature = "gpu")]
#[test]
fn forty_pipelines_are_enough() {
    use std::collections::BTreeSet;

    use gradus_tensor::kernels::{choose, shader};

    for target in [Target::discrete(), Target::webgpu(), Target::lavapipe()] {
        let plan = plan(&target, 4, 64, LAYERS);
        let texts = plan.kernels.iter().map(|kernel| {
            let shader = shader(&plan, kernel, choose(&plan, kernel));
            shader.unwrap().wgsl
        });
        let unique: BTreeSet<String> = texts.collect();
        println!("{} pipelines on {}", unique.len(), target.name);
        assert!(unique.len() <= 40);
    }
}

/// Nothing is as large as the square of the length: twice as long a sequence takes twice the memory.
#[test]
fn memory_is_linear_in_the_length() {
    for target in [Target::discrete(), Target::webgpu(), Target::cpu()] {
        let transient = |length| plan(&target, 1, length, 1).bill.transient as f64;
        let short = transient(128);
        for length in [256, 512, 1024, 2048, 4096] {
            let ratio = transient(length) / short / (length as f64 / 128.0);
            assert!(ratio <= 1.05, "{ratio} for {length} on {}", target.name);
        }
    }
}

/// Half of what lies between kernels, for a few operations more; layers that are checkpointed take
/// less still, and nearly a forward pass again.
#[test]
fn half_the_memory_costs_few_operations() {
    for target in [
        Target::discrete(),
        Target::webgpu(),
        Target::lavapipe(),
        Target::cpu(),
    ] {
        let sizes = |checkpoint| (256, LAYERS, checkpoint);
        let plain = limited(&target, 4, sizes(false), None).bill;
        let limit = plain.memory() - plain.transient / 2;
        let half = limited(&target, 4, sizes(false), Some(limit));
        let segments = limited(&target, 4, sizes(true), None);
        for (name, plan, most) in [("half", &half, 10), ("checkpoints", &segments, 25)] {
            let (bytes, more) = (plan.bill.transient, plan.recomputed.unwrap());
            println!(
                "{name} on {}: {bytes} of {} bytes, {more} of {} operations more",
                target.name, plain.transient, plain.flops
            );
            assert!(bytes * 2 <= plain.transient, "{plan:#}");
            assert!(more * 100 <= plain.flops * most, "{plan:#}");
        }
    }
}
