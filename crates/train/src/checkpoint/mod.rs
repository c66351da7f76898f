//! Models as files: safetensors, with PyTorch's names.
//!
//! Parameters and states stand under their paths (`0.weight`), the optimizer's vectors under
//! `optimizer.exp_avg.0.weight`, those of the step `disc` under
//! `optimizer.disc/exp_avg.0.weight`. The metadata entry `gradus` says where training stood.

mod error;
mod file;

use std::path::{Path, PathBuf};

use gradus_graph::Array;

use crate::memory::Holds;
use crate::model::Defined;
use crate::{Error, Model};
use file::{Progress, Standing};

pub use error::CheckpointError;
pub use file::Matching;

impl Model {
    /// Writes parameters, states, the optimizer's vectors, step, epoch and seed: everything that
    /// is needed to go on with the same bits.
    ///
    /// The file is written beside the target, synced and renamed: whatever happens, there is
    /// either the old file or the new one.
    ///
    /// # Errors
    /// If the device fails or the file cannot be written.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.settle()?;
        let mut tensors = Vec::with_capacity(self.kept.len());
        for kept in &self.kept {
            tensors.push((kept, kept.read(&mut self.engine)?));
        }
        let progress = Progress::new(self.step, self.epoch, self.spec.seed, self.standing());
        file::write(path, &tensors, &progress).map_err(|source| failed(path, source))
    }

    /// Reads what [`Model::save`] wrote, or parameters alone from another program's safetensors
    /// file of the same names and shapes. Floats of 16 and 64 bits become those of 32.
    ///
    /// With the same optimizers, training then goes on with the bits of a run that was never
    /// interrupted. The vectors of another optimizer are left out and those of this one start
    /// anew, with a line of log. Steps of the program's own must be defined before. On an error
    /// the model stays as it is.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or its tensors are not those of the model; the
    /// error names the tensor, and the shapes expected and found.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.settle()?;
        let found = file::read(path, &self.kept);
        let (arrays, progress) = found.map_err(|source| failed(path, source))?;
        self.put(&arrays)?;
        let Some(progress) = progress else {
            log::info!("{}: parameters only", path.display());
            self.restart();
            return Ok(());
        };
        let mut all = true;
        let ours = self.standing();
        for (i, (defined, ours)) in self.defined.iter_mut().zip(ours).enumerate() {
            if defined.definition.update.is_none() {
                continue;
            }
            let has_vectors = !self
                .kept
                .iter()
                .zip(&arrays)
                .any(|(kept, array)| array.is_none() && kept.step() == Some(i));
            let theirs = progress.steps.iter().find(|s| s.name == ours.name);
            let theirs = theirs.filter(|_| has_vectors);
            defined.count = theirs.map_or(0, |s| s.count);
            let memory = theirs.map_or(&[][..], |s| &s.memory);
            defined.memory = memory.iter().map(|&x| f64::from_bits(x)).collect();
            all &= theirs.is_some();
            let theirs = theirs.map_or("nothing", |s| &s.optimizer);
            if theirs != ours.optimizer {
                log::info!(
                    "{}: step `{}` was trained with {theirs}, goes on with {}",
                    path.display(),
                    ours.name,
                    ours.optimizer
                );
            }
        }
        self.step = 0;
        if all {
            self.step = progress.step;
            self.epoch = progress.epoch;
            self.spec.seed = progress.seed;
        }
        Ok(())
    }

    /// Reads the parameters and states whose names a safetensors file shares with the model, as
    /// PyTorch's `load_state_dict(strict=False)`: a backbone for another head, say. The others
    /// stay as they are; all optimizers start anew.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged, or a tensor of the same name has another shape or
    /// a dtype that is none for it: the error names it, and the model stays as it is.
    pub fn load_matching(&mut self, path: impl AsRef<Path>) -> Result<Matching, Error> {
        self.load_matching_as(path, str::to_owned)
    }

    /// As [`Model::load_matching`], from a file with names of its own: `theirs` gives the file's
    /// name for each path of the model. Several paths may have one tensor, as where a file ties an
    /// output layer to a table of tokens.
    ///
    /// ```no_run
    /// # fn load(model: &mut gradus_train::Model) -> Result<(), gradus_train::Error> {
    /// let matching = model.load_matching_as("model.safetensors", |path| format!("bert.{path}"))?;
    /// println!("{matching}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::load_matching`].
    pub fn load_matching_as(
        &mut self,
        path: impl AsRef<Path>,
        theirs: impl Fn(&str) -> String,
    ) -> Result<Matching, Error> {
        let path = path.as_ref();
        self.settle()?;
        let found = file::read_matching(path, &self.kept, theirs);
        let (arrays, matching) = found.map_err(|source| failed(path, source))?;
        self.put(&arrays)?;
        self.restart();
        Ok(matching)
    }

    /// Takes over arrays, as many as are kept. Vectors of optimizers without one start anew.
    fn put(&mut self, arrays: &[Option<Array>]) -> Result<(), Error> {
        for (kept, array) in self.kept.iter().zip(arrays) {
            match array {
                Some(array) => kept.write(&mut self.engine, array)?,
                None => {
                    let Holds::Optimizer { step, state, .. } = kept.holds else {
                        continue;
                    };
                    if let Some(defined) = self.defined.get(step) {
                        kept.write(&mut self.engine, &defined.initial(state, kept)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts steps anew.
    fn restart(&mut self) {
        self.step = 0;
        for defined in &mut self.defined {
            defined.count = 0;
            defined.memory.clear();
        }
    }

    /// Where each step stands.
    fn standing(&self) -> Vec<Standing> {
        let one = |defined: &Defined| Standing {
            name: defined.definition.name.clone(),
            count: defined.count,
            optimizer: match &defined.definition.update {
                Some(update) => format!("{:?}", update.optimizer),
                None => "nothing".to_owned(),
            },
            memory: defined.memory.iter().map(|x| x.to_bits()).collect(),
        };
        self.defined.iter().map(one).collect()
    }
}

fn failed(path: &Path, source: CheckpointError) -> Error {
    Error::Checkpoint {
        path: PathBuf::from(path),
        source: Box::new(source),
    }
}
