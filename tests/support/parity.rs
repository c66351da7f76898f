//! How near an executor must be to the oracle.

use gradus_graph::{DType, Graph, Var};

use super::evaluator::{Evaluator, Fed, numbers, reference};

/// How far a value may be from the oracle's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// The number of terms an element sums.
    pub(crate) terms: usize,
    /// Units in the last place that a device function may be wrong by.
    pub(crate) ulps: f64,
    /// What counts as the largest value where all are smaller: a sum that cancels is as wrong as
    /// its terms.
    pub(crate) at_least: f64,
}

/// Evaluates and compares: `|found − ref| ≤ 4 ε √K max|ref| + 8 |oracle f32 − oracle f64|`, and
/// integers and truth values exactly. NaN and infinities must be in the same places.
pub(crate) fn check(
    evaluator: &dyn Evaluator,
    graph: &Graph,
    fed: &Fed,
    wanted: &[Var<'_>],
    bound: Bound,
) -> Result<(), String> {
    let found = evaluator.eval(graph, fed, wanted)?;
    let (double, bad) = reference::<f64>(graph, fed, wanted)?;
    let (single, _) = reference::<f32>(graph, fed, wanted)?;
    if bad.is_empty() != found.bad_indices.is_empty() {
        let bits = found.bad_indices;
        return Err(format!("bad indices {bits:?}, the oracle says {bad:?}"));
    }
    for (which, var) in wanted.iter().enumerate() {
        let (got, want) = (&found.values[which], &double[which]);
        if got.shape().numel() != want.shape().numel() || got.dtype() != want.dtype() {
            let (g, w) = (got.shape(), want.shape());
            return Err(format!("value {which}: shape {g}, want {w}"));
        }
        let (want, single) = (want.to_f64(), single[which].to_f64());
        let largest = want
            .iter()
            .filter(|v| v.is_finite())
            .fold(bound.at_least, |m: f64, v| m.max(v.abs()));
        let epsilon = f64::from(f32::EPSILON);
        let share = 4.0 * (bound.terms as f64).sqrt() + bound.ulps;
        let mut worst: Option<(f64, usize, f64, f64, f64)> = None;
        let mut failed = 0;
        let got = numbers(got);
        for (i, ((&got, &want), &single)) in got.iter().zip(&want).zip(&single).enumerate() {
            let allowed = match var.dtype() {
                DType::F32 => share * epsilon * largest + 8.0 * (single - want).abs(),
                _ => 0.0,
            };
            // What overflows f32 is infinite there.
            let rounded = f64::from(want as f32);
            let same = got == want || got == rounded || (got.is_nan() && want.is_nan());
            let near = (got - want).abs() <= allowed && want.is_finite();
            if same || near {
                continue;
            }
            failed += 1;
            let units = (got - want).abs() / allowed.max(f64::MIN_POSITIVE);
            if worst.is_none_or(|w| units.is_nan() || units > w.0) {
                worst = Some((units, i, got, want, allowed));
            }
        }
        if let Some((_, at, got, want, allowed)) = worst {
            let what = match which {
                0 => "result".to_string(),
                n => format!("gradient {}", n - 1),
            };
            let at = coordinates(at, &var.shape());
            return Err(format!(
                "{what}: {failed} of {} values too far\n  at {at:?}   {} {got}   oracle {want}   \
                 allowed {allowed:.1e}",
                var.shape().numel(),
                evaluator.name(),
            ));
        }
    }
    Ok(())
}

fn coordinates(at: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = at;
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let c = rest % size.max(1);
            rest /= size.max(1);
            c
        })
        .collect();
    coordinates.reverse();
    coordinates
}
