//! Models as files: safetensors, with PyTorch's names.
//!
//! Parameters and states stand under their paths (`0.weight`), the optimizer's vectors under
//! `optimizer.exp_avg.0.weight`. The metadata entry `gradus` says where training stood.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use gradus_graph::{Array, DType, Data};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::memory::Kept;
use crate::{Error, Model};

/// The metadata entry.
const ENTRY: &str = "gradus";
/// Version of its content.
const FORMAT: u32 = 1;

/// What is wrong with a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is damaged, or no safetensors file at all.
    #[error("not a complete safetensors file ({bytes} bytes)")]
    Format {
        /// Its length.
        bytes: usize,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// The entry that says where training stood is not valid.
    #[error("metadata entry `gradus` is not valid")]
    Metadata(#[source] serde_json::Error),
    /// The file was written by a newer version.
    #[error("format {found} is newer than {known}, the newest this program knows")]
    Version {
        /// The file's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The model has a tensor that the file lacks.
    #[error("no tensor `{name}` {expected:?}; the file has {}", .found.join(", "))]
    Missing {
        /// The tensor.
        name: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// The names in the file.
        found: Vec<String>,
    },
    /// The file has a tensor that the model lacks.
    #[error("tensor `{name}` {found:?} is not of this model")]
    Unknown {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor differs in shape or dtype.
    #[error(
        "tensor `{name}`: expected {expected_dtype} {expected:?}, found {found_dtype} {found:?}"
    )]
    Mismatch {
        /// The tensor.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The model's dtype.
        expected_dtype: DType,
        /// The file's shape.
        found: Vec<usize>,
        /// The file's dtype.
        found_dtype: String,
    },
}

/// Where training stood.
#[derive(Serialize, Deserialize)]
struct Progress {
    format: u32,
    step: u32,
    epoch: u32,
    seed: u64,
    optimizer: String,
}

/// A hash of everything a model keeps between steps: equal bits, equal digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

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
            tensors.push((file_name(kept), Tensor::new(&kept.read(&mut self.engine)?)));
        }
        let progress = Progress {
            format: FORMAT,
            step: self.step,
            epoch: self.epoch,
            seed: self.spec.seed,
            optimizer: format!("{:?}", self.spec.optimizer),
        };
        let outcome = serde_json::to_string(&progress)
            .map_err(CheckpointError::Metadata)
            .and_then(|entry| {
                let metadata = [(ENTRY.to_owned(), entry)].into_iter().collect();
                let bytes = safetensors::serialize(tensors, Some(metadata));
                bytes.map_err(|source| CheckpointError::Format { bytes: 0, source })
            })
            .and_then(|bytes| Ok(replace(path, &bytes)?));
        outcome.map_err(|source| failed(path, source))
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
        let found = fs::read(path)
            .map_err(CheckpointError::Io)
            .and_then(|bytes| parse(&bytes, &self.kept));
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

    /// A hash of parameters, states and the optimizer's vectors: the same on every run with the
    /// same seed, device and driver, whatever the number of threads.
    ///
    /// # Errors
    /// If the device fails.
    pub fn digest(&mut self) -> Result<Digest, Error> {
        self.settle()?;
        let mut hash = 0xCBF2_9CE4_8422_2325u64; // FNV-1a
        for kept in &self.kept {
            let words = kept.read(&mut self.engine)?.to_words();
            let bytes = kept
                .name
                .bytes()
                .chain(words.into_iter().flat_map(u32::to_le_bytes));
            hash = bytes.fold(hash, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
            });
        }
        Ok(Digest(hash))
    }
}

type Found = (Vec<Option<Array>>, Option<Progress>);

