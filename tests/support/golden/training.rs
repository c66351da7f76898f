//! `01`, `06`: trainings to repeat step by step.

use std::sync::Arc;

use gradus_cpu::oracle::{Float, Tensor, Trainer};
use gradus_graph::philox::Rng;
use gradus_graph::{Array, DType, Graph, Init, Optimizer, Scope, Shape, Var, grad};
use gradus_nn::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, CrossEntropy, Dense, Loss, Muon, NAdam, RAdam, RmsProp,
    Sgd,
};

use super::{F32, File, network};
use crate::support::evaluator::{Evaluator, Fed, numbers};

/// A training to repeat: a loss, an optimizer and the batch of every step.
pub(crate) struct Training {
    /// `file/part`.
    pub(crate) name: String,
    pub(super) file: Arc<File>,
    /// Declares the inputs, in the order of the batches, and the parameters, with their stored
    /// initial values; gives the loss.
    pub(crate) loss: LossBuild,
    /// The optimizer.
    pub(crate) optimizer: Arc<dyn Optimizer>,
    /// The norm that all gradients together are clipped to.
    pub(crate) clip_norm: Option<f64>,
    /// The inputs of every step.
    pub(crate) batches: Vec<Vec<Array>>,
    pub(super) check: Check,
}

pub(crate) type LossBuild = Box<dyn for<'g> Fn(&'g Graph) -> Var<'g> + Send + Sync>;
pub(super) type Check =
    Box<dyn Fn(&Training, &Trained, &dyn Evaluator) -> Result<(), String> + Send + Sync>;

/// What a training left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trained {
    /// Paths of the parameters, then of the model's states.
    pub(crate) names: Vec<String>,
    /// The loss of every step.
    pub(crate) losses: Vec<f64>,
    /// The gradients of the first step, before clipping.
    pub(crate) gradients: Vec<Array>,
    /// Parameters and model states after every step.
    pub(crate) after: Vec<Vec<Array>>,
    /// For each parameter, its optimizer states after the last step.
    pub(crate) states: Vec<Vec<Array>>,
}

/// Every training.
pub(crate) fn trainings() -> Vec<Training> {
    vec![
        optimizer("06_opt_sgd", Arc::new(Sgd::new(0.1))),
        optimizer("06_opt_sgd_nesterov_wd", Arc::new(nesterov(0.01))),
        optimizer("06_opt_adam", Arc::new(Adam::new(0.01))),
        optimizer("06_opt_adamw", Arc::new(AdamW::new(0.01).weight_decay(0.1))),
        optimizer("06_opt_rmsprop", Arc::new(RmsProp::new(0.01))),
        optimizer("06_opt_adagrad", Arc::new(Adagrad::new(0.1))),
        optimizer(
            "own_opt_adam_amsgrad",
            Arc::new(Adam::new(0.01).amsgrad().weight_decay(0.1)),
        ),
        optimizer(
            "own_opt_adamw_amsgrad",
            Arc::new(AdamW::new(0.01).amsgrad().weight_decay(0.1)),
        ),
        optimizer(
            "own_opt_adamax",
            Arc::new(Adamax::new(0.02).weight_decay(0.1)),
        ),
        optimizer("own_opt_nadam", Arc::new(nadam())),
        optimizer("own_opt_nadam_decoupled", Arc::new(nadam().decoupled())),
        optimizer(
            "own_opt_radam",
            Arc::new(RAdam::new(0.01).weight_decay(0.1)),
        ),
        optimizer(
            "own_opt_radam_decoupled",
            Arc::new(
                RAdam::new(0.01)
                    .weight_decay(0.1)
                    .decoupled()
                    .betas(0.8, 0.9),
            ),
        ),
        optimizer(
            "own_opt_adadelta",
            Arc::new(Adadelta::new(1.0).weight_decay(0.1)),
        ),
        optimizer("own_opt_muon", Arc::new(Muon::new(0.02))),
        optimizer(
            "own_opt_muon_match",
            Arc::new(
                Muon::new(0.02)
                    .match_adamw()
                    .no_nesterov()
                    .weight_decay(0.3),
            ),
        ),
        clipping("clip_norm1", 1.0),
        clipping("clip_norm100", 100.0),
        mlp("01b_mlp_adam", Arc::new(Adam::new(0.01)), |x| x.relu()),
        mlp(
            "01c_mlp_tanh_sgd_nesterov_wd",
            Arc::new(nesterov(1e-3)),
            |x| x.tanh(),
        ),
        network::training(),
    ]
}

