//! Plans of whole steps: counts, memory, rules.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    reason = "a test stops at what it did not expect"
)]

use gradus_graph::ops::{Normalize, Sharing};
use gradus_graph::plan::{Kernel, KernelKind, Plan, Request, Role, SlabLayout, ValueId, lower};
use gradus_graph::{
    At, ConvOptions, DType, Decoding, DeviceClass, Graph, Init, Optimizer, Padding, PoolOptions,
    Rate, Scope, Shape, Target, Update, Var, grad, philox, step_row,
};

#[derive(Debug)]
struct Zeros;

impl Init for Zeros {
    fn sample(&self, shape: &Shape, _: &mut philox::Rng) -> Vec<f32> {
        vec![0.0; shape.numel()]
    }
}

/// Adam, as far as the planner is concerned.
#[derive(Debug)]
struct Adam;

impl Optimizer for Adam {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: 1.0,

            momentum: 0.0,
        }
    }

    fn row(&self, _: u32, _: Rate) -> Vec<f32> {
        vec![1e-3, 1.0]
    }

    fn update<'g>(&self, p: Var<'g>, g: Var<'g>, s: &[Var<'g>]) -> Update<'g> {
        let rate = p.graph().step_word(step_row::OPTIMIZER);
        let m = s[0] * 0.9 + g * 0.1;
        let v = s[1] * 0.999 + g * g * 0.001;
        Update {
            param: p - rate * m / (v.sqrt() + 1e-8),
            states: vec![m, v],
        }
    }
}

struct Options {
    dropout: f64,
    clip: Option<f64>,
    resident: Option<usize>,
}

const PLAIN: Options = Options {
    dropout: 0.0,
    clip: None,
    resident: None,
};

fn mlp(widths: &[usize], batch: usize, target: &Target, options: &Options) -> Plan {
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [batch, widths[0]], DType::F32);
    let y = graph.input("y", [batch], DType::I32);
    let mut h = x;
    for (i, pair) in widths.windows(2).enumerate() {
        let layer = scope.child(&i.to_string());
        let w = layer.param("weight", [pair[1], pair[0]], Zeros);
        let b = layer.param("bias", [pair[1]], Zeros);
        h = h.matmul(w.transpose()) + b;
        if i + 2 < widths.len() {
            h = layer.dropout(h.relu(), options.dropout);
        }
    }
    let loss = h.cross_entropy(y).mean_all();
    let correct = h.argmax(-1).eq(y).cast(DType::F32).mean_all();
    let gradients = grad(loss, &graph.param_vars());
    let slabs = SlabLayout::new(&graph.params(), target).unwrap();
    let plan = lower(&Request {
        readbacks: vec![("loss".into(), loss), ("accuracy".into(), correct)],
        gradients: gradients.into_iter().map(Some).collect(),
        optimizer: Some(&Adam),
        clip_norm: options.clip,
        resident: options.resident,
        ..Request::new("train", &graph, slabs, target)
    })
    .unwrap();
    plan.check().unwrap_or_else(|e| panic!("{e}\n{plan:#}"));
    plan
}

fn targets() -> [Target; 4] {
    [
        Target::webgpu(),
        Target::discrete(),
        Target::lavapipe(),
        Target::cpu(),
    ]
}

#[test]
fn an_mlp_takes_three_dispatches_a_layer_and_one() {
    for target in &targets() {
        let plan = mlp(&[784, 128, 10], 64, target, &PLAIN);
        assert_eq!(plan.kernels.len(), 7, "{plan:#}");
        let clipped = mlp(
            &[784, 128, 10],
            64,
            target,
            &Options {
                clip: Some(1.0),
                ..PLAIN
            },
        );
        assert_eq!(clipped.kernels.len(), 8, "{clipped:#}");
        let resident = mlp(
            &[784, 128, 10],
            64,
            target,
            &Options {
                resident: Some(1000),
                ..PLAIN
            },
        );
        assert_eq!(resident.kernels.len(), 8, "{resident:#}");
    }
}

#[test]
fn awkward_sizes_take_no_more() {
    for target in &targets() {
        for batch in [1, 64, 513] {
            for width in [1, 7, 257, 1000] {
                for layers in 1..=6 {
                    let mut widths = vec![width; layers];
                    widths.push(10);
                    let plan = mlp(&widths, batch, target, &PLAIN);
                    assert_eq!(
                        plan.kernels.len(),
                        3 * layers + 1,
                        "{widths:?} × {batch}\n{plan:#}"
                    );
                }
            }
        }
    }
}

#[test]
fn dropout_adds_no_kernel() {
    for target in &targets() {
        let plan = mlp(
            &[784, 128, 64, 10],
            64,
            target,
            &Options {
                dropout: 0.2,
                ..PLAIN
            },
        );
        assert_eq!(plan.kernels.len(), 10, "{plan:#}");
    }
}

