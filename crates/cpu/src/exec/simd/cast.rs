//! Conversions between dtypes over blocks.

use gradus_graph::DType;
use pulp::{Arch, NullaryFnOnce};

use super::{Arg, map1};

/// Converts a block. Float to integer truncates and saturates, NaN gives 0; integers keep their
/// bits; anything but 0 is true.
pub(crate) fn cast(arch: Arch, from: DType, to: DType, x: Arg<'_>, out: &mut [u32]) {
    arch.dispatch(Cast { from, to, x, out });
}

struct Cast<'a> {
    from: DType,
    to: DType,
    x: Arg<'a>,
    out: &'a mut [u32],
}

impl NullaryFnOnce for Cast<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "this is what conversion means"
    )]
    fn call(self) {
        let Self { from, to, x, out } = self;
        match (from, to) {
            (DType::F32, DType::I32) => {
                map1(x, out, |x| (f32::from_bits(x) as i32).cast_unsigned());
            }
            (DType::F32, DType::U32) => map1(x, out, |x| f32::from_bits(x) as u32),
            (DType::F32, DType::Bool) => map1(x, out, |x| u32::from(f32::from_bits(x) != 0.0)),
            (DType::I32, DType::F32) => map1(x, out, |x| (x.cast_signed() as f32).to_bits()),
            (DType::U32, DType::F32) => map1(x, out, |x| (x as f32).to_bits()),
            (DType::Bool, DType::F32) => map1(x, out, |x| if x != 0 { 1f32.to_bits() } else { 0 }),
            (_, DType::Bool) => map1(x, out, |x| u32::from(x != 0)),
            _ => map1(x, out, |x| x),
        }
    }
}