fn nesterov(weight_decay: f64) -> Sgd {
    Sgd::new(0.1)
        .momentum(0.9)
        .nesterov()
        .weight_decay(weight_decay)
}

fn nadam() -> NAdam {
    NAdam::new(0.02).weight_decay(0.1)
}

/// Initial values from a file.
#[derive(Clone, Debug)]
pub(super) struct Stored(pub(super) Array);

impl Init for Stored {
    fn sample(&self, _: &Shape, _: &mut Rng) -> Vec<f32> {
        self.0.as_f32().unwrap().to_vec()
    }
}

/// Initial values of a graph's parameters.
pub(crate) fn initial_values(graph: &Graph) -> Vec<Array> {
    let sample = |p: &gradus_graph::ParamInfo| p.init.sample(&p.shape, &mut Rng::new(0, 0));
    let params = graph.params();
    params
        .iter()
        .map(|p| Array::new(p.shape, sample(p)).unwrap())
        .collect()
}

/// Paths of a graph's parameters, then of its states.
pub(crate) fn names(graph: &Graph) -> Vec<String> {
    let states = graph.states().into_iter().map(|s| s.name);
    let params = graph.params().into_iter().map(|p| p.name);
    params.chain(states).collect()
}

impl Training {
    /// One that no file knows.
    pub(crate) fn free(
        name: &str,
        loss: impl for<'g> Fn(&'g Graph) -> Var<'g> + Send + Sync + 'static,
        optimizer: Arc<dyn Optimizer>,
        batches: Vec<Vec<Array>>,
    ) -> Self {
        Self {
            name: name.to_string(),
            file: File::none(name),
            loss: Box::new(loss),
            optimizer,
            clip_norm: None,
            batches,
            check: Box::new(|_, _, _| Ok(())),
        }
    }

    /// Clips the norm of all gradients together.
    pub(crate) fn clip_norm(self, limit: f64) -> Self {
        Self {
            clip_norm: Some(limit),
            ..self
        }
    }

    /// Compares with the file. `evaluator` computes predictions with the trained parameters.
    pub(crate) fn check(&self, found: &Trained, evaluator: &dyn Evaluator) -> Result<(), String> {
        (self.check)(self, found, evaluator)
    }

    /// Repeats the training on the oracle.
    pub(crate) fn by_oracle<T: Float>(&self) -> Result<Trained, String> {
        let text = |e: gradus_cpu::oracle::OracleError| e.to_string();
        let graph = Graph::new();
        let loss = (self.loss)(&graph);
        let gradients = grad(loss, &graph.param_vars());
        let params = initial_values(&graph);
        let params = params.iter().map(Tensor::<T>::from_array).collect();
        let optimizer = Arc::clone(&self.optimizer);
        let trainer = Trainer::new(&graph, loss, &gradients, params, optimizer, 0);
        let mut trainer = trainer.map_err(text)?;
        if let Some(norm) = self.clip_norm {
            trainer = trainer.clip_norm(norm);
        }
        let mut found = Trained {
            names: names(&graph),
            ..Trained::default()
        };
        let arrays = |tensors: &[Tensor<T>]| -> Vec<Array> {
            tensors.iter().map(Tensor::to_array).collect()
        };
        for batch in &self.batches {
            let inputs = batch.iter().map(Tensor::from_array).collect();
            let step = trainer.step(inputs, &[]).map_err(text)?;
            found.losses.push(step.loss.into());
            if found.after.is_empty() {
                found.gradients = arrays(&step.gradients);
            }
            let after = [arrays(&trainer.params), arrays(&trainer.states)];
            found.after.push(after.concat());
        }
        found.states = trainer.optimizer_states.iter().map(|s| arrays(s)).collect();
        Ok(found)
    }

    /// Compares parameters after steps, and optimizer states, with all that the file holds.
    pub(super) fn check_updates(&self, found: &Trained) -> Result<(), String> {
        let position = |name: &str| found.names.iter().position(|n| n == name).unwrap();
        let mut checked = 0;
        for name in self.file.names() {
            if let Some((step, param)) = part(name, "out.after") {
                self.file
                    .check(name, &found.after[step - 1][position(param)])?;
            } else if let Some((_, rest)) = part(name, "out.state") {
                let (param, state) = rest.rsplit_once('.').unwrap();
                let states = self.optimizer.states();
                let state = states.iter().position(|s| *s == state).unwrap();
                let param = position(param);
                let shape = *found.after[0][param].shape();
                let value = found.states[param][state].clone().reshape(shape).unwrap();
                self.file.check(name, &value)?;
            } else if let Some(param) = name.strip_prefix("out.step0.grad.") {
                self.file.check(name, &found.gradients[position(param)])?;
            } else {
                continue;
            }
            checked += 1;
        }
        assert_ne!(checked, 0);
        Ok(())
    }
}