#[test]
fn a_deep_mlp_shares_memory() {
    let mut widths = vec![512; 8];
    widths.push(10);
    for target in &targets() {
        let plan = mlp(&widths, 2048, target, &PLAIN);
        let b = &plan.bill;
        assert!(
            b.transient as f64 <= 1.15 * b.transient_bound as f64,
            "{plan:#}"
        );
        assert!(
            b.transient_unshared as f64 >= 1.5 * b.transient as f64,
            "{plan:#}"
        );
        assert!(b.bytes as f64 <= 1.15 * b.bytes_bound as f64, "{plan:#}");
    }
}

/// Plans a loss made by `f` from `x: [batch, width]` and parameters.
fn plan_of(
    batch: usize,
    width: usize,
    target: &Target,
    f: impl for<'g> Fn(&Scope<'g>, Var<'g>) -> Var<'g>,
) -> Plan {
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [batch, width], DType::F32);
    let loss = f(&scope, x);
    let gradients = grad(loss, &graph.param_vars());
    let plan = lower(&Request {
        readbacks: vec![("loss".into(), loss)],
        gradients: gradients.into_iter().map(Some).collect(),
        optimizer: Some(&Adam),
        ..Request::new(
            "train",
            &graph,
            SlabLayout::new(&graph.params(), target).unwrap(),
            target,
        )
    })
    .unwrap();
    plan.check().unwrap_or_else(|e| panic!("{e}\n{plan:#}"));
    plan
}

fn dense<'g>(scope: &Scope<'g>, name: &str, x: Var<'g>, out: usize) -> Var<'g> {
    let layer = scope.child(name);
    let w = layer.param("weight", [out, x.dim(-1)], Zeros);
    x.matmul(w.transpose()) + layer.param("bias", [out], Zeros)
}

#[test]
fn smooth_activations_take_no_more() {
    let acts: [(&str, for<'g> fn(Var<'g>) -> Var<'g>); 5] = [
        ("tanh", |x| x.tanh()),
        ("sigmoid", |x| x.sigmoid()),
        ("gelu", |x| {
            x * 0.5 * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
        }),
        ("silu", |x| x * x.sigmoid()),
        ("elu", |x| x.gt(0.0).select(x, x.minimum(0.0).expm1())),
    ];
    for target in &targets() {
        for (name, act) in acts {
            let plan = plan_of(64, 20, target, |s, x| {
                let h = act(dense(s, "0", x, 33));
                let h = act(dense(s, "1", h, 17));
                dense(s, "2", h, 3).square().mean_all()
            });
            // The loss and its gradient join the last product.
            assert_eq!(plan.kernels.len(), 9, "{name} {plan:#}");
        }
    }
}

#[test]
fn layer_norm_adds_few_kernels() {
    for target in &targets() {
        let plan = plan_of(64, 20, target, |s, x| {
            let h = dense(s, "0", x, 33);
            let centered = h - h.mean_keep(&[-1]);
            let normal = centered * (centered.square().mean_keep(&[-1]) + 1e-5).rsqrt();
            let w = s.param("norm.weight", [33], Zeros);
            let b = s.param("norm.bias", [33], Zeros);
            dense(s, "1", (normal * w + b).relu(), 5)
                .square()
                .mean_all()
        });
        // The norm forward in two kernels (bindings are short), backward, and its parameters.
        assert!(plan.kernels.len() <= 10, "{plan:#}");
    }
}

fn conv<'g>(scope: &Scope<'g>, name: &str, x: Var<'g>, out: usize) -> Var<'g> {
    let layer = scope.child(name);
    let w = layer.param("weight", [out, x.dim(1), 3, 3], Zeros);
    let y = x.conv(w, &ConvOptions::new().padding(Padding::Same));
    (y + layer.param("bias", [out, 1, 1], Zeros)).relu()
}

/// The taps of windows lie in no memory: nothing is larger than the largest activation.
#[test]
fn convolutions_and_pools_store_no_windows() {
    for target in &targets() {
        let plan = plan_of(4, 192, target, |s, x| {
            let h = conv(s, "0", x.reshape([4, 3, 8, 8]), 16);
            let h = h.max_pool(&PoolOptions::new(3).stride(1).padding(1));
            let h = conv(s, "1", h, 16);
            h.avg_pool(&PoolOptions::new(3).stride(1))
                .square()
                .mean_all()
        });
        let values = plan.values.iter().map(|v| v.meta.bytes());
        assert_eq!(values.max(), Some(4 * 16 * 8 * 8 * 4), "{plan:#}");
    }
}

/// On a GPU images are summed in parts, the gradient of the bias beside that of the weight.
#[test]
fn long_weight_gradients_are_divided() {
    for target in &targets() {
        let plan = plan_of(32, 1024, target, |s, x| {
            conv(s, "0", x.reshape([32, 1, 32, 32]), 16)
                .square()
                .mean_all()
        });
        let groups: Vec<_> = plan
            .kernels
            .iter()
            .filter_map(|k| match &k.kind {
                KernelKind::Conv(c) if c.row_sum.is_some() => Some(c.conv.groups),
                _ => None,
            })
            .collect();
        let parts = match target.class {
            DeviceClass::Gpu => 32,
            DeviceClass::Software | DeviceClass::Cpu => 1,
        };
        assert_eq!(groups, [parts], "{plan:#}");
    }
}

