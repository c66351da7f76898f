//! Where a token stands in its sequence.

use std::sync::Arc;

use gradus_graph::{Array, DType, Decoding, Init, Layer, Scope, Var};

use crate::init::{Normal, Shared};

/// Adds a learned vector for each position: `[B, T, C] -> [B, T, C]`, for `T` up to a largest.
///
/// Parameter `weight` `[positions, C]`, normal with deviation 0.02 at first, as in GPT-2.
///
/// Source: Gehring et al. (2017), arXiv:1705.03122.
#[derive(Clone, Debug)]
pub struct LearnedPositions {
    positions: usize,
    weight: Arc<dyn Init>,
}

impl LearnedPositions {
    /// Vectors for so many positions. A longer sequence is an error when the model is built. Where
    /// tokens are decoded one by one the network sees fewer at a time: the number must not be taken
    /// from the sequence.
    pub fn new(positions: usize) -> Self {
        Self {
            positions,
            weight: Arc::new(Normal::with_std(0.02)),
        }
    }

    /// How the vectors start.
    #[must_use]
    pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
        self.weight = Arc::new(init);
        self
    }
}

impl LearnedPositions {
    /// Adds the vectors of positions that are given, integers `[B, T]`: those of packed documents
    /// begin again with each of them. A position without a vector makes the step an error.
    #[track_caller]
    pub fn at<'g>(&self, scope: &Scope<'g>, x: Var<'g>, positions: Var<'g>) -> Var<'g> {
        match given(x, positions) {
            Given::Poisoned(bad) => bad,
            Given::Wrong(message) => scope.graph().fail("learned_positions", message),
            Given::Fit => x + self.table(scope, x.dim(2)).gather(positions),
        }
    }

    fn table<'g>(&self, scope: &Scope<'g>, width: usize) -> Var<'g> {
        let weight = Shared(Arc::clone(&self.weight));
        scope.param("weight", [self.positions, width], weight)
    }
}

impl Layer for LearnedPositions {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let fail = |message| scope.graph().fail("learned_positions", message);
        if let Err(message) = sequence(x) {
            return fail(message);
        }
        let length = x.dim(1);
        let decoding = scope.decoding(x);
        if length > self.positions && decoding.is_none() {
            return fail(format!(
                "a sequence {} has {length} positions, but there are vectors for {}",
                x.shape(),
                self.positions
            ));
        }
        let weight = self.table(scope, x.dim(2));
        match decoding {
            None => x + weight.slice_axis(0, 0, length),
            Some(decoding) => {
                decoding.at_most(self.positions);
                x + weight.gather(decoding.positions())
            }
        }
    }
}

/// Adds fixed sines and cosines of the position, of wavelengths from 2π to 2π·10,000:
/// `[B, T, C] -> [B, T, C]`, `C` even.
///
/// ```text
/// y[t, 2i] = x[t, 2i] + sin(t / 10000^(2i/C))      y[t, 2i+1] = x[t, 2i+1] + cos(t / 10000^(2i/C))
/// ```
///
/// Source: Vaswani et al. (2017), arXiv:1706.03762, §3.5.
#[derive(Clone, Copy, Debug, Default)]
pub struct SinusoidalPositions;

impl SinusoidalPositions {
    /// Adds the waves at positions that are given, integers `[B, T]` below `T`: those of packed
    /// documents begin again with each of them. Others make the step an error.
    #[track_caller]
    pub fn at<'g>(&self, x: Var<'g>, positions: Var<'g>) -> Var<'g> {
        match given(x, positions) {
            Given::Poisoned(bad) => bad,
            Given::Wrong(message) => x.graph().fail("sinusoidal_positions", message),
            Given::Fit => match Self::table(x, x.dim(1)) {
                Ok(table) => x + table.gather(positions),
                Err(message) => x.graph().fail("sinusoidal_positions", message),
            },
        }
    }

    /// Sines and cosines, `[positions, C]`.
    fn table(x: Var<'_>, positions: usize) -> Result<Var<'_>, String> {
        let width = x.dim(2);
        if !width.is_multiple_of(2) {
            return Err(format!("{} has an odd number of features", x.shape()));
        }
        let [cos, sin] = waves(positions, width, 10_000.0);
        let pairs = sin.into_iter().zip(cos).flat_map(|(s, c)| [s, c]);
        let pairs = pairs.collect::<Vec<f32>>();
        let table = Array::new([positions, width], pairs);
        table
            .map(|t| x.graph().literal(t))
            .map_err(|e| e.to_string())
    }
}

impl Layer for SinusoidalPositions {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let decoding = scope.decoding(x);
        let table = sequence(x)
            .and_then(|()| Self::table(x, decoding.map_or(x.dim(1), Decoding::capacity)));
        match table {
            Ok(table) => x + decoding.map_or(table, |d| table.gather(d.positions())),
            Err(message) => scope.graph().fail("sinusoidal_positions", message),
        }
    }
}