/// `out.after12.fc1.weight` gives (12, `fc1.weight`).
fn part<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (step, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((step.parse().ok()?, rest))
}

/// `Σ p · g`, whose gradient is the input `g`.
fn linear<'g>(graph: &'g Graph, params: &[(String, Array)]) -> Var<'g> {
    let terms = params.iter().map(|(name, value)| {
        let p = graph.param(name, *value.shape(), Stored(value.clone()));
        (p * graph.input(name, *value.shape(), F32)).sum_all()
    });
    terms.reduce(|a, b| a + b).unwrap()
}

fn optimizer(case: &str, optimizer: Arc<dyn Optimizer>) -> Training {
    let file = File::open(case);
    let params = ["p0", "p1"].map(|p| (p.to_string(), file.get(&format!("w.{p}"))));
    let steps = file.names().filter(|n| n.starts_with("in.g")).count() / 2;
    let batch = |k: usize| {
        ["p0", "p1"]
            .map(|p| file.get(&format!("in.g{k}.{p}")))
            .to_vec()
    };
    Training {
        name: format!("{case}/steps"),
        loss: Box::new(move |graph| linear(graph, &params)),
        optimizer,
        clip_norm: None,
        batches: (0..steps).map(batch).collect(),
        check: Box::new(|training, found, _| training.check_updates(found)),
        file,
    }
}

/// Parameters that start as 0 and go one step of rate 1 against the clipped gradients.
fn clipping(part: &'static str, max_norm: f64) -> Training {
    let file = File::open("06z_grad_clipping");
    let gradients = ["in.g0", "in.g1"].map(|name| file.get(name));
    let zeros = |g: &Array| Array::zeros(*g.shape(), DType::F32);
    let params = [("g0", 0), ("g1", 1)].map(|(name, i)| (name.to_string(), zeros(&gradients[i])));
    Training {
        name: format!("06z_grad_clipping/{part}"),
        loss: Box::new(move |graph| linear(graph, &params)),
        optimizer: Arc::new(Sgd::new(1.0)),
        clip_norm: Some(max_norm),
        batches: vec![gradients.to_vec()],
        check: Box::new(move |training, found, _| {
            for (name, value) in found.names.iter().zip(&found.after[0]) {
                let moved: Vec<f32> = value.as_f32().unwrap().iter().map(|v| -v).collect();
                let moved = Array::new(*value.shape(), moved).unwrap();
                training.file.check(&format!("out.{part}.{name}"), &moved)?;
            }
            Ok(())
        }),
        file,
    }
}

