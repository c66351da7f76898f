//! Whole training steps, evaluated node by node: the reference for a model's losses, gradients
//! and updated parameters.

use std::sync::Arc;

use gradus_graph::{At, DType, Graph, Node, NodeId, Optimizer, Shape, Var, update_of};

use super::tensor::{Float, Tensor, Values};
use super::{BadIndex, Feeds, OracleError, error, eval, row};

/// Trains as the model would, in the oracle's arithmetic.
#[derive(Clone, Debug)]
pub struct Trainer<T> {
    nodes: Vec<Node>,
    loss: NodeId,
    gradients: Vec<NodeId>,
    updates: Vec<(u32, NodeId)>,
    optimizer: Arc<dyn Optimizer>,
    rules: Vec<Rule>,
    clip_norm: Option<f64>,
    seed: u64,
    step: u32,
    /// The parameters, in the order of the graph.
    pub params: Vec<Tensor<T>>,
    /// The states of the model, in the order of the graph.
    pub states: Vec<Tensor<T>>,
    /// For each parameter, its optimizer states, in the order of [`Optimizer::states`].
    pub optimizer_states: Vec<Vec<Tensor<T>>>,
}

/// What one step computed.
#[derive(Clone, Debug)]
pub struct StepResult<T> {
    /// The loss, before the update.
    pub loss: T,
    /// The gradients, in the order of the parameters, before clipping.
    pub gradients: Vec<Tensor<T>>,
    /// The norm of all gradients together.
    pub gradient_norm: T,
    /// Other values that were asked for.
    pub values: Vec<Tensor<T>>,
    /// Indices that failed a check.
    pub bad_indices: Vec<BadIndex>,
}

/// The optimizer's update of one parameter. Inputs: parameter, gradient, states.
#[derive(Clone, Debug)]
struct Rule {
    nodes: Vec<Node>,
    outputs: Vec<NodeId>,
}

impl<T: Float> Trainer<T> {
    /// A trainer at step 0. `gradients` holds one gradient for each parameter of the graph, in
    /// order; optimizer and model states start as the optimizer and the graph say.
    ///
    /// # Errors
    /// If the graph or the optimizer's update cannot be built, or the numbers of gradients and
    /// values are not those of the graph's parameters.
    pub fn new(
        graph: &Graph,
        loss: Var<'_>,
        gradients: &[Var<'_>],
        params: Vec<Tensor<T>>,
        optimizer: Arc<dyn Optimizer>,
        seed: u64,
    ) -> Result<Self, OracleError> {
        graph.check().map_err(Box::new)?;
        let infos = graph.params();
        expect("gradients", infos.len(), gradients.len())?;
        expect("parameter values", infos.len(), params.len())?;
        let rules: Result<Vec<Rule>, OracleError> = infos
            .iter()
            .map(|p| Rule::trace(optimizer.as_ref(), &p.name, p.shape))
            .collect();
        let initial = |p: &gradus_graph::ParamInfo| {
            let initial = |k: usize| f64::from(optimizer.initial(k)).into();
            let states = (0..optimizer.states().len()).map(initial);
            states.map(|x| Tensor::full(p.shape, x)).collect()
        };
        let states = graph.states();
        Ok(Self {
            nodes: graph.nodes(),
            loss: loss.id(),
            gradients: gradients.iter().map(Var::id).collect(),
            updates: graph.updates(),
            rules: rules?,
            optimizer_states: infos.iter().map(initial).collect(),
            optimizer,
            clip_norm: None,
            seed,
            step: 0,
            params,
            states: states
                .iter()
                .map(|s| Tensor::full(s.meta.shape, s.init))
                .collect(),
        })
    }

    /// Scales all gradients together so that their norm is at most this:
    /// `g ← g · min(1, max_norm / (‖g‖ + 10⁻⁶))`.
    #[must_use]
    pub fn clip_norm(mut self, max_norm: f64) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// The number of steps done.
    pub const fn step_count(&self) -> u32 {
        self.step
    }

    /// One step: forward, backward, clipping, update. `wanted` names other nodes to evaluate,
    /// from the values before the update.
    ///
    /// # Errors
    /// If the inputs are not those of the graph.
    pub fn step(
        &mut self,
        inputs: Vec<Tensor<T>>,
        wanted: &[NodeId],
    ) -> Result<StepResult<T>, OracleError> {
        let row = row(
            self.step,
            self.seed,
            &self.optimizer.words(&At::step(self.step)),
        );
        let feeds = Feeds {
            inputs,
            params: self.params.clone(),
            states: self.states.clone(),
            row,
        };
        let mut nodes = vec![self.loss];
        nodes.extend(&self.gradients);
        nodes.extend(self.updates.iter().map(|(_, value)| *value));
        nodes.extend(wanted);
        let found = eval(&self.nodes, &feeds, &nodes)?;
        let mut values = found.values;
        let mut rest = values.split_off(1 + self.gradients.len());
        let gradients = values.split_off(1);
        let others = rest.split_off(self.updates.len());
        let loss = scalar(values.first())?;

        let norm = norm(&gradients);
        let scale = self.clip_norm.map(|max| {
            let ratio = T::of(max) / (norm + T::of(1e-6));
            ratio.minimum(T::of(1.0))
        });
        for (i, gradient) in gradients.iter().enumerate() {
            let gradient = scale.map_or_else(|| gradient.clone(), |s| scaled(gradient, s));
            self.update(i, gradient, row)?;
        }
        for ((state, _), value) in self.updates.iter().zip(rest) {
            if let Some(held) = self.states.get_mut(*state as usize) {
                *held = value;
            }
        }
        self.step += 1;
        Ok(StepResult {
            loss,
            gradients,
            gradient_norm: norm,
            values: others,
            bad_indices: found.bad_indices,
        })
    }

    /// Applies the optimizer to one parameter.
    fn update(
        &mut self,
        i: usize,
        gradient: Tensor<T>,
        row: gradus_graph::backend::StepRow,
    ) -> Result<(), OracleError> {
        let found = (
            self.params.get_mut(i),
            self.optimizer_states.get_mut(i),
            self.rules.get(i),
        );
        let (Some(param), Some(states), Some(rule)) = found else {
            return Ok(());
        };
        let mut inputs = vec![param.clone(), gradient];
        inputs.append(states);
        let feeds = Feeds {
            row,
            ..Feeds::inputs(inputs)
        };
        let mut values = eval(&rule.nodes, &feeds, &rule.outputs)?.values;
        *states = values.split_off(1);
        if let Some(value) = values.pop() {
            *param = value;
        }
        Ok(())
    }
}

impl Rule {
    fn trace(optimizer: &dyn Optimizer, of: &str, shape: Shape) -> Result<Self, OracleError> {
        let graph = Graph::new();
        let input = |name: &str| graph.input(name, shape, DType::F32);
        let (param, grad) = (input("param"), input("grad"));
        let states: Vec<Var<'_>> = optimizer.states().iter().map(|s| input(s)).collect();
        let update = update_of(optimizer, of, param, grad, &states);
        graph.check().map_err(Box::new)?;
        expect("new optimizer states", states.len(), update.states.len())?;
        let mut outputs = vec![update.param.id()];
        outputs.extend(update.states.iter().map(Var::id));
        let before = [param].into_iter().chain(states);
        let after = [update.param].into_iter().chain(update.states);
        for (before, after) in before.zip(after) {
            if before.meta() != after.meta() {
                let metas = (before.meta(), after.meta());
                return Err(error::feed(after.id(), "optimizer", metas.0, metas.1));
            }
        }
        Ok(Self {
            nodes: graph.nodes(),
            outputs,
        })
    }
}

fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), OracleError> {
    let count = OracleError::Count {
        what,
        expected,
        found,
    };
    (expected == found).then_some(()).ok_or(count)
}