/// Rotary positions: turns pairs of elements of each head by an angle that grows with the position,
/// so that products of queries and keys depend on their distance.
///
/// ```text
/// θᵢ = t · base^(−2i/D)
/// y[i] = x[i] cos θᵢ − x[i + D/2] sin θᵢ      y[i + D/2] = x[i + D/2] cos θᵢ + x[i] sin θᵢ
/// ```
///
/// The pairs are those of the two halves of a head, as in GPT-NeoX and Llama.
///
/// Source: Su et al. (2021), arXiv:2104.09864.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    base: f64,
}

impl Rotary {
    /// With base 10,000.
    pub const fn new() -> Self {
        Self { base: 10_000.0 }
    }

    /// Another base, above 1: longer wavelengths for longer sequences.
    #[must_use]
    pub const fn base(mut self, base: f64) -> Self {
        self.base = base;
        self
    }

    /// Turns heads `[B, T, H, D]`, `D` even, of positions from 0 on.
    #[track_caller]
    pub fn rotate<'g>(&self, x: Var<'g>) -> Var<'g> {
        self.turn(x, None)
    }

    /// Turns heads `[B, T, H, D]`, `D` even, of the positions that are decoded.
    #[track_caller]
    pub fn rotate_at<'g>(&self, x: Var<'g>, decoding: &Decoding<'g>) -> Var<'g> {
        self.turn(x, Some(decoding))
    }

    #[track_caller]
    fn turn<'g>(&self, x: Var<'g>, decoding: Option<&Decoding<'g>>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let graph = x.graph();
        let (shape, width) = (x.shape(), x.dim(-1));
        if x.dtype() != DType::F32 || shape.rank() != 4 || !width.is_multiple_of(2) || width == 0 {
            let message = format!(
                "expected f32 [B, T, heads, an even width], found {} {shape}",
                x.dtype()
            );
            return graph.fail("rotary", message);
        }
        if !(self.base > 1.0 && self.base.is_finite()) {
            return graph.fail(
                "rotary",
                format!("base must be above 1, found {}", self.base),
            );
        }
        let half = width / 2;
        let positions = decoding.map_or(shape[1], Decoding::capacity);
        let tables =
            waves(positions, width, self.base).map(|table| Array::new([positions, 1, half], table));
        let [cos, sin] = match tables {
            [Ok(cos), Ok(sin)] => [cos, sin].map(|table| {
                let table = graph.literal(table);
                decoding.map_or(table, |decoding| table.gather(decoding.positions()))
            }),
            [Err(e), _] | [_, Err(e)] => return graph.fail("rotary", e.to_string()),
        };
        let (a, b) = (x.slice_axis(3, 0, half), x.slice_axis(3, half, width));
        (a * cos - b * sin).concat(&[b * cos + a * sin], 3)
    }
}

impl Default for Rotary {
    fn default() -> Self {
        Self::new()
    }
}

/// Cosines and sines of `t / base^(2i/width)`, `[length, width/2]` each, computed in f64.
#[allow(clippy::cast_possible_truncation, reason = "tables have f32")]
fn waves(length: usize, width: usize, base: f64) -> [Vec<f32>; 2] {
    let angles = (0..length).flat_map(|t| {
        let angle = move |i: usize| t as f64 * base.powf(-2.0 * i as f64 / width as f64);
        (0..width / 2).map(angle)
    });
    let angles: Vec<f64> = angles.collect();
    [f64::cos, f64::sin].map(|f| angles.iter().map(|&a| f(a) as f32).collect())
}

/// What is to be said of positions that are given.
enum Given<'g> {
    Fit,
    Poisoned(Var<'g>),
    Wrong(String),
}

/// Are these integers for each vector of a batch of sequences?
fn given<'g>(x: Var<'g>, positions: Var<'g>) -> Given<'g> {
    if let Some(bad) = [x, positions].into_iter().find(Var::is_poisoned) {
        return Given::Poisoned(bad);
    }
    if let Err(message) = sequence(x) {
        return Given::Wrong(message);
    }
    let (dtype, shape) = (positions.dtype(), positions.shape());
    match dtype.is_int() && shape[..] == x.shape()[..2] {
        true => Given::Fit,
        false => Given::Wrong(format!(
            "positions of {} must be i32 or u32 [batch, time], found {dtype} {shape}",
            x.shape()
        )),
    }
}

/// Is this a batch of sequences of vectors?
pub(super) fn sequence(x: Var<'_>) -> Result<(), String> {
    match x.dtype() == DType::F32 && x.rank() == 3 {
        true => Ok(()),
        false => Err(format!(
            "expected f32 [batch, time, features], found {} {}",
            x.dtype(),
            x.shape()
        )),
    }
}
