//! The batch that a model is verified with.

use gradus_data::{Batch, Dataset};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, DType, Data};

use crate::Error;
use crate::spec::Field;

/// `batch` samples spread over a data set; a small one is taken several times.
pub(crate) fn spread(data: &Dataset, batch: usize) -> Result<Batch, Error> {
    let stride = (data.len() / batch).max(1);
    let at = |i: usize| u32::try_from(i * stride % data.len()).unwrap_or_default();
    let indices: Vec<u32> = (0..batch).map(at).collect();
    Ok(data.gather(&indices)?)
}

/// Random samples, where there is no data: numbers in [0, 1), integers below `classes`.
#[allow(clippy::cast_possible_truncation, reason = "inputs are f32")]
pub(crate) fn random<'a>(
    fields: impl Iterator<Item = &'a Field>,
    batch: usize,
    classes: usize,
) -> Result<Batch, Error> {
    let mut sample = Batch::new();
    for field in fields {
        let mut rng = Rng::new(0, stream(&field.name, 0));
        let n = batch * field.words();
        let bound = u32::try_from(classes).unwrap_or(u32::MAX);
        let mut integers = || (0..n).map(|_| rng.below(bound)).collect::<Vec<u32>>();
        let data = match field.dtype {
            DType::U32 => Data::U32(integers()),
            DType::I32 => Data::I32(integers().into_iter().map(u32::cast_signed).collect()),
            DType::Bool => Data::Bool(integers().into_iter().map(|i| i % 2 == 1).collect()),
            DType::F32 => Data::F32((0..n).map(|_| rng.uniform() as f32).collect()),
        };
        let dims: Vec<usize> = std::iter::once(batch).chain(field.dims.clone()).collect();
        sample = sample.with(&field.name, Array::new(dims, data)?);
    }
    Ok(sample)
}
