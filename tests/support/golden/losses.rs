//! `09a`, `09b`: cross-entropy, also of logarithms of probabilities, and binary cross-entropy with
//! every option.

use std::sync::Arc;

use gradus_graph::{Scope, Var};
use gradus_nn::{BceWithLogits, CrossEntropy, Loss, Nll, Reduction};

use super::{Case, File, one, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cross_entropy();
    cases.extend(binary());
    cases
}

fn cross_entropy() -> Vec<Case> {
    let file = File::open("09a_cross_entropy_nll");
    let weights = file.get("in.class_w").as_f32().unwrap().to_vec();
    let plain = CrossEntropy::new;
    let weighted = || plain().class_weights(weights.clone());
    // Name, input, target, loss, reductions.
    let all = ["mean", "sum", "none"];
    let variants: Vec<(&str, [&str; 2], CrossEntropy, &[&str])> = vec![
        ("ce", ["x", "t_all"], plain(), &all),
        ("ce_ignore", ["x", "t"], plain().ignore(-100), &all),
        (
            "ce_weight_ignore",
            ["x", "t"],
            weighted().ignore(-100),
            &all,
        ),
        (
            "ce_smooth0.1",
            ["x", "t_all"],
            plain().label_smoothing(0.1),
            &all,
        ),
        (
            "ce_smooth0.1_weight_ignore",
            ["x", "t"],
            weighted().label_smoothing(0.1).ignore(-100),
            &all,
        ),
        ("ce_soft", ["x", "soft_t"], plain(), &["mean"]),
        ("ce_soft_w", ["x", "soft_t"], weighted(), &["sum"]),
        (
            "ce_soft_smooth0.2",
            ["x", "soft_t"],
            plain().label_smoothing(0.2),
            &["mean"],
        ),
        (
            "ce_spatial",
            ["img", "img_t"],
            plain().ignore(-100),
            &["mean"],
        ),
        ("ce_ext", ["x_ext", "t_ext"], plain(), &["none"]),
    ];
    let mut cases = Vec::new();
    for (name, inputs, loss, reductions) in variants {
        for &reduction in reductions {
            cases.push(case(&file, name, inputs, reduction, loss.clone()));
        }
    }
    for reduction in all {
        let plain = LogSoftmaxThen(Nll::new().ignore(-100));
        cases.push(case(&file, "nll_ignore", ["x", "t"], reduction, plain));
        let weighted = Nll::new().ignore(2).class_weights(weights.clone());
        let weighted = LogSoftmaxThen(weighted);
        let inputs = ["x", "t_all"];
        cases.push(case(
            &file,
            "nll_weight_ignore2",
            inputs,
            reduction,
            weighted,
        ));
    }
    let wanted = ["out.ce_all_ignored.mean", "out.ce_all_ignored.sum"];
    let inputs = ["in.x", "in.t_ignored"];
    cases.push(Case::new(
        &file,
        "ce_all_ignored",
        &inputs,
        &wanted,
        |g, x| {
            let scope = Scope::root(g, true);
            let loss = CrossEntropy::new().ignore(-100);
            let sum = loss.clone().reduction(Reduction::Sum);
            vec![
                loss.forward(&scope, x[0], x[1]),
                sum.forward(&scope, x[0], x[1]),
            ]
        },
    ));
    cases
}

fn binary() -> Vec<Case> {
    let file = File::open("09b_bce");
    let vector = |name: &str| file.get(name).as_f32().unwrap().to_vec();
    let weighted = BceWithLogits::new()
        .weight(vector("in.w"))
        .pos_weight(vector("in.pos_weight"));
    let variants = [
        ("bcel", "t01", BceWithLogits::new()),
        ("bcel_soft", "t", BceWithLogits::new()),
        ("bcel_w_pw", "t01", weighted),
    ];
    let mut cases = Vec::new();
    for (name, target, loss) in variants {
        for reduction in ["mean", "sum", "none"] {
            cases.push(case(&file, name, ["x", target], reduction, loss.clone()));
        }
    }
    cases
}

/// A loss with a reduction that the file names.
fn case<L>(file: &Arc<File>, name: &str, inputs: [&str; 2], reduction: &str, loss: L) -> Case
where
    L: Loss + Reduced + 'static,
{
    let wrt = if inputs[0] == "img" { "img" } else { "x" };
    let wanted = [
        format!("out.{name}.{reduction}"),
        format!("grad.{name}.{reduction}.{wrt}"),
    ];
    let wanted = wanted.each_ref().map(String::as_str);
    let mut names = inputs.map(|n| format!("in.{n}")).to_vec();
    let none = reduction == "none";
    let ext = inputs[0] == "x_ext";
    if none && !ext {
        names.push("in.gy".into());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let part = format!("{name}.{reduction}");
    let loss = loss.reduced(match reduction {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        _ => Reduction::None,
    });
    Case::new(file, &part, &names, &wanted, move |g, x| {
        let scope = Scope::root(g, true);
        if !none {
            return with_gradients(loss.forward(&scope, x[0], x[1]), one(g), &x[..1]);
        }
        let y = loss.forward(&scope, x[0], x[1]);
        let dy = if ext { g.full(y.shape(), 1.0) } else { x[2] };
        with_gradients(y, dy, &x[..1])
    })
}

trait Reduced: Clone {
    fn reduced(self, reduction: Reduction) -> Self;
}

/// The gradient is that of the logits before.
#[derive(Clone, Debug)]
struct LogSoftmaxThen(Nll);

impl Loss for LogSoftmaxThen {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>, target: Var<'g>) -> Var<'g> {
        self.0.forward(scope, x.log_softmax(), target)
    }
}

impl Reduced for LogSoftmaxThen {
    fn reduced(self, reduction: Reduction) -> Self {
        Self(self.0.reduction(reduction))
    }
}

impl Reduced for CrossEntropy {
    fn reduced(self, reduction: Reduction) -> Self {
        self.reduction(reduction)
    }
}

impl Reduced for BceWithLogits {
    fn reduced(self, reduction: Reduction) -> Self {
        self.reduction(reduction)
    }
}
