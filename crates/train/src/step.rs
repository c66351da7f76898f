//! Steps: what a model can run, and how programs define their own.

use std::fmt;
use std::sync::Arc;

use gradus_data::Batch;
use gradus_graph::{DType, IntoShape, Optimizer, Scope, Shape, Storage, Var};
use gradus_nn::{OUTPUT, Vars};

use crate::spec::Field;
use crate::{Error, Params};

/// What a step takes and computes, as [`Model::define_step`](crate::Model::define_step) asks.
#[derive(Default)]
#[must_use = "a step that is dropped is not defined"]
pub struct Step {
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Option<Arc<dyn Body>>,
    pub(crate) update: Option<Update>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) storage: Storage,
    pub(crate) weights: Storage,
    pub(crate) memory_limit: Option<u64>,
}

/// How a step changes parameters.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) params: Params,
    pub(crate) optimizer: Arc<dyn Optimizer>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) storage: Storage,
    pub(crate) weights: Storage,
    pub(crate) memory_limit: Option<u64>,
}

/// A step with a name.
#[derive(Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Arc<dyn Body>,
    pub(crate) update: Option<Update>,
    /// The batch that `verify` takes.
    pub(crate) sample: Batch,
}

/// What a step computes of its inputs.
pub(crate) trait Body: Send + Sync {
    fn trace<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Result<Results<'g>, Error>;
}

/// What a step computed.
pub(crate) struct Results<'g> {
    /// Arrays that can be read after the step.
    pub(crate) outputs: Vec<(String, Var<'g>)>,
    /// Scalars that the step reports: first the loss, if it trains.
    pub(crate) reports: Vec<(String, Var<'g>)>,
    /// The shape of the network's prediction, if there is one, batch included.
    pub(crate) prediction: Shape,
}

impl Step {
    /// Adds an input. `shape` is that of one sample, without the axis of the batch.
    pub fn input(mut self, name: &str, shape: impl IntoShape, dtype: DType) -> Self {
        self.fields.push(Field::new(name, shape.dims(), dtype));
        self
    }

    /// Trains: the first value that `f` gives is the loss, an `f32` scalar; `optimizer` moves
    /// those of the parameters `params` on which the loss depends against its gradient. All other
    /// parameters stay as they are.
    ///
    /// Values after the loss are treated as by [`Step::compute`]. A loss by itself is
    /// `loss.into()` and reported as `loss`. Layers know that they train
    /// ([`Scope::training`]).
    pub fn minimize<F>(mut self, f: F, params: Params, optimizer: impl Optimizer + 'static) -> Self
    where
        F: for<'g> Fn(&Scope<'g>, &Vars<'g>) -> Vars<'g> + Send + Sync + 'static,
    {
        self.update = Some(Update {
            params,
            optimizer: Arc::new(optimizer),
            clip_norm: None,
            storage: Storage::F32,
            weights: Storage::F32,
            memory_limit: None,
        });
        self.body = Some(Arc::new(Own { f, trains: true }));
        self
    }

    /// Trains nothing: computes the values that `f` gives. Of these, `f32` scalars are reported
    /// ([`Model::wait`](crate::Model::wait)), all others are outputs
    /// ([`Model::outputs`](crate::Model::outputs)).
    pub fn compute<F>(mut self, f: F) -> Self
    where
        F: for<'g> Fn(&Scope<'g>, &Vars<'g>) -> Vars<'g> + Send + Sync + 'static,
    {
        self.update = None;
        self.body = Some(Arc::new(Own { f, trains: false }));
        self
    }

    /// Scales the gradients of this step together so that their norm is at most `norm`, > 0.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// How this step stores the values of its forward pass that its backward pass reads: see
    /// [`Compile::storage`](crate::Compile::storage).
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// How the products of this step read weights: see
    /// [`Compile::weights`](crate::Compile::weights).
    pub fn weights(mut self, storage: Storage) -> Self {
        self.weights = storage;
        self
    }

    /// The most bytes that this step may take: see
    /// [`Compile::memory_limit`](crate::Compile::memory_limit).
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// This step under a name; refuses what is missing.
    pub(crate) fn named(mut self, name: &str, sample: Batch) -> Result<Definition, Error> {
        let refuse = |what: &str| Err(Error::setting(format!("step `{name}` {what}")));
        let Some(body) = self.body else {
            return refuse("computes nothing: add `.minimize(…)` or `.compute(…)`");
        };
        if self.fields.is_empty() {
            return refuse("has no inputs: add `.input(…)`");
        }
        if let Some(norm) = self.clip_norm {
            check_norm(norm)?;
            match &mut self.update {
                Some(update) => update.clip_norm = Some(norm),
                None => return refuse("clips gradients but has none: add `.minimize(…)`"),
            }
        }
        match &mut self.update {
            Some(update) => {
                update.storage = self.storage;
                update.weights = self.weights;
                update.memory_limit = self.memory_limit;
            }
            None if [self.storage, self.weights] == [Storage::F32; 2]
                && self.memory_limit.is_none() => {}
            None => {
                return refuse(
                    "has no backward pass to store values for or to limit: add `.minimize(…)`",
                );
            }
        }
        Ok(Definition {
            name: name.to_owned(),
            fields: self.fields,
            body,
            update: self.update,
            sample,
        })
    }
}

/// Refuses a norm that nothing can be clipped to.
pub(crate) fn check_norm(norm: f64) -> Result<(), Error> {
    if norm > 0.0 {
        return Ok(());
    }
    let message = format!("the norm to clip at must be above 0, found {norm}");
    Err(Error::setting(message))
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("fields", &self.fields)
            .field("update", &self.update)
            .finish_non_exhaustive()
    }
}

/// A step of the program's own.
struct Own<F> {
    f: F,
    trains: bool,
}

impl<F> Body for Own<F>
where
    F: for<'g> Fn(&Scope<'g>, &Vars<'g>) -> Vars<'g> + Send + Sync,
{
    fn trace<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>) -> Result<Results<'g>, Error> {
        let values = (self.f)(scope, inputs);
        let mut results = Results {
            outputs: Vec::new(),
            reports: Vec::new(),
            prediction: Shape::SCALAR,
        };
        for (i, (name, var)) in values.iter().enumerate() {
            let is_loss = self.trains && i == 0;
            let is_scalar = var.rank() == 0 && var.dtype() == DType::F32;
            let name = if is_loss && name == OUTPUT {
                "loss"
            } else {
                name
            };
            let of = if is_loss || is_scalar {
                &mut results.reports
            } else {
                &mut results.outputs
            };
            of.push((name.to_owned(), var));
        }
        if results.outputs.is_empty() && results.reports.is_empty() {
            scope
                .graph()
                .fail("step", "expected a value, found none".to_owned());
        }
        Ok(results)
    }
}
