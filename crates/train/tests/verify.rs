//! `verify` passes for sound models, and names what was broken on purpose.

use gradus_data::{Dataset, datasets};
use gradus_graph::ops::{Composite, Meta, Unary};
use gradus_graph::plan::{KernelKind, Plan};
use gradus_graph::{Array, Expr, Var};
use gradus_nn::{Accuracy, Adam, AdamW, BceWithLogits, CrossEntropy, Mse, Sequential, Sgd};
use gradus_train::{Compile, Device, Fit, IntoModel, Verification};

fn digits() -> Dataset {
    datasets::digits().take(100).unwrap()
}

fn settings(data: &Dataset) -> Compile {
    Compile::for_data(data)
        .device(Device::cpu())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .metric(Accuracy::new())
        .batch(16)
        .seed(3)
}

fn net() -> Sequential {
    Sequential::new().dense(20).relu().dropout(0.2).dense(10)
}

fn assert_passed(found: &Verification) {
    println!("{found}");
    assert!(found.passed(), "{found}");
}

#[test]
fn a_sound_model_passes_before_and_after_training_and_stays_as_it_is() {
    let data = digits();
    let mut model = net().compile(settings(&data)).unwrap();
    assert_passed(&model.verify().unwrap());
    model.fit(&data, Fit::epochs(2)).unwrap();
    let before = model.digest().unwrap();
    let found = model.verify().unwrap();
    assert_passed(&found);
    assert_eq!(model.digest().unwrap(), before);
    assert!(found.to_json().contains("\"one_submit\": true"));
}

#[test]
fn resident_data_clipping_and_other_optimizers_pass() {
    let data = digits();
    let settings = settings(&data).resident(true).clip_norm(0.5);
    let sgd = Sgd::new(0.1).momentum(0.9).nesterov().weight_decay(1e-3);
    assert_passed(
        &net()
            .compile(settings.clone().optimizer(sgd))
            .unwrap()
            .verify()
            .unwrap(),
    );
    let adamw = AdamW::new(1e-3);
    assert_passed(
        &net()
            .compile(settings.optimizer(adamw))
            .unwrap()
            .verify()
            .unwrap(),
    );
}

#[test]
fn other_losses_and_activations_pass() {
    let x = Array::new(
        [40, 3],
        (0..120u8)
            .map(|i| f32::from(i % 17) / 9.0 - 1.0)
            .collect::<Vec<_>>(),
    );
    let y = Array::new(
        [40, 2],
        (0..80u8).map(|i| f32::from(i % 2)).collect::<Vec<_>>(),
    );
    let data = Dataset::from_arrays(x.unwrap(), y.unwrap()).unwrap();
    let net = || {
        Sequential::new()
            .dense(7)
            .gelu()
            .dense(5)
            .tanh()
            .dense(4)
            .elu(1.0)
            .dense(2)
    };
    let mse = settings(&data).loss(Mse::new());
    assert_passed(&net().compile(mse).unwrap().verify().unwrap());
    let bce = settings(&data).loss(BceWithLogits::new().pos_weight([2.0, 0.5]));
    assert_passed(
        &net()
            .softplus()
            .dense(2)
            .compile(bce)
            .unwrap()
            .verify()
            .unwrap(),
    );
}

/// Turns the activation in the epilogue of the first matmul that has one into another.
fn break_an_epilogue(plan: &mut Plan) {
    for kernel in &mut plan.kernels {
        if let KernelKind::MatMul(matmul) = &mut kernel.kind {
            for expr in &mut matmul.epilogue.exprs {
                if let Expr::Unary(op @ Unary::Tanh, _) = expr {
                    *op = Unary::Sin;
                    return;
                }
            }
        }
    }
}

#[test]
fn a_broken_epilogue_is_named() {
    let data = digits();
    let net = Sequential::new().dense(20).tanh().dense(10);
    let mut model = net
        .compile(settings(&data).sabotage(break_an_epilogue))
        .unwrap();
    let found = model.verify().unwrap();
    println!("{found}");
    assert!(!found.passed());
    let failures = found.failures();
    assert!(
        failures[0].starts_with("kernel 0 `1/matmul"),
        "{failures:?}"
    );
}

/// `x²` with the gradient of `x²/2`.
#[derive(Debug)]
struct BadSquare;

impl Composite for BadSquare {
    fn name(&self) -> &'static str {
        "bad_square"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        Ok(inputs[0])
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        x[0].square()
    }

    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        vec![Some(dy * x[0])]
    }
}

#[test]
fn a_broken_gradient_rule_is_named() {
    let data = digits();
    let net = Sequential::new()
        .dense(12)
        .with(|_, x| x.composite(BadSquare, &[]))
        .dense(10);
    let found = net.compile(settings(&data)).unwrap().verify().unwrap();
    println!("{found}");
    assert!(!found.passed());
    assert_eq!(found.rules.wrong.as_deref(), Some("bad_square in `1`"));
}
