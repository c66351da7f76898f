//! Optimizers: pointwise expressions over parameter, gradient and states.
//!
//! Defaults and formulas are PyTorch's. The learning rate and all that depends on the step come
//! from the step row, so a schedule changes no kernel.

mod accumulate;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod ema;
mod groups;
mod lamb;
mod lion;
mod moments;
mod muon;
mod nadam;
mod radam;
mod rmsprop;
mod sgd;

pub use accumulate::Accumulate;
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adamw::AdamW;
pub use ema::Ema;
pub use groups::{Groups, Undecayed};
pub use lamb::Lamb;
pub use lion::Lion;
pub use muon::Muon;
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use gradus_graph::{Optimizer, Update, Var, step_row};

/// Word `i` of the optimizer's part of the step row.
fn word(like: Var<'_>, i: u32) -> Var<'_> {
    like.graph().step_word(step_row::OPTIMIZER + i)
}

/// Records a mistake unless `value` is finite and in `range`. `range` in words is `expected`.
#[track_caller]
fn check(var: Var<'_>, optimizer: &'static str, name: &str, value: f64, expected: Expected) {
    let fits = match expected {
        Expected::Positive => value > 0.0,
        Expected::NotNegative => value >= 0.0,
        Expected::Share => (0.0..1.0).contains(&value),
    };
    if !fits || !value.is_finite() {
        let words = match expected {
            Expected::Positive => "greater than 0",
            Expected::NotNegative => "0 or more",
            Expected::Share => "at least 0 and below 1",
        };
        let message = format!("{name} must be {words}, found {value}");
        var.graph().fail(optimizer, message);
    }
}

#[derive(Clone, Copy)]
enum Expected {
    Positive,
    NotNegative,
    Share,
}

/// The same for all settings of an optimizer.
#[track_caller]
fn checks(var: Var<'_>, optimizer: &'static str, settings: &[(&str, f64, Expected)]) {
    for &(name, value, expected) in settings {
        check(var, optimizer, name, value, expected);
    }
}

/// The gradient with that of the penalty `½ · weight_decay · p²`.
fn decayed<'g>(grad: Var<'g>, param: Var<'g>, weight_decay: f64) -> Var<'g> {
    match weight_decay {
        0.0 => grad,
        decay => grad + param * decay,
    }
}

/// Parameter and gradient after weight decay: of the gradient, or of the parameter by the factor
/// in a word of the row.
fn decay<'g>(
    param: Var<'g>,
    grad: Var<'g>,
    weight_decay: f64,
    factor: Option<u32>,
) -> (Var<'g>, Var<'g>) {
    match factor {
        Some(_) if weight_decay == 0.0 => (param, grad),
        Some(i) => (param * word(param, i), grad),
        None => (param, decayed(grad, param, weight_decay)),
    }
}

/// Refuses another number of states than the optimizer has.
fn wants<'g>(
    name: &'static str,
    optimizer: &dyn Optimizer,
    param: Var<'g>,
    states: &[Var<'g>],
) -> Result<(), Update<'g>> {
    let expected = optimizer.states().len();
    if states.len() == expected {
        return Ok(());
    }
    let message = format!("expected {expected} states, found {}", states.len());
    param.graph().fail(name, message);
    Err(Update {
        param,
        states: states.to_vec(),
    })
}

#[allow(clippy::cast_possible_truncation, reason = "the step row is f32")]
fn row(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// The factors of one step of Adam: `1 / (1 − β1ᵗ)` and `1 / √(1 − β2ᵗ)` with `t = step + 1`.
fn bias_corrections(step: u32, beta1: f64, beta2: f64) -> (f64, f64) {
    let t = f64::from(step) + 1.0;
    let rest = |beta: f64| 1.0 - beta.powf(t);
    (1.0 / rest(beta1), 1.0 / rest(beta2).sqrt())
}
