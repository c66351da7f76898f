//! Models as files: safetensors, with PyTorch's names.
//!
//! Parameters and states stand under their paths (`0.weight`), the optimizer's vectors under
//! `optimizer.exp_avg.0.weight`. The metadata entry `gradus` says where training stood.

mod error;
mod file;

use std::path::{Path, PathBuf};

use gradus_graph::Array;

use crate::{Error, Model};
use file::Progress;

pub use error::CheckpointError;

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
        let progress = Progress::new(
            self.step,
            self.epoch,
            self.spec.seed,
            format!("{:?}", self.spec.optimizer),
        );
        file::write(path, &tensors, &progress).map_err(|source| failed(path, source))
    }

    /// Reads what [`Model::save`] wrote, or parameters alone from another program's safetensors
    /// file of the same names and shapes.
    ///
    /// With the same optimizer, training then goes on with the bits of a run that was never
    /// interrupted. The vectors of another optimizer are left out and those of this one start
    /// anew, with a line of log. On an error the model stays as it is.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or its tensors are not those of the model; the
    /// error names the tensor, and the shapes expected and found.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.settle()?;
        let found = file::read(path, &self.kept);
        let (arrays, progress) = found.map_err(|source| failed(path, source))?;
        for (kept, array) in self.kept.iter().zip(&arrays) {
            match array {
                Some(array) => kept.write(&mut self.engine, array)?,
                None => {
                    let zeros = Array::zeros(kept.shape, kept.dtype);
                    kept.write(&mut self.engine, &zeros)?;
                }
            }
        }
        let has_optimizer = arrays.iter().all(Option::is_some);
        match progress {
            Some(progress) if has_optimizer => {
                self.step = progress.step;
                self.epoch = progress.epoch;
                self.spec.seed = progress.seed;
                let ours = format!("{:?}", self.spec.optimizer);
                if progress.optimizer != ours {
                    log::info!(
                        "{} was trained with {}, goes on with {ours}",
                        path.display(),
                        progress.optimizer
                    );
                }
            }
            _ => {
                self.step = 0;
                log::info!(
                    "{}: parameters only; the optimizer starts anew",
                    path.display()
                );
            }
        }
        Ok(())
    }
}

fn failed(path: &Path, source: CheckpointError) -> Error {
    Error::Checkpoint {
        path: PathBuf::from(path),
        source: Box::new(source),
    }
}
