//! Steps of the program's own: defining and running them.

use gradus_data::Batch;

use crate::spec::{self, Field};
use crate::{Error, Model, Step, Ticket, sample, trace};

impl Model {
    /// Defines a step of its own, beside those of [`compile`](crate::IntoModel::compile), over the
    /// same parameters: another loss, another optimizer with states of its own, other inputs.
    ///
    /// `define` gets a step without anything and says what it takes and computes. Values are
    /// functions of the named inputs and of the parameters at their paths: the same path is the
    /// same parameter in every step, and a path that no step used before is a new one. The plan
    /// is made at once; [`Model::run`] runs it, in any order with other steps.
    ///
    /// ```
    /// use gradus_data::Batch;
    /// use gradus_graph::{Array, DType};
    /// use gradus_nn::{Adam, Functional, Sequential, Sgd};
    /// use gradus_train::{Compile, Device, IntoModel, params};
    ///
    /// let generator = Sequential::new().dense(16).relu().dense(2);
    /// let critic = Sequential::new().dense(16).relu().dense(1);
    /// let made = generator.clone();
    /// let net = Functional::new(move |scope, inputs| {
    ///     scope.apply("gen", &made, inputs.get(scope.graph(), "z")).into()
    /// });
    /// let settings = Compile::new().input("z", 4, DType::F32).device(Device::cpu()).batch(8);
    /// let mut model = net.compile(settings)?;
    ///
    /// let (made, judge) = (generator.clone(), critic.clone());
    /// model.define_step("disc", |s| {
    ///     s.input("z", 4, DType::F32).input("real", 2, DType::F32).minimize(
    ///         move |scope, inputs| {
    ///             let get = |name| inputs.get(scope.graph(), name);
    ///             let fake = scope.apply("gen", &made, get("z"));
    ///             let score = |x| scope.apply("disc", &judge, x).mean_all();
    ///             (score(fake) - score(get("real"))).into()
    ///         },
    ///         params("disc."),
    ///         Adam::new(1e-3),
    ///     )
    /// })?;
    /// model.define_step("gen", |s| {
    ///     s.input("z", 4, DType::F32).minimize(
    ///         move |scope, inputs| {
    ///             let fake = scope.apply("gen", &generator, inputs.get(scope.graph(), "z"));
    ///             (-scope.apply("disc", &critic, fake).mean_all()).into()
    ///         },
    ///         params("gen."),
    ///         Sgd::new(1e-2),
    ///     )
    /// })?;
    ///
    /// let z = Batch::new().with("z", Array::new([8, 4], vec![0.5f32; 32])?);
    /// let both = z.clone().with("real", Array::new([8, 2], vec![1.0f32; 16])?);
    /// model.run("disc", &both)?;
    /// let ticket = model.run("gen", &z)?;
    /// println!("{}", model.wait(ticket)?);
    /// let fake = model.predict(&z)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the step takes or computes nothing, a layer does not fit its input, the loss is no
    /// scalar or depends on none of the parameters that are to be trained, there is a step of
    /// that name, or the device cannot hold or run the step. The model then stays as it is.
    pub fn define_step(
        &mut self,
        name: &str,
        define: impl FnOnce(Step) -> Step,
    ) -> Result<(), Error> {
        self.settle()?;
        if name.is_empty() || name.contains('/') || self.find(name).is_ok() {
            let message = format!("`{name}` is no name for a step: empty, with a `/`, or taken");
            return Err(Error::setting(message));
        }
        let step = define(Step::default());
        let sample = self.sample(&step.fields)?;
        self.define(step.named(name, sample)?)?;
        Ok(())
    }

    /// The sample of the model's data where a field has the same name, shape and dtype; random
    /// numbers elsewhere.
    fn sample(&self, fields: &[Field]) -> Result<Batch, Error> {
        let classes = self.spec.classes.unwrap_or(2);
        let mut batch = sample::random(fields.iter(), self.spec.batch, classes)?;
        for field in fields {
            let known = self.spec.sample.get(&field.name);
            if let Some(array) = known.filter(|a| Field::of(&field.name, a) == *field) {
                batch = batch.with(&field.name, array.clone());
            }
        }
        Ok(batch)
    }

    /// Submits a step by its name and returns at once. At most three steps are under way: a
    /// further one waits for the oldest.
    ///
    /// The batch may have another number of samples than the model was compiled for; a plan for
    /// that number is then compiled when it first occurs. The steps of
    /// [`compile`](crate::IntoModel::compile) are `train`, `evaluate`, `predict`,
    /// `predict_proba` and `predict_classes`.
    ///
    /// # Errors
    /// If there is no step of this name, the batch lacks an array or has another one, the device
    /// fails, or an earlier step met an index out of range.
    pub fn run(&mut self, name: &str, batch: &Batch) -> Result<Ticket, Error> {
        let step = self.find(name)?;
        spec::check_extra(self.fields(step), batch)?;
        let samples = spec::check_batch(self.fields(step), batch)?;
        let program = self.program((step, samples, false))?;
        let words = spec::words(self.fields(step), batch);
        let words = words
            .iter()
            .map(|(name, words)| (name.as_str(), &words[..]));
        self.engine.feed(program, words, samples)?;
        let ticket = self.ticket();
        self.train((step, program), &[0], samples)?;
        Ok(ticket)
    }

    /// Runs a step, waits for it and gives its outputs: what its function computed that is no
    /// scalar. Its scalars are reported as by [`Model::run`].
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn outputs(&mut self, name: &str, batch: &Batch) -> Result<Batch, Error> {
        let phase = self.phase(self.find(name)?, 0);
        self.run(name, batch)?;
        self.settle()?;
        let program = self.program_in((self.find(name)?, batch.len(), false), phase)?;
        let mut outputs = Batch::new();
        for name in self.engine.outputs(program) {
            let array = self.engine.output(program, &name)?;
            outputs = outputs.with(name, array);
        }
        Ok(outputs)
    }

    /// The plan of a step for as many samples as the model was compiled for.
    ///
    /// # Errors
    /// If there is no step of this name, or it cannot be planned.
    pub fn plan_of(&mut self, name: &str) -> Result<std::sync::Arc<gradus_graph::Plan>, Error> {
        let step = self.find(name)?;
        let key = (step, self.spec.batch, self.is_resident(step));
        let update = self
            .defined
            .get(step)
            .and_then(|d| d.definition.update.as_ref());
        let program = self.program_in(key, trace::last_phase(update))?;
        self.engine.plan(program)
    }
}
