//! One checked array of a data set.

use std::sync::Arc;

use gradus_graph::{Array, Data, Shape};

use crate::DataError;

/// One array and its name.
#[derive(Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) array: Arc<Array>,
    /// Elements of one sample.
    pub(crate) width: usize,
}

impl Field {
    pub(crate) fn new(name: String, array: Array) -> Result<Self, DataError> {
        let shape = *array.shape();
        let Some((&samples, rest)) = shape.split_first() else {
            return Err(DataError::NoSampleAxis { name });
        };
        if shape.numel() == 0 {
            return Err(DataError::Empty { name, shape });
        }
        if u32::try_from(samples).is_err() {
            return Err(DataError::TooManySamples { found: samples });
        }
        let width = rest.iter().product();
        if let Data::F32(values) = array.data() {
            // Shaders may assume that neither NaN nor infinity exists, so results would be
            // undefined, and different on every device.
            let bad = values.iter().enumerate().find(|(_, v)| !v.is_finite());
            if let Some((i, &value)) = bad {
                return Err(DataError::NotFinite {
                    name,
                    value,
                    sample: i / width,
                    element: i % width,
                });
            }
        }
        Ok(Self {
            name,
            array: Arc::new(array),
            width,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.array.shape().first().copied().unwrap_or(0)
    }

    /// Shape of one sample.
    pub(crate) fn sample(&self) -> Shape {
        let dims = self.array.shape().get(1..).unwrap_or(&[]);
        Shape::try_new(dims).unwrap_or(Shape::SCALAR)
    }

    /// The labels of an integer field that count, with their places.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (usize, u32)> {
        let (signed, unsigned): (&[i32], &[u32]) = match self.array.data() {
            Data::I32(v) => (v, &[]),
            Data::U32(v) => (&[], v),
            Data::F32(_) | Data::Bool(_) => (&[], &[]),
        };
        // Those that are negative were found to be ignored.
        let signed = signed.iter().map(|&l| u32::try_from(l).ok());
        let all = signed.chain(unsigned.iter().copied().map(Some));
        all.enumerate().filter_map(|(i, label)| Some((i, label?)))
    }

    pub(crate) fn gather(&self, indices: &[u32]) -> Result<Array, DataError> {
        let data = match self.array.data() {
            Data::F32(v) => Data::F32(rows(v, self.width, indices)),
            Data::I32(v) => Data::I32(rows(v, self.width, indices)),
            Data::U32(v) => Data::U32(rows(v, self.width, indices)),
            Data::Bool(v) => Data::Bool(rows(v, self.width, indices)),
        };
        let shape = self.array.shape().with_axis(0, indices.len());
        Array::new(shape, data).map_err(|source| DataError::Array {
            name: self.name.clone(),
            source,
        })
    }

    pub(crate) fn gather_words(&self, indices: &[u32], words: &mut [u32]) -> Result<(), DataError> {
        let expected = indices.len().saturating_mul(self.width);
        if words.len() != expected {
            return Err(DataError::BufferLength {
                name: self.name.clone(),
                samples: indices.len(),
                expected,
                found: words.len(),
            });
        }
        match self.array.data() {
            Data::F32(v) => copy_rows(v, self.width, indices, words, f32::to_bits),
            Data::I32(v) => copy_rows(v, self.width, indices, words, i32::cast_unsigned),
            Data::U32(v) => copy_rows(v, self.width, indices, words, |w| w),
            Data::Bool(v) => copy_rows(v, self.width, indices, words, u32::from),
        }
        Ok(())
    }
}

/// Row `i` of a matrix whose rows have `width` elements.
fn row<T>(values: &[T], width: usize, i: u32) -> &[T] {
    let start = i as usize * width;
    values.get(start..start + width).unwrap_or(&[])
}

fn rows<T: Copy>(values: &[T], width: usize, indices: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(indices.len() * width);
    for &i in indices {
        out.extend_from_slice(row(values, width, i));
    }
    out
}

fn copy_rows<T: Copy>(
    values: &[T],
    width: usize,
    indices: &[u32],
    words: &mut [u32],
    to_word: impl Fn(T) -> u32,
) {
    for (out, &i) in words.chunks_exact_mut(width).zip(indices) {
        for (word, &value) in out.iter_mut().zip(row(values, width, i)) {
            *word = to_word(value);
        }
    }
}
