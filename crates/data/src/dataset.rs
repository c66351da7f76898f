//! Named inputs and a target.

use std::fmt;
use std::sync::Arc;

use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, Data, IntoShape, Shape};

use crate::field::Field;
use crate::{Batch, DataError, Order};

/// Name of the input of a data set made with [`Dataset::from_arrays`].
pub const INPUT: &str = "x";

/// Name of the target of every data set.
pub const TARGET: &str = "y";

/// The label of what counts nothing, as padding: a loss must be told to leave it out, for example by
/// `CrossEntropy::new().ignore(IGNORED)`. It is PyTorch's.
pub const IGNORED: i32 = -100;

/// Samples: one or more named input arrays and a target array that share their first axis `N`.
///
/// Arrays are shared, so a clone costs no copy of the data. Every value is checked when the set
/// is made: it is never empty, has no NaN and no infinity, and its labels are not negative, but for
/// those [`IGNORED`].
#[derive(Clone, PartialEq)]
pub struct Dataset {
    inputs: Vec<Field>,
    target: Field,
    classes: Option<usize>,
    len: usize,
}

/// The two sides of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Samples to learn from.
    pub train: Dataset,
    /// Samples held back.
    pub test: Dataset,
}

impl Dataset {
    /// A data set of one input, named [`INPUT`].
    ///
    /// `x` has shape `[N, ...]`; `y` holds `i32` or `u32` class labels `[N, ...]` from 0, or
    /// [`IGNORED`], or `f32` values `[N, ...]`.
    ///
    /// # Errors
    /// If there are no samples, the numbers of samples differ, a float is NaN or infinite, a label
    /// is negative, or the target is boolean.
    pub fn from_arrays(x: Array, y: Array) -> Result<Self, DataError> {
        Self::from_inputs([(INPUT, x)], y)
    }

    /// A data set of several inputs, each `[N, ...]`, by name. See [`Dataset::from_arrays`].
    ///
    /// # Errors
    /// As [`Dataset::from_arrays`]; also if there is no input, or a name is given twice or is
    /// that of the target, [`TARGET`].
    pub fn from_inputs<S: Into<String>>(
        inputs: impl IntoIterator<Item = (S, Array)>,
        target: Array,
    ) -> Result<Self, DataError> {
        let target = Field::new(TARGET.to_owned(), target)?;
        let mut fields: Vec<Field> = Vec::new();
        for (name, array) in inputs {
            let field = Field::new(name.into(), array)?;
            if field.name == TARGET || fields.iter().any(|other| other.name == field.name) {
                return Err(DataError::DuplicateName { name: field.name });
            }
            if field.len() != target.len() {
                return Err(DataError::SampleCount {
                    found: field.len(),
                    name: field.name,
                    other: TARGET.to_owned(),
                    expected: target.len(),
                });
            }
            fields.push(field);
        }
        if fields.is_empty() {
            return Err(DataError::NoInputs);
        }
        let classes = count_classes(&target)?;
        Ok(Self {
            len: target.len(),
            inputs: fields,
            target,
            classes,
        })
    }

    /// Number of samples, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Shape of one sample of the first input, without the axis of samples.
    pub fn features(&self) -> Shape {
        self.inputs.first().map_or(Shape::SCALAR, Field::sample)
    }

    /// Number of classes: the largest label plus one, or what [`Dataset::with_classes`] set.
    /// `None` for an `f32` target. Subsets and splits keep the number.
    pub fn classes(&self) -> Option<usize> {
        self.classes
    }