/// 64-32-10 on `x`, with stored initial values.
fn network<'g>(file: &File, x: Var<'g>, activation: Activation) -> Var<'g> {
    let scope = Scope::root(x.graph(), true);
    let dense = |name: &str, units| {
        Dense::new(units)
            .weight_init(Stored(file.get(&format!("w.{name}.weight"))))
            .bias_init(Stored(file.get(&format!("w.{name}.bias"))))
    };
    let h = scope.apply("fc1", &dense("fc1", 32), x);
    scope.apply("fc2", &dense("fc2", 10), activation(h))
}

type Activation = for<'g> fn(Var<'g>) -> Var<'g>;

fn mlp(case: &str, optimizer: Arc<dyn Optimizer>, activation: Activation) -> Training {
    const BATCH: usize = 64;
    let file = File::open(case);
    let (x, y) = (file.get("in.x"), file.get("in.y"));
    let batches = (0..10).map(|k| vec![rows(&x, k * BATCH, BATCH), rows(&y, k * BATCH, BATCH)]);
    let batches: Vec<Vec<Array>> = batches.collect();
    let stored = Arc::clone(&file);
    let kept = Arc::clone(&file);
    Training {
        name: format!("{case}/steps"),
        loss: Box::new(move |graph| {
            let x = graph.input("x", [BATCH, 64], F32);
            let y = graph.input("y", BATCH, DType::I32);
            let logits = network(&stored, x, activation);
            CrossEntropy::new().forward(&Scope::root(graph, true), logits, y)
        }),
        optimizer,
        clip_norm: None,
        batches,
        check: Box::new(move |training, found, evaluator| {
            training.check_updates(found)?;
            let losses = found.losses.iter().map(|&l| l as f32).collect::<Vec<_>>();
            kept.check("out.losses", &Array::vector(losses))?;
            let params = |step: Option<usize>| match step {
                Some(step) => found.after[step].clone(),
                None => Vec::new(),
            };
            let first = predict(
                &kept,
                &rows(&kept.get("in.x"), 0, BATCH),
                params(None),
                activation,
                evaluator,
            )?;
            kept.check("out.step0.logits", &first[0])?;
            let trained = predict(
                &kept,
                &kept.get("in.x_test"),
                params(Some(9)),
                activation,
                evaluator,
            )?;
            kept.check("out.test_logits", &trained[0])?;
            kept.check("out.test_pred", &trained[1])?;
            let right = numbers(&trained[1])
                .into_iter()
                .zip(numbers(&kept.get("in.y_test")));
            let right: Vec<bool> = right.map(|(a, b)| a == b).collect();
            let share = right.iter().filter(|r| **r).count() as f64 / right.len() as f64;
            kept.check("out.test_acc", &Array::scalar(share as f32))
        }),
        file,
    }
}

/// Logits and classes; with the stored initial values if no others are given.
fn predict(
    file: &File,
    x: &Array,
    params: Vec<Array>,
    activation: Activation,
    evaluator: &dyn Evaluator,
) -> Result<Vec<Array>, String> {
    let graph = Graph::new();
    let logits = network(file, graph.input("x", *x.shape(), F32), activation);
    let classes = logits.argmax(-1);
    let mut fed = Fed::inputs(vec![x.clone()]);
    fed.params = if params.is_empty() {
        initial_values(&graph)
    } else {
        params
    };
    Ok(evaluator.eval(&graph, &fed, &[logits, classes])?.values)
}

/// `count` rows from `first` on.
pub(super) fn rows(x: &Array, first: usize, count: usize) -> Array {
    let width: usize = x.shape()[1..].iter().product();
    let range = first * width..(first + count) * width;
    let shape = x.shape().with_axis(0, count);
    match x.data() {
        gradus_graph::Data::F32(v) => Array::new(shape, v[range].to_vec()),
        gradus_graph::Data::I32(v) => Array::new(shape, v[range].to_vec()),
        _ => panic!("x and y are f32 and i32"),
    }
    .unwrap()
}
