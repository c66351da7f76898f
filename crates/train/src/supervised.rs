//! The steps that `compile` defines: a network, and what a loss makes of its prediction.

use std::sync::Arc;

use gradus_graph::{Scope, Var};
use gradus_nn::{Loss, Metric, Network, Vars};

use crate::Error;
use crate::spec::{Field, Spec, check_classes};
use crate::step::{Body, Definition, Results, Update};

/// Loss, metrics, gradients, update.
pub(crate) const TRAIN: &str = "train";
/// Loss and metrics, as in use: no dropout.
pub(crate) const EVALUATE: &str = "evaluate";
/// The outputs of the network.
pub(crate) const PREDICT: &str = "predict";
/// Probabilities of classes.
pub(crate) const PROBABILITIES: &str = "predict_proba";
/// Classes.
pub(crate) const CLASSES: &str = "predict_classes";

/// What the network is trained with.
pub(crate) struct Training {
    pub(crate) target: Field,
    pub(crate) loss: Arc<dyn Loss>,
    pub(crate) metrics: Vec<Arc<dyn Metric>>,
    pub(crate) update: Update,
}

/// The steps of a network, the one that says which parameters there are first.
pub(crate) fn steps(
    network: Arc<dyn Network>,
    training: Option<Training>,
    spec: &Spec,
) -> (Definition, Vec<Definition>) {
    let step = |name: &str, body: Arc<dyn Body>, target: Option<&Field>, update| Definition {
        name: name.to_owned(),
        fields: spec.inputs.iter().chain(target).cloned().collect(),
        body,
        update,
        sample: spec.sample.clone(),
    };
    let asked = |answer: Answer| {
        Arc::new(Asked {
            network: Arc::clone(&network),
            answer,
        })
    };
    let predict = step(PREDICT, asked(Answer::Outputs), None, None);
    let Some(training) = training else {
        return (predict, Vec::new());
    };
    let compared = Arc::new(Compared {
        network: Arc::clone(&network),
        target: training.target.name.clone(),
        loss: Arc::clone(&training.loss),
        metrics: training.metrics,
        classes: spec.classes,
    });
    let target = Some(&training.target);
    let (body, loss) = (|| Arc::clone(&compared) as Arc<dyn Body>, &training.loss);
    let train = step(TRAIN, body(), target, Some(training.update));
    let others = vec![
        step(EVALUATE, body(), target, None),
        predict,
        step(
            PROBABILITIES,
            asked(Answer::Probabilities(Arc::clone(loss))),
            None,
            None,
        ),
        step(
            CLASSES,
            asked(Answer::Classes(Arc::clone(loss))),
            None,
            None,
        ),
    ];
    (train, others)
}

/// The network's prediction beside the target.
struct Compared {
    network: Arc<dyn Network>,
    target: String,
    loss: Arc<dyn Loss>,
    metrics: Vec<Arc<dyn Metric>>,
    classes: Option<usize>,
}

impl Body for Compared {
    fn trace<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Result<Results<'g>, Error> {
        let others = inputs.iter().filter(|(name, _)| *name != self.target);
        let others = others.fold(Vars::new(), |vars, (name, var)| vars.with(name, var));
        let (_, prediction) = predict(&*self.network, scope, &others);
        let target = inputs.get(scope.graph(), &self.target);
        let loss = self.loss.forward(scope, prediction, target);
        let mut reports = vec![("loss".to_owned(), loss)];
        for metric in &self.metrics {
            let value = metric.forward(scope, &*self.loss, prediction, target);
            reports.push((metric.name().to_owned(), value));
        }
        scope.graph().check()?;
        check_classes(&*self.loss, self.classes, prediction.shape())?;
        Ok(Results {
            outputs: Vec::new(),
            reports,
            prediction: prediction.shape(),
        })
    }
}

/// What a network is asked for.
enum Answer {
    Outputs,
    Probabilities(Arc<dyn Loss>),
    Classes(Arc<dyn Loss>),
}

struct Asked {
    network: Arc<dyn Network>,
    answer: Answer,
}

impl Body for Asked {
    fn trace<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Result<Results<'g>, Error> {
        let (outputs, prediction) = predict(&*self.network, scope, inputs);
        let one = |name: &'static str, loss: &dyn Loss, var: Option<Var<'g>>| match var {
            Some(var) => Ok(vec![(name.to_owned(), var)]),
            None => Err(Error::NotClasses {
                loss: format!("{loss:?}"),
                what: name,
            }),
        };
        let outputs = match &self.answer {
            Answer::Outputs => outputs.iter().map(|(n, v)| (n.to_owned(), v)).collect(),
            Answer::Probabilities(loss) => {
                one("probabilities", &**loss, loss.probabilities(prediction))?
            }
            Answer::Classes(loss) => one("classes", &**loss, loss.classes(prediction))?,
        };
        Ok(Results {
            outputs,
            reports: Vec::new(),
            prediction: prediction.shape(),
        })
    }
}

/// All outputs, and the first one.
fn predict<'g>(network: &dyn Network, scope: &Scope<'g>, inputs: &Vars<'g>) -> (Vars<'g>, Var<'g>) {
    let outputs = network.outputs(scope, inputs);
    let none = || "expected an output, found none".to_owned();
    let first = outputs.first();
    let first = first.unwrap_or_else(|| scope.graph().fail("network", none()));
    (outputs, first)
}
