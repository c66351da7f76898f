//! Expressions that depend on the position: loads, positions, random words.

use gradus_graph::{DType, Index, step_row};

use super::expr::Emitter;
use super::memory::{scalar, step_word};
use super::value::{Value, compose, narrow, part, wide};

impl Emitter<'_> {
    pub(super) fn load(
        &self,
        operand: usize,
        index: &Index,
        row: Option<&(Value, u32)>,
        guard: Option<&Value>,
    ) -> Value {
        let dtype = self.memory.dtype(operand);
        let varies = row.is_some_and(|(row, _)| row.wide) || guard.is_some_and(|g| g.wide);
        let rows = |i: usize, unit: u32| match row {
            Some((row, stride)) => {
                format!("u32({}) * {}u + ", part(row, i), stride / unit)
            }
            None => String::new(),
        };
        let guarded = |at: String, i: usize| match guard {
            Some(guard) => format!("select(0u, {at}, {})", part(guard, i)),
            None => at,
        };
        let zero = |loaded: String, wide: bool, i: usize| match guard {
            Some(guard) => {
                let ty = if wide {
                    format!("vec4<{}>", scalar(dtype))
                } else {
                    scalar(dtype).to_owned()
                };
                format!("select({ty}(), {loaded}, {})", part(guard, i))
            }
            None => loaded,
        };
        let stride_fits = row.is_none_or(|(_, stride)| stride.is_multiple_of(4));
        if self.is_quad(index) && !varies && stride_fits {
            let quad = guarded(format!("({}{})", rows(0, 4), self.quad(index)), 0);
            return wide(zero(self.memory.load4(operand, &quad), true, 0));
        }
        let one = |i: usize, at: String| {
            let at = guarded(format!("({}{at})", rows(i, 1)), i);
            zero(self.memory.load(operand, &at), false, i)
        };
        if self.is_constant(index) && !varies {
            return narrow(one(0, self.position(index)));
        }
        wide(compose(dtype, |i| one(i, self.position_at(index, i))))
    }

    /// A position as `i32`.
    pub(super) fn index(&self, index: &Index) -> Value {
        if self.is_constant(index) {
            return narrow(format!("i32({})", self.position(index)));
        }
        if self.is_quad(index) {
            let first = self.position(index);
            return wide(format!("(i32({first}) + vec4<i32>(0, 1, 2, 3))"));
        }
        wide(compose(DType::I32, |i| {
            format!("i32({})", self.position_at(index, i))
        }))
    }

    pub(super) fn random(&self, stream: u64, index: &Index) -> Value {
        let words = |quad: &str| {
            format!(
                "g_philox(vec2<u32>({}, {}), vec4<u32>({quad}, {}, {}u, {}u))",
                step_word(step_row::SEED_LOW),
                step_word(step_row::SEED_HIGH),
                step_word(step_row::STEP),
                stream & 0xffff_ffff,
                stream >> 32
            )
        };
        let one = |at: &str| format!("{}[{at} % 4u]", words(&format!("{at} / 4u")));
        if self.is_quad(index) {
            return wide(words(&self.quad(index)));
        }
        if self.is_constant(index) {
            return narrow(one(&self.position(index)));
        }
        wide(compose(DType::U32, |i| one(&self.position_at(index, i))))
    }
}