/// The array of each tensor that the model keeps; `None` for vectors of an optimizer that the
/// file knows nothing of.
fn parse(bytes: &[u8], kept: &[Kept]) -> Result<Found, CheckpointError> {
    let format = |source| CheckpointError::Format {
        bytes: bytes.len(),
        source,
    };
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let entry = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let progress = entry.map(|entry| serde_json::from_str::<Progress>(entry));
    let progress = progress.transpose().map_err(CheckpointError::Metadata)?;
    if let Some(found) = progress.as_ref().map(|p| p.format).filter(|f| *f > FORMAT) {
        return Err(CheckpointError::Version {
            found,
            known: FORMAT,
        });
    }
    let names: Vec<String> = kept.iter().map(file_name).collect();
    let foreign = |name: &&str| !names.iter().any(|n| n == name) && !name.starts_with(OPTIMIZER);
    let mut in_file = file.names();
    in_file.sort_unstable();
    if let Some(name) = in_file.iter().copied().find(|name| foreign(name)) {
        let found = file.tensor(name).map(|t| t.shape().to_vec());
        // A tensor of ours may be missing because it has another name here: say both.
        let missing = kept
            .iter()
            .find(|k| k.optimizer.is_none() && file.tensor(&k.name).is_err());
        return Err(match missing {
            Some(kept) => absent(kept, &in_file),
            None => CheckpointError::Unknown {
                name: name.to_owned(),
                found: found.unwrap_or_default(),
            },
        });
    }
    let mut arrays = Vec::with_capacity(kept.len());
    for (kept, name) in kept.iter().zip(&names) {
        arrays.push(match file.tensor(name) {
            Ok(view) => Some(array(kept, name, &view)?),
            Err(_) if kept.optimizer.is_some() => None,
            Err(_) => return Err(absent(kept, &in_file)),
        });
    }
    Ok((arrays, progress))
}

const OPTIMIZER: &str = "optimizer.";

fn absent(kept: &Kept, in_file: &[&str]) -> CheckpointError {
    let own = in_file.iter().filter(|n| !n.starts_with(OPTIMIZER));
    CheckpointError::Missing {
        name: file_name(kept),
        expected: kept.shape.to_vec(),
        found: own.map(|n| format!("`{n}`")).collect(),
    }
}

fn file_name(kept: &Kept) -> String {
    match kept.optimizer {
        Some(state) => format!("{OPTIMIZER}{state}.{}", kept.name),
        None => kept.name.clone(),
    }
}

/// A tensor of the file as the model's array.
fn array(
    kept: &Kept,
    name: &str,
    view: &safetensors::tensor::TensorView<'_>,
) -> Result<Array, CheckpointError> {
    let mismatch = || CheckpointError::Mismatch {
        name: name.to_owned(),
        expected: kept.shape.to_vec(),
        expected_dtype: kept.dtype,
        found: view.shape().to_vec(),
        found_dtype: view.dtype().to_string(),
    };
    if view.shape() != &kept.shape[..] || view.dtype() != dtype(kept.dtype) {
        return Err(mismatch());
    }
    let words: Vec<u32> = if kept.dtype == DType::Bool {
        view.data().iter().map(|&b| u32::from(b)).collect()
    } else {
        let (chunks, _) = view.data().as_chunks::<4>();
        chunks.iter().map(|&b| u32::from_le_bytes(b)).collect()
    };
    Array::from_words(kept.shape, kept.dtype, &words).map_err(|_| mismatch())
}

const fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
        DType::Bool => Dtype::BOOL,
    }
}

/// An array as the file holds it.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(array: &Array) -> Self {
        let bytes = match array.data() {
            Data::Bool(v) => v.iter().map(|&b| u8::from(b)).collect(),
            _ => array
                .to_words()
                .into_iter()
                .flat_map(u32::to_le_bytes)
                .collect(),
        };
        Self {
            dtype: dtype(array.dtype()),
            shape: array.shape().to_vec(),
            bytes,
        }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Puts the bytes in place of the file at once.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error says more than a failure to tidy up.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The rename itself must reach the disk too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn failed(path: &Path, source: CheckpointError) -> Error {
    Error::Checkpoint {
        path: PathBuf::from(path),
        source: Box::new(source),
    }
}
