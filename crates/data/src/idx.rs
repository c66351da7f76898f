//! IDX files: the format of MNIST and its relatives.
//!
//! ```text
//! 0, 0, element type, rank      four bytes
//! size of each axis             rank × u32, big-endian, outermost first
//! elements                      row-major, big-endian
//! ```
//!
//! Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits",
//! section "The IDX file format".

use std::io::Read;
use std::path::Path;

use gradus_graph::{Array, ArrayError};
use thiserror::Error;

use crate::DataError;

/// An array of any rank, as an IDX file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    dims: Vec<usize>,
    elements: Elements,
}

/// The elements of an IDX file, in the type that the file stores.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Elements {
    /// Type 0x08.
    U8(Vec<u8>),
    /// Type 0x09.
    I8(Vec<i8>),
    /// Type 0x0B.
    I16(Vec<i16>),
    /// Type 0x0C.
    I32(Vec<i32>),
    /// Type 0x0D.
    F32(Vec<f32>),
    /// Type 0x0E.
    F64(Vec<f64>),
}

/// Why bytes are not an IDX file. Offsets and lengths are in bytes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdxError {
    /// The file is compressed.
    #[error("bytes 1f 8b at offset 0 mark a gzip file, expected IDX: decompress it first")]
    Gzip,
    /// The file does not begin with two zero bytes.
    #[error("bytes {:02x} {:02x} at offset 0, expected 00 00 as every IDX file begins", .found[0], .found[1])]
    Magic {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// The element type is none of IDX's.
    #[error("element type {found:#04x} at offset 2, expected 0x08, 0x09, 0x0b, 0x0c, 0x0d or 0x0e")]
    ElementType {
        /// The third byte.
        found: u8,
    },
    /// The axes multiply to more bytes than memory can address.
    #[error("axes {dims:?} at offset 4 need more bytes than memory can address")]
    Overflow {
        /// Sizes of the axes.
        dims: Vec<usize>,
    },
    /// The file ends early.
    #[error("{found} bytes of {part} from offset {offset} to the end, expected {expected}")]
    Short {
        /// What was being read.
        part: &'static str,
        /// Where it begins.
        offset: usize,
        /// Bytes it needs.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The file goes on after its last element.
    #[error("{found} bytes from offset {offset}, expected the end of the file")]
    Trailing {
        /// Where the file should end.
        offset: usize,
        /// Bytes beyond it.
        found: usize,
    },
}

/// Reads an IDX file, compressed by gzip or not.
///
/// # Errors
/// If the file cannot be read or decompressed or is not valid IDX; the error names the path, and
/// its source the offset.
pub fn read(path: impl AsRef<Path>) -> Result<Idx, DataError> {
    let path = path.as_ref();
    let io = |source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(io)?;
    let bytes = match bytes.starts_with(&GZIP) {
        true => decompressed(&bytes).map_err(io)?,
        false => bytes,
    };
    parse(&bytes).map_err(|source| DataError::Idx {
        path: path.to_owned(),
        source,
    })
}

/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

fn decompressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut all)?;
    Ok(all)
}

/// Reads IDX bytes, uncompressed.
///
/// Allocates no more than the bytes given can fill.
///
/// # Errors
/// If the bytes are not valid IDX.
pub fn parse(bytes: &[u8]) -> Result<Idx, IdxError> {
    if bytes.starts_with(&GZIP) {
        return Err(IdxError::Gzip);
    }
    let (&[zero0, zero1, code, rank], rest) = split(bytes, 0, "magic number")?;
    if [zero0, zero1] != [0, 0] {
        return Err(IdxError::Magic {
            found: [zero0, zero1],
        });
    }
    let size = match code {
        0x08 | 0x09 => 1,
        0x0B => 2,
        0x0C | 0x0D => 4,
        0x0E => 8,
        found => return Err(IdxError::ElementType { found }),
    };
    let rank = usize::from(rank);
    let (axes, data) = split_at(rest, 4, 4 * rank, "axes")?;
    let dims: Vec<usize> = chunks(axes, |b| u32::from_be_bytes(b) as usize);
    let Some(expected) = byte_len(&dims, size) else {
        return Err(IdxError::Overflow { dims });
    };
    let offset = 4 + 4 * rank;
    let (data, trailing) = split_at(data, offset, expected, "elements")?;
    if !trailing.is_empty() {
        return Err(IdxError::Trailing {
            offset: offset + expected,
            found: trailing.len(),
        });
    }
    let elements = match code {
        0x08 => Elements::U8(data.to_vec()),
        0x09 => Elements::I8(chunks(data, i8::from_be_bytes)),
        0x0B => Elements::I16(chunks(data, i16::from_be_bytes)),
        0x0C => Elements::I32(chunks(data, i32::from_be_bytes)),
        0x0D => Elements::F32(chunks(data, f32::from_be_bytes)),
        _ => Elements::F64(chunks(data, f64::from_be_bytes)),
    };
    Ok(Idx { dims, elements })
}

