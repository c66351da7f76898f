//! The file: what is written, and what is believed of what is read.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;

use gradus_graph::{Array, DType, Data};
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use crate::memory::{Holds, Kept};
use crate::replace;

/// The metadata entry.
const ENTRY: &str = "gradus";
/// Version of its content.
const FORMAT: u32 = 2;

/// Where training stood.
#[derive(Serialize, Deserialize)]
pub(super) struct Progress {
    format: u32,
    pub(super) step: u32,
    pub(super) epoch: u32,
    pub(super) seed: u64,
    pub(super) steps: Vec<Standing>,
}

/// Where one step stood.
#[derive(Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) name: String,
    /// How often it ran.
    pub(super) count: u32,
    pub(super) optimizer: String,
    /// The bits of what its optimizer noted of the losses of epochs.
    pub(super) memory: Vec<u64>,
}

impl Progress {
    pub(super) const fn new(step: u32, epoch: u32, seed: u64, steps: Vec<Standing>) -> Self {
        Self {
            format: FORMAT,
            step,
            epoch,
            seed,
            steps,
        }
    }
}

/// Writes tensors and progress in place of the file, at once.
pub(super) fn write(
    path: &Path,
    tensors: &[(&Kept, Array)],
    progress: &Progress,
) -> Result<(), CheckpointError> {
    let entry = serde_json::to_string(progress).map_err(CheckpointError::Metadata)?;
    let metadata = [(ENTRY.to_owned(), entry)].into_iter().collect();
    let tensors = tensors
        .iter()
        .map(|(kept, array)| (file_name(kept), Tensor::new(array)));
    let bytes = safetensors::serialize(tensors, Some(metadata));
    let bytes = bytes.map_err(|source| CheckpointError::Format { bytes: 0, source })?;
    Ok(replace::file(path, &bytes)?)
}

/// The array of each tensor that the model keeps, and where training stood if the file is ours.
pub(super) fn read(path: &Path, kept: &[Kept]) -> Result<Found, CheckpointError> {
    parse(&fs::read(path)?, kept)
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
            .find(|k| k.step().is_none() && file.tensor(&k.name).is_err());
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
            Err(_) if kept.step().is_some() => None,
            Err(_) => return Err(absent(kept, &in_file)),
        });
    }
    // All vectors of an optimizer, or none: half of them would be of no use.
    let missing = kept
        .iter()
        .zip(&arrays)
        .filter(|(_, array)| array.is_none());
    let missing: Vec<Option<usize>> = missing.map(|(kept, _)| kept.step()).collect();
    for (kept, array) in kept.iter().zip(&mut arrays) {
        if missing.contains(&kept.step()) {
            *array = None;
        }
    }
    Ok((arrays, progress))
}

const OPTIMIZER: &str = "optimizer.";

/// What a file and a model have in common; see [`Model::load_matching`](crate::Model::load_matching).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// What was read.
    pub loaded: Vec<String>,
    /// What the model has and the file lacks: it stayed as it was.
    pub missing: Vec<String>,
    /// What the file has and the model lacks.
    pub unexpected: Vec<String>,
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The arrays of parameters and states that the file has, too.
pub(super) fn read_matching(
    path: &Path,
    kept: &[Kept],
) -> Result<(Vec<Option<Array>>, Matching), CheckpointError> {
    let bytes = fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| CheckpointError::Format {
        bytes: bytes.len(),
        source,
    })?;
    let mut matching = Matching::default();
    let mut arrays = Vec::with_capacity(kept.len());
    for kept in kept {
        let view = file.tensor(&kept.name);
        arrays.push(match (kept.step(), view) {
            (Some(_), _) => None,
            (None, Err(_)) => {
                matching.missing.push(kept.name.clone());
                None
            }
            (None, Ok(view)) => {
                matching.loaded.push(kept.name.clone());
                Some(array(kept, &kept.name, &view)?)
            }
        });
    }
    let ours = |name: &str| kept.iter().any(|k| k.step().is_none() && k.name == name);
    let others = file.names().into_iter().filter(|name| !ours(name));
    let others = others.filter(|name| !name.starts_with(OPTIMIZER));
    matching.unexpected = others.map(str::to_owned).collect();
    matching.unexpected.sort_unstable();
    Ok((arrays, matching))
}

fn absent(kept: &Kept, in_file: &[&str]) -> CheckpointError {
    let own = in_file.iter().filter(|n| !n.starts_with(OPTIMIZER));
    CheckpointError::Missing {
        name: file_name(kept),
        expected: kept.shape.to_vec(),
        found: own.map(|n| format!("`{n}`")).collect(),
    }
}

fn file_name(kept: &Kept) -> String {
    match &kept.holds {
        Holds::Optimizer { vector, .. } => format!("{OPTIMIZER}{vector}.{}", kept.name),
        Holds::Param(_) | Holds::State(_) => kept.name.clone(),
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
    // PyTorch counts batches in 64 bits.
    let counts = (view.dtype(), kept.dtype) == (Dtype::I64, DType::I32);
    if view.shape() != &kept.shape[..] || !(counts || view.dtype() == dtype(kept.dtype)) {
        return Err(mismatch());
    }
    let words: Vec<u32> = if counts {
        let (chunks, _) = view.data().as_chunks::<8>();
        let narrow = |&b: &[u8; 8]| i32::try_from(i64::from_le_bytes(b)).map(i32::cast_unsigned);
        let words = chunks.iter().map(narrow).collect::<Result<_, _>>();
        words.map_err(|_| mismatch())?
    } else if kept.dtype == DType::Bool {
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
