//! The file: what is written, and what is believed of what is read.

use std::borrow::Cow;
use std::collections::BTreeSet;
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

/// The arrays of parameters and states that the file has, too, by the names that it has for them.
pub(super) fn read_matching(
    path: &Path,
    kept: &[Kept],
    theirs: impl Fn(&str) -> String,
) -> Result<(Vec<Option<Array>>, Matching), CheckpointError> {
    let bytes = fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| CheckpointError::Format {
        bytes: bytes.len(),
        source,
    })?;
    let mut matching = Matching::default();
    let mut arrays = Vec::with_capacity(kept.len());
    let mut asked = BTreeSet::new();
    for kept in kept {
        if kept.step().is_some() {
            arrays.push(None);
            continue;
        }
        let name = theirs(&kept.name);
        arrays.push(match file.tensor(&name) {
            Err(_) => {
                matching.missing.push(kept.name.clone());
                None
            }
            Ok(view) => {
                matching.loaded.push(kept.name.clone());
                Some(array(kept, &name, &view)?)
            }
        });
        asked.insert(name);
    }
    let others = file.names().into_iter().filter(|n| !asked.contains(*n));
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
    if view.shape() != &kept.shape[..] {
        return Err(mismatch());
    }
    let bytes = view.data();
    let words: Vec<u32> = match (view.dtype(), kept.dtype) {
        (Dtype::F32, DType::F32) | (Dtype::I32, DType::I32) | (Dtype::U32, DType::U32) => {
            each(bytes, u32::from_le_bytes)
        }
        (Dtype::BOOL, DType::Bool) => bytes.iter().map(|&b| u32::from(b)).collect(),
        (Dtype::F16, DType::F32) => each(bytes, |b| f16_to_f32(u16::from_le_bytes(b)).to_bits()),
        // The upper half of an f32.
        (Dtype::BF16, DType::F32) => each(bytes, |b| u32::from(u16::from_le_bytes(b)) << 16),
        #[allow(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
        (Dtype::F64, DType::F32) => each(bytes, |b| (f64::from_le_bytes(b) as f32).to_bits()),
        // PyTorch counts batches in 64 bits.
        (Dtype::I64, DType::I32) => {
            let narrow = each(bytes, |b| i32::try_from(i64::from_le_bytes(b)));
            let words = narrow.into_iter().map(|n| n.map(i32::cast_unsigned));
            words.collect::<Result<_, _>>().map_err(|_| mismatch())?
        }
        _ => return Err(mismatch()),
    };
    Array::from_words(kept.shape, kept.dtype, &words).map_err(|_| mismatch())
}

/// The f32 of the same value as these bits of an IEEE half: sign, 5 bits of exponent, 10 of
/// fraction.
fn f16_to_f32(bits: u16) -> f32 {
    let (sign, exponent) = (u32::from(bits >> 15) << 31, bits >> 10 & 31);
    let fraction = u32::from(bits & 1023);
    let magnitude = match exponent {
        0 => (fraction as f32 * (-24f32).exp2()).to_bits(),
        31 => 255 << 23 | fraction << 13,
        _ => (u32::from(exponent) + 127 - 15) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// What `N` bytes each stand for.
fn each<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| element(chunk)).collect()
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
