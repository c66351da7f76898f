//! The settings of a model.

use std::sync::Arc;

use gradus_data::{Dataset, TARGET};
use gradus_graph::{DType, IntoShape, Optimizer, Storage};
use gradus_nn::{Loss, Metric, Network};

use crate::spec::{Field, Spec};
use crate::step::{Update, check_norm};
use crate::supervised::{self, Training};
use crate::{Device, Error, Model, Params, sample};

/// How a network becomes a model: data, device, loss, optimizer and more.
///
/// ```no_run
/// use gradus_data::datasets;
/// use gradus_nn::{Accuracy, Adam, CrossEntropy, Sequential};
/// use gradus_train::{Compile, IntoModel};
///
/// let data = datasets::digits();
/// let model = Sequential::new().dense(64).relu().dense(10).compile(
///     Compile::for_data(&data)
///         .loss(CrossEntropy::new()).optimizer(Adam::new(3e-3)).metric(Accuracy::new())
///         .batch(32).seed(7),
/// )?;
/// # Ok::<(), gradus_train::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "settings do nothing until a network is compiled with them"]
pub struct Compile {
    inputs: Vec<Field>,
    target: Option<Field>,
    classes: Option<usize>,
    data: Option<Dataset>,
    device: Option<Device>,
    loss: Option<Arc<dyn Loss>>,
    optimizer: Option<Arc<dyn Optimizer>>,
    metrics: Vec<Arc<dyn Metric>>,
    batch: Option<usize>,
    seed: u64,
    clip_norm: Option<f64>,
    storage: Storage,
    weights: Storage,
    memory_limit: Option<u64>,
    trained: Option<Params>,
    resident: bool,
    sabotage: Option<Sabotage>,
}

/// Changes a plan before it is compiled; for tests of `verify`.
pub(crate) type Sabotage = fn(&mut gradus_graph::Plan);

impl Compile {
    /// Samples shaped as those of `data`, with as many classes. The labels are checked against
    /// the output of the network.
    pub fn for_data(data: &Dataset) -> Self {
        let inputs = data.inputs().map(|(name, array)| Field::of(name, array));
        Self {
            inputs: inputs.collect(),
            target: Some(Field::of(TARGET, data.target())),
            classes: data.classes(),
            data: Some(data.clone()),
            ..Self::default()
        }
    }

    /// Without data: add the inputs with [`Compile::input`] and the target with
    /// [`Compile::target`]. With inputs and nothing about training the model predicts, and trains
    /// by the steps of [`Model::define_step`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input. `shape` is that of one sample, without the axis of the batch.
    pub fn input(mut self, name: &str, shape: impl IntoShape, dtype: DType) -> Self {
        self.inputs.push(Field::new(name, shape.dims(), dtype));
        self
    }

    /// What the network is compared with. `shape` is that of one sample: `[]` for a label.
    pub fn target(mut self, shape: impl IntoShape, dtype: DType) -> Self {
        self.target = Some(Field::new(TARGET, shape.dims(), dtype));
        self
    }