fn scalar<T: Float>(value: Option<&Tensor<T>>) -> Result<T, OracleError> {
    let first = value.and_then(Tensor::floats).and_then(<[T]>::first);
    first.copied().ok_or(OracleError::Count {
        what: "values of the loss",
        expected: 1,
        found: 0,
    })
}

fn norm<T: Float>(gradients: &[Tensor<T>]) -> T {
    let elements = gradients.iter().filter_map(Tensor::floats).flatten();
    elements.fold(T::of(0.0), |sum, &g| sum + g * g).sqrt()
}

fn scaled<T: Float>(x: &Tensor<T>, by: T) -> Tensor<T> {
    let values = x.floats().unwrap_or_default().iter().map(|&v| v * by);
    Tensor::of(x.shape(), Values::Float(values.collect()))
}

#[cfg(test)]
mod tests {
    use gradus_graph::{Array, Rate, Scope, Update, grad, step_row};

    use super::*;

    /// `p − word · g`, and a count of steps.
    #[derive(Debug)]
    struct Plain;

    impl Optimizer for Plain {
        fn states(&self) -> Vec<&'static str> {
            vec!["count"]
        }

        fn rate(&self, _: &At<'_>) -> Rate {
            Rate {
                learning_rate: 1.0,

                momentum: 0.0,
            }
        }

        #[allow(clippy::cast_precision_loss, reason = "a few steps")]
        fn row(&self, step: u32, _: Rate) -> Vec<f32> {
            vec![step as f32 + 1.0]
        }

        fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
            let rate = param.graph().step_word(step_row::OPTIMIZER);
            Update {
                param: param - rate * grad,
                states: states.iter().map(|&s| s + 1.0).collect(),
            }
        }
    }

    #[derive(Debug)]
    struct Ones;

    impl gradus_graph::Init for Ones {
        fn sample(&self, shape: &Shape, _: &mut gradus_graph::philox::Rng) -> Vec<f32> {
            vec![1.0; shape.numel()]
        }
    }

    #[test]
    fn parameters_optimizer_and_model_states_move_together() {
        let graph = Graph::new();
        let scope = Scope::root(&graph, true);
        let p = scope.param("p", [2, 2], Ones);
        let x = graph.input("x", [2, 2], DType::F32);
        let seen = scope.state("seen", (), DType::F32, 0.5);
        scope.update(seen, seen + x.sum_all());
        let loss = (p * x).sum_all() + seen;
        let gradients = grad(loss, &graph.param_vars());
        let ones = Tensor::<f64>::full(p.shape(), 1.0.into());
        let plain = Arc::new(Plain);
        let mut trainer = Trainer::new(&graph, loss, &gradients, vec![ones], plain, 3).unwrap();

        let x = Tensor::from_array(&Array::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap());
        let first = trainer.step(vec![x.clone()], &[p.id()]).unwrap();
        assert_eq!((first.loss, first.gradient_norm), (10.5, 30f64.sqrt()));
        assert_eq!(first.values[0].to_f64(), [1.0; 4]);
        assert_eq!(trainer.params[0].to_f64(), [0.0, -1.0, -2.0, -3.0]);
        assert_eq!(trainer.params[0].shape(), p.shape());
        trainer.step(vec![x], &[]).unwrap();
        assert_eq!(trainer.params[0].to_f64(), [-2.0, -5.0, -8.0, -11.0]);
        assert_eq!(trainer.states[0].to_f64(), [20.5]);
        assert_eq!(trainer.optimizer_states[0][0].to_f64(), [2.0; 4]);
        assert_eq!(trainer.step_count(), 2);
    }
}