    /// Names and arrays `[N, ...]` of the inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.inputs.iter().map(|f| (f.name.as_str(), &*f.array))
    }

    /// The target, `[N, ...]`.
    pub fn target(&self) -> &Array {
        &self.target.array
    }

    /// Names and arrays of the inputs, then of the target ([`TARGET`]).
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.inputs().chain([(TARGET, self.target())])
    }

    /// This set with a number of classes of its own: when the largest label is missing here.
    ///
    /// # Errors
    /// If the target holds no labels, or one that is not below `classes`.
    pub fn with_classes(mut self, classes: usize) -> Result<Self, DataError> {
        if self.classes.is_none() {
            return Err(DataError::NoClasses);
        }
        let mut labels = self.target.labels();
        if let Some((i, label)) = labels.find(|&(_, label)| label as usize >= classes) {
            return Err(DataError::LabelRange {
                label,
                sample: i / self.target.width.max(1),
                classes,
            });
        }
        drop(labels);
        self.classes = Some(classes);
        Ok(self)
    }

    /// This set with samples of the first input shaped `shape`: 64 values as `[1, 8, 8]`.
    ///
    /// # Errors
    /// If the number of elements of a sample differs.
    pub fn reshape_features(mut self, shape: impl IntoShape) -> Result<Self, DataError> {
        if let Some(field) = self.inputs.first_mut() {
            let mut dims = vec![self.len];
            dims.extend(shape.dims());
            let array = Array::clone(&field.array).reshape(dims);
            field.array = Arc::new(array.map_err(|source| DataError::Array {
                name: field.name.clone(),
                source,
            })?);
        }
        Ok(self)
    }

    /// The samples at `indices`, in that order; an index may repeat.
    ///
    /// # Errors
    /// If there is no index, or one is not below [`len`](Dataset::len).
    pub fn select(&self, indices: &[u32]) -> Result<Self, DataError> {
        if indices.is_empty() {
            return Err(DataError::NoSamples);
        }
        self.check(indices)?;
        let select = |field: &Field| -> Result<Field, DataError> {
            Ok(Field {
                name: field.name.clone(),
                width: field.width,
                array: Arc::new(field.gather(indices)?),
            })
        };
        Ok(Self {
            inputs: self.inputs.iter().map(select).collect::<Result<_, _>>()?,
            target: select(&self.target)?,
            classes: self.classes,
            len: indices.len(),
        })
    }

    /// The first `n` samples, or all if there are fewer.
    ///
    /// # Errors
    /// If `n` is 0.
    pub fn take(&self, n: usize) -> Result<Self, DataError> {
        let order = self.sequential();
        self.select(order.indices().get(..n).unwrap_or(order.indices()))
    }

    /// A random split: `fraction` of the samples, rounded, become `test`, the others `train`.
    /// The same seed gives the same split on every machine.
    ///
    /// # Errors
    /// If `fraction` is not strictly between 0 and 1, or one side would be empty.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<Split, DataError> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::Fraction { fraction });
        }
        let mut indices = self.sequential().indices().to_vec();
        Rng::new(seed, stream("data.split", 0)).shuffle(&mut indices);
        let test = (self.len as f64 * fraction).round() as usize;
        self.split_indices(&indices, self.len.saturating_sub(test))
    }

    /// The first `n` samples as `train`, the others as `test`: for files whose order matters.
    ///
    /// # Errors
    /// If one side would be empty.
    pub fn split_at(&self, n: usize) -> Result<Split, DataError> {
        self.split_indices(self.sequential().indices(), n)
    }

    /// The order of one epoch: see [`Order::shuffled`].
    pub fn order(&self, seed: u64, epoch: u32) -> Order {
        let mut order = self.sequential();
        order.reshuffle(seed, epoch);
        order
    }

    /// The order in which the samples lie.
    pub fn sequential(&self) -> Order {
        // The constructor refuses lengths that do not fit.
        Order::of(u32::try_from(self.len).unwrap_or(u32::MAX))
    }

    /// The samples at `indices`, each field as an array `[B, ...]`.
    ///
    /// # Errors
    /// If an index is not below [`len`](Dataset::len).
    pub fn gather(&self, indices: &[u32]) -> Result<Batch, DataError> {
        self.check(indices)?;
        let mut batch = Batch::new();
        for field in self.inputs.iter().chain([&self.target]) {
            batch = batch.with(field.name.clone(), field.gather(indices)?);
        }
        Ok(batch)
    }

    /// Writes the samples of one field at `indices` into `words` as device memory holds them,
    /// without allocating.
    ///
    /// `words` has `indices.len() × elements of a sample` 32-bit words.
    ///
    /// # Errors
    /// If no field has this name, an index is not below [`len`](Dataset::len), or `words` has
    /// another length.
    pub fn gather_into(
        &self,
        name: &str,
        indices: &[u32],
        words: &mut [u32],
    ) -> Result<(), DataError> {
        let mut fields = self.inputs.iter().chain([&self.target]);
        let Some(field) = fields.find(|f| f.name == name) else {
            return Err(DataError::UnknownName {
                name: name.to_owned(),
                names: self.fields().map(|(name, _)| name.to_owned()).collect(),
            });
        };
        self.check(indices)?;
        field.gather_words(indices, words)
    }

    fn check(&self, indices: &[u32]) -> Result<(), DataError> {
        match indices.iter().find(|&&i| i as usize >= self.len) {
            Some(&index) => Err(DataError::Index {
                index,
                len: self.len,
            }),
            None => Ok(()),
        }
    }

    fn split_indices(&self, indices: &[u32], first: usize) -> Result<Split, DataError> {
        match indices.split_at_checked(first) {
            Some((train, test)) if !train.is_empty() && !test.is_empty() => Ok(Split {
                train: self.select(train)?,
                test: self.select(test)?,
            }),
            _ => Err(DataError::EmptySide {
                len: self.len,
                first,
                second: self.len.saturating_sub(first),
            }),
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.len)?;
        for field in self.inputs.iter().chain([&self.target]) {
            write!(
                f,
                ", {} {} {}",
                field.name,
                field.array.dtype(),
                field.sample()
            )?;
        }
        match self.classes {
            Some(classes) => write!(f, ", {classes} classes"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({self})")
    }
}

/// The largest label plus one; `None` for float targets.
fn count_classes(target: &Field) -> Result<Option<usize>, DataError> {
    match target.array.data() {
        Data::F32(_) => return Ok(None),
        Data::Bool(_) => {
            let found = target.array.dtype();
            return Err(DataError::TargetDType { found });
        }
        Data::I32(labels) => {
            let bad = |&(_, &label): &(usize, &i32)| label < 0 && label != IGNORED;
            if let Some((i, &label)) = labels.iter().enumerate().find(bad) {
                let sample = i / target.width;
                return Err(DataError::NegativeLabel { label, sample });
            }
        }
        Data::U32(_) => {}
    }
    let largest = target.labels().map(|(_, label)| label).max();
    Ok(Some(largest.map_or(0, |l| (l as usize).saturating_add(1))))
}