    /// Where the model runs; [`Device::best`] if not set.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// What training minimizes.
    pub fn loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Some(Arc::new(loss));
        self
    }

    /// How gradients become updates.
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Self {
        self.optimizer = Some(Arc::new(optimizer));
        self
    }

    /// Adds a number to report beside the loss.
    pub fn metric(mut self, metric: impl Metric + 'static) -> Self {
        self.metrics.push(Arc::new(metric));
        self
    }

    /// Samples in a step, at least 1; 32 if not set.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Seed of initial values, shuffling and dropout; 0 if not set. Same seed, device and driver:
    /// same bits.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Scales all gradients together so that their norm is at most `norm`, > 0.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// How training stores the values of the forward pass that the backward pass reads, as `f32`
    /// if not set. As [`Storage::Bf16`] they take half the memory and traffic, and training sees
    /// them rounded to 8 bits, as with PyTorch's `autocast`; values of fewer than 1024 elements,
    /// statistics of normalizations, results of attention, parameters, gradients and optimizer
    /// states stay `f32`, as does all arithmetic. Evaluation and prediction round nothing.
    ///
    /// No device needs a feature for it: two values lie in a word, and the planner has kernels pack
    /// and unpack them where they write and read.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// How the products of a training step read weights, as `f32` if not set. As
    /// [`Storage::Bf16`] each step rounds the parameters of matrix products and convolutions to
    /// copies of half the size, which its forward and its backward pass read; the optimizer goes on
    /// from the parameters themselves, which stay `f32`, as in Micikevicius et al. (2018),
    /// arXiv:1710.03740. Parameters of fewer than 1024 elements stay as they are; evaluation and
    /// prediction round nothing.
    pub fn weights(mut self, storage: Storage) -> Self {
        self.weights = storage;
        self
    }

    /// The most bytes of device memory that a training step may take: parameters, gradients,
    /// optimizer states, inputs, outputs and all that lies between kernels, as
    /// [`Model::plan`](crate::Model::plan) prints them. No limit if not set.
    ///
    /// A step that would take more computes values of its forward pass again where its backward
    /// pass needs them, as few operations as that takes; the plan says how many. Results are the
    /// same but for rounding: kernels are fused otherwise. Where that is not enough, `compile` says
    /// what the step takes at least. [`Scope::checkpoint`](gradus_graph::Scope::checkpoint) is the
    /// way to choose by hand.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Trains only these parameters; all if not set. The others stay as they are.
    pub fn train(mut self, params: Params) -> Self {
        self.trained = Some(params);
        self
    }

    /// Keeps the data set of [`Compile::for_data`] on the device during `fit`: a step then
    /// uploads only which samples it takes, at the cost of one kernel. Off if not set.
    pub fn resident(mut self, resident: bool) -> Self {
        self.resident = resident;
        self
    }

    /// Changes every plan before it is compiled, so that tests can see that
    /// [`Model::verify`] notices.
    #[doc(hidden)]
    pub fn sabotage(mut self, change: fn(&mut gradus_graph::Plan)) -> Self {
        self.sabotage = Some(change);
        self
    }

    /// What the network is trained with; `None` if nothing was said about it: the model then has
    /// the steps that its program defines.
    fn training(&self) -> Result<Option<Training>, Error> {
        let missing = |what: &str, call: &str| Error::setting(format!("no {what}: add {call}"));
        let set = (&self.target, &self.loss, &self.optimizer);
        let nothing = matches!((set, &self.metrics[..]), ((None, None, None), []));
        let plain = self.clip_norm.is_none()
            && [self.storage, self.weights] == [Storage::F32; 2]
            && self.memory_limit.is_none();
        if nothing && plain && self.trained.is_none() {
            return Ok(None);
        }
        let target = set
            .0
            .clone()
            .ok_or_else(|| missing("target", "`Compile::for_data(&data)` or `.target(…)`"))?;
        let loss = set.1.clone();
        let loss = loss.ok_or_else(|| missing("loss", "`.loss(CrossEntropy::new())`"))?;
        let optimizer = set.2.clone();
        let optimizer =
            optimizer.ok_or_else(|| missing("optimizer", "`.optimizer(Adam::new(1e-3))`"))?;
        self.clip_norm.map_or(Ok(()), check_norm)?;
        Ok(Some(Training {
            target,
            loss,
            metrics: self.metrics.clone(),
            update: Update {
                params: self.trained.clone().unwrap_or_else(Params::all),
                optimizer,
                clip_norm: self.clip_norm,
                storage: self.storage,
                weights: self.weights,
                memory_limit: self.memory_limit,
            },
        }))
    }

    fn model(self, network: Arc<dyn Network>) -> Result<Model, Error> {
        if self.inputs.is_empty() {
            let message = "no inputs: add `Compile::for_data(&data)` or `.input(…)`";
            return Err(Error::setting(message));
        }
        let training = self.training()?;
        let mut batch = self.batch.unwrap_or(32);
        if batch == 0 {
            return Err(Error::setting("the batch must be at least 1, found 0"));
        }
        let resident = match (self.resident, &self.data) {
            (false, _) => None,
            (true, Some(data)) => {
                batch = batch.min(data.len());
                Some(data.len())
            }
            (true, None) => {
                let message = "a resident data set needs `Compile::for_data`";
                return Err(Error::setting(message));
            }
        };
        let sample = match &self.data {
            Some(data) => sample::spread(data, batch)?,
            None => {
                let fields = self.inputs.iter().chain(&self.target);
                sample::random(fields, batch, self.classes.unwrap_or(2))?
            }
        };
        let device = match self.device {
            Some(device) => device,
            None => Device::best()?,
        };
        let spec = Spec {
            network: Arc::clone(&network),
            inputs: self.inputs,
            classes: self.classes,
            loss: self.loss,
            metrics: self.metrics,
            batch,
            seed: self.seed,
            resident,
            sample,
            sabotage: self.sabotage,
        };
        let (first, others) = supervised::steps(network, training, &spec);
        Model::new(spec, device, first, others)
    }
}

/// Turns networks into models.
pub trait IntoModel: Network + Sized + 'static {
    /// Traces the network, plans a training step, prepares the device and makes the initial
    /// parameters.
    ///
    /// # Errors
    /// If a setting is missing, a layer does not fit its input (the error names the layer and
    /// its line), labels do not fit the output, or the device cannot hold or run the model.
    fn compile(self, settings: Compile) -> Result<Model, Error> {
        settings.model(Arc::new(self))
    }
}

impl<N: Network + 'static> IntoModel for N {}
