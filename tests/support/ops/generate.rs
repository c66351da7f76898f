//! Values for the inputs of a row.

use gradus_graph::philox::Rng;
use gradus_graph::{Array, Data, IntoShape, Shape};

/// How an input is made.
pub(crate) struct Gen {
    shape: Shape,
    kind: Kind,
    keep: fn(f64) -> bool,
}

enum Kind {
    Normal,
    Uniform(f64, f64),
    Ramp(f64),
    Words(Vec<f32>),
    I32(i32, i32),
    U32(u32),
    AnyI32,
    AnyU32,
    Bool,
}

fn shape(shape: impl IntoShape) -> Shape {
    Shape::try_new(&shape.dims()).unwrap()
}

impl Gen {
    fn new(dims: impl IntoShape, kind: Kind) -> Self {
        Self {
            shape: shape(dims),
            kind,
            keep: |_| true,
        }
    }

    /// Standard normal floats.
    pub(crate) fn normal(dims: impl IntoShape) -> Self {
        Self::new(dims, Kind::Normal)
    }

    /// Floats from `low` to `high`.
    pub(crate) fn uniform(dims: impl IntoShape, low: f64, high: f64) -> Self {
        Self::new(dims, Kind::Uniform(low, high))
    }

    /// Floats from 0.2 to 3.
    pub(crate) fn positive(dims: impl IntoShape) -> Self {
        Self::uniform(dims, 0.2, 3.0)
    }

    /// Floats that all differ by at least `gap`, shuffled.
    pub(crate) fn distinct(dims: impl IntoShape, gap: f64) -> Self {
        Self::new(dims, Kind::Ramp(gap))
    }

    /// These floats, over and over.
    pub(crate) fn floats(dims: impl IntoShape, values: &[f32]) -> Self {
        Self::new(dims, Kind::Words(values.to_vec()))
    }

    /// `i32` from `low` to below `high`.
    pub(crate) fn i32s(dims: impl IntoShape, low: i32, high: i32) -> Self {
        Self::new(dims, Kind::I32(low, high))
    }

    /// `u32` below `bound`.
    pub(crate) fn u32s(dims: impl IntoShape, bound: u32) -> Self {
        Self::new(dims, Kind::U32(bound))
    }

    /// `i32` of all sizes, 0, −1 and the extremes often.
    pub(crate) fn any_i32(dims: impl IntoShape) -> Self {
        Self::new(dims, Kind::AnyI32)
    }

    /// `u32` of all sizes, 0 and the largest often.
    pub(crate) fn any_u32(dims: impl IntoShape) -> Self {
        Self::new(dims, Kind::AnyU32)
    }

    /// Truth values.
    pub(crate) fn bools(dims: impl IntoShape) -> Self {
        Self::new(dims, Kind::Bool)
    }

    /// Only floats for which this holds: away from kinks and poles.
    pub(crate) fn keeping(mut self, keep: fn(f64) -> bool) -> Self {
        self.keep = keep;
        self
    }

    /// Only floats at least 0.05 away from 0.
    pub(crate) fn away_from_zero(self) -> Self {
        self.keeping(|x| x.abs() > 0.05)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn sample(&self, rng: &mut Rng) -> Array {
        let n = self.shape.numel();
        let data: Data = match &self.kind {
            Kind::Normal => self.floats_from(n, || rng.normal()).into(),
            Kind::Uniform(low, high) => {
                let value = || low + (high - low) * rng.uniform();
                self.floats_from(n, value).into()
            }
            Kind::Ramp(gap) => {
                let mut values: Vec<f32> = (0..n)
                    .map(|i| ((i as f64 - n as f64 / 2.0) * gap) as f32)
                    .collect();
                rng.shuffle(&mut values);
                values.into()
            }
            Kind::Words(values) => {
                let values: Vec<f32> = values.iter().copied().cycle().take(n).collect();
                values.into()
            }
            Kind::I32(low, high) => {
                let range = u32::try_from(high - low).unwrap();
                let value = |_| low + i32::try_from(rng.below(range)).unwrap();
                (0..n).map(value).collect::<Vec<i32>>().into()
            }
            Kind::U32(bound) => {
                let value = |_| rng.below(*bound);
                (0..n).map(value).collect::<Vec<u32>>().into()
            }
            Kind::AnyI32 => {
                let value = |_| any(rng).cast_signed();
                (0..n).map(value).collect::<Vec<i32>>().into()
            }
            Kind::AnyU32 => (0..n).map(|_| any(rng)).collect::<Vec<u32>>().into(),
            Kind::Bool => {
                let value = |_| rng.below(2) == 1;
                (0..n).map(value).collect::<Vec<bool>>().into()
            }
        };
        Array::new(self.shape, data).unwrap()
    }

    fn floats_from(&self, n: usize, mut value: impl FnMut() -> f64) -> Vec<f32> {
        let mut kept = || loop {
            let x = value();
            if (self.keep)(x) {
                return x as f32;
            }
        };
        (0..n).map(|_| kept()).collect()
    }
}

/// A word of any size.
fn any(rng: &mut Rng) -> u32 {
    const EDGES: [u32; 6] = [0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff, 33];
    match rng.below(3) {
        0 => EDGES[rng.below(6) as usize],
        1 => rng.below(100).wrapping_sub(50),
        _ => rng.next_u32(),
    }
}