/// Statistics of a batch are sums of each sample's rows, read once; the gradient reads what it
/// needs twice. Nothing is as large as an activation but activations.
#[test]
fn a_normalized_convolution_reads_its_output_twice() {
    for target in &targets() {
        let plan = plan_of(64, 16 * 28 * 28, target, |s, x| {
            let h = conv(s, "0", x.reshape([64, 16, 28, 28]), 16);
            let op = Normalize {
                sharing: Sharing::Batch,
                eps: 1e-5,
            };
            let [w, b] = ["weight", "bias"].map(|name| s.child("1").param(name, 16, Zeros));
            h.composite(op, &[w, b]).relu().square().mean_all()
        });
        let large = |id: &ValueId| plan.values[id.index()].meta.shape.numel() == 64 * 16 * 784;
        let others = plan.kernels.iter().filter(|k| !k.label.contains("conv"));
        let read = others.flat_map(|k| k.operands.iter().filter_map(|o| o.reads));
        let found = read.filter(large).count();
        assert!(found <= 8, "{found} reads\n{plan:#}");
    }
}

/// A new state lies in the place of the old one from the start, unless that is still read.
#[test]
fn states_change_in_place() {
    for target in &targets() {
        let copies = |read_later: bool| {
            let plan = plan_of(64, 16, target, |s, x| {
                let state = s.state("mean", 16, DType::F32, 0.0);
                s.update(state, state * 0.9 + x.mean(&[0]) * 0.1);
                let h = dense(s, "0", x, 16).tanh();
                let h = if read_later { h * state } else { h };
                dense(s, "1", h, 3).square().mean_all()
            });
            let copies = |k: &&Kernel| k.label == "mean/update";
            plan.kernels.iter().filter(copies).count()
        };
        assert_eq!([copies(false), copies(true)], [0, 1]);
    }
}

/// The gradient of a layer that is applied twice is one sum of two products, each with the sum for
/// the bias beside it.
#[test]
fn gradients_of_a_layer_applied_twice_are_computed_once() {
    for target in &targets() {
        let plan = plan_of(32, 64, target, |s, x| {
            let y = dense(s, "0", x, 8) + dense(s, "0", x.square(), 8);
            y.square().mean_all()
        });
        plan.check().unwrap();
        let products = plan.kernels.iter();
        let products = products.filter(|k| matches!(k.kind, KernelKind::MatMul(_)));
        assert_eq!(products.count(), 4, "{plan:#}");
    }
}

/// Halving again and again: an element of the result is read from 2ⁿ places, which no kernel
/// computes at once.
#[test]
fn halves_added_again_and_again_stay_small() {
    let size = 1 << 14;
    for target in &targets() {
        let plan = plan_of(1, size, target, |s, x| {
            let mut x = x * s.param("weight", [size], Zeros);
            while x.dim(1) > 1 {
                let half = x.dim(1) / 2;
                x = x.slice_axis(1, 0, half) + x.slice_axis(1, half, 2 * half).tanh();
            }
            x.sum_all()
        });
        let exprs = plan.kernels.iter().map(|k| match &k.kind {
            KernelKind::Program(p) => p.exprs.len(),
            _ => 0,
        });
        let longest = exprs.max().unwrap();
        assert!(longest <= 400, "{longest} expressions on {}", target.name);
    }
}

/// Keys and values that are kept between tokens are not copied: a token costs its own row, and what
/// attention reads.
#[test]
fn caches_are_written_in_place() {
    let graph = Graph::new();
    let input = |name, shape: &[usize], dtype| graph.input(name, shape, dtype);
    let tokens = input("tokens", &[3, 1], DType::I32);
    let decoding = Decoding::new(tokens, 512).after(input("start", &[3], DType::I32));
    let scope = Scope::decode(&graph, decoding);
    let x = tokens.cast(DType::F32).reshape([3, 1, 1, 1]) * input("x", &[3, 1, 8, 4], DType::F32);
    let decoding = scope.decoding(x).unwrap();
    assert!(
        scope
            .decoding(input("memory", &[3, 9], DType::F32))
            .is_none()
    );
    let kept = decoding.write(scope.cache("kept", [3, 512, 8, 4], DType::F32), x);
    let y = kept.sum(&[1]);
    let target = Target::webgpu();
    let plan = lower(&Request {
        outputs: vec![("y".into(), y)],
        ..Request::new(
            "generate",
            &graph,
            SlabLayout::new(&graph.params(), &target).unwrap(),
            &target,
        )
    })
    .unwrap();
    plan.check().unwrap();
    let updates = plan.kernels.iter().filter_map(|k| match &k.kind {
        KernelKind::Update(update) => Some((update.in_place(), plan.traffic(k))),
        _ => None,
    });
    // The new rows are read and written, and where they go is read.
    assert_eq!(
        updates.collect::<Vec<_>>(),
        [(true, 2 * 3 * 32 * 4 + 3 * 4)]
    );
    let cached = plan.buffers.iter().filter(|b| b.role == Role::Cache(0));
    assert_eq!(cached.map(|b| b.bytes).sum::<u64>(), 3 * 512 * 32 * 4);
}