impl Idx {
    /// Sizes of the axes, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements, row-major.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// The elements divided by `divisor` as an `f32` array: 255 brings bytes to [0, 1].
    ///
    /// # Errors
    /// If there are more than eight axes.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "f64 elements are rounded to the nearest f32, as documented"
    )]
    pub fn to_f32(&self, divisor: f32) -> Result<Array, ArrayError> {
        let values: Vec<f32> = match &self.elements {
            Elements::U8(v) => v.iter().map(|&x| f32::from(x) / divisor).collect(),
            Elements::I8(v) => v.iter().map(|&x| f32::from(x) / divisor).collect(),
            Elements::I16(v) => v.iter().map(|&x| f32::from(x) / divisor).collect(),
            Elements::I32(v) => v.iter().map(|&x| x as f32 / divisor).collect(),
            Elements::F32(v) => v.iter().map(|&x| x / divisor).collect(),
            Elements::F64(v) => v.iter().map(|&x| x as f32 / divisor).collect(),
        };
        Array::new(self.dims.as_slice(), values)
    }

    /// The elements as an `i32` array; `None` if the file holds floats.
    ///
    /// # Errors
    /// If there are more than eight axes.
    pub fn to_i32(&self) -> Result<Option<Array>, ArrayError> {
        let values: Vec<i32> = match &self.elements {
            Elements::U8(v) => v.iter().map(|&x| i32::from(x)).collect(),
            Elements::I8(v) => v.iter().map(|&x| i32::from(x)).collect(),
            Elements::I16(v) => v.iter().map(|&x| i32::from(x)).collect(),
            Elements::I32(v) => v.clone(),
            Elements::F32(_) | Elements::F64(_) => return Ok(None),
        };
        Array::new(self.dims.as_slice(), values).map(Some)
    }
}

impl Elements {
    /// Rust's name of the type: `u8`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::I16(_) => "i16",
            Self::I32(_) => "i32",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
        }
    }
}

/// Bytes of the elements, `None` if they overflow. An empty axis hides no overflow of the others.
fn byte_len(dims: &[usize], size: usize) -> Option<usize> {
    let axes = dims.iter().filter(|&&d| d != 0);
    let bytes = axes.copied().try_fold(size, usize::checked_mul)?;
    Some(if dims.contains(&0) { 0 } else { bytes })
}

/// The first `N` bytes, and the rest.
fn split<'a, const N: usize>(
    bytes: &'a [u8],
    offset: usize,
    part: &'static str,
) -> Result<(&'a [u8; N], &'a [u8]), IdxError> {
    bytes.split_first_chunk().ok_or(IdxError::Short {
        part,
        offset,
        expected: N,
        found: bytes.len(),
    })
}

/// The first `n` bytes, and the rest.
fn split_at<'a>(
    bytes: &'a [u8],
    offset: usize,
    n: usize,
    part: &'static str,
) -> Result<(&'a [u8], &'a [u8]), IdxError> {
    bytes.split_at_checked(n).ok_or(IdxError::Short {
        part,
        offset,
        expected: n,
        found: bytes.len(),
    })
}

/// One element from every `N` bytes.
fn chunks<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| read(chunk)).collect()
}
