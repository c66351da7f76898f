//! The executor against a plain interpreter of programs, at awkward sizes, with memory full of NaN
//! beforehand, twice in a row and on several threads.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod bench;
mod build;
mod conv;
mod indexing;
mod matmul;
mod pointwise;
mod random_programs;
mod reductions;
mod reference;
mod runtime;

use gradus_graph::backend::StepRow;
use gradus_graph::plan::KernelKind;
use gradus_graph::{Program, step_row};

use bench::{Memory, Outcome, run};
use reference::Cell;

/// A step row with a seed, a step number and an optimizer's words.
pub fn a_row() -> StepRow {
    let mut row = [0; step_row::WORDS];
    row[step_row::STEP as usize] = 41;
    row[step_row::SEED_LOW as usize] = 0xDEAD_BEEF;
    row[step_row::SEED_HIGH as usize] = 0x0123_4567;
    row[8] = 0.125f32.to_bits();
    row[9] = 3.5f32.to_bits();
    row
}

/// Runs a program and compares everything it stores with its meaning. Floats may be off by
/// `tolerance` times the largest of their operand.
pub fn check(program: &Program, memory: &[Memory], tolerance: f64) -> Outcome {
    check_at_scale(program, memory, tolerance, 0.0)
}

/// As [`check`], where the largest of every operand counts as at least `scale`: what sums that
/// cancel were made of.
pub fn check_at_scale(program: &Program, memory: &[Memory], tolerance: f64, scale: f64) -> Outcome {
    let row = a_row();
    let outcome = run(KernelKind::Program(program.clone()), memory, &row);
    let (stored, errors) = reference::evaluate(program, memory, &row);
    assert_eq!(outcome.report.errors, errors);
    let mut largest = vec![scale; memory.len()];
    for ((operand, _), cell) in &stored {
        if let Cell::Float(v) = cell
            && v.is_finite()
        {
            largest[*operand] = largest[*operand].max(v.abs());
        }
    }
    for ((operand, at), cell) in &stored {
        let found = outcome.words[*operand][*at as usize];
        match cell {
            Cell::Bits(bits) => assert_eq!(found, *bits, "operand {operand} at {at}"),
            Cell::Float(truth) => {
                let found = f64::from(f32::from_bits(found));
                let close = (found - truth).abs() <= tolerance * largest[*operand];
                let same = found == f64::from(*truth as f32) || (found.is_nan() && truth.is_nan());
                assert!(
                    close || same,
                    "operand {operand} at {at}: {found} is not {truth}"
                );
            }
        }
    }
    // Nothing else was touched.
    for (i, m) in memory.iter().enumerate() {
        for (at, word) in m.words.iter().enumerate() {
            if !stored.contains_key(&(i, at as i64)) {
                assert_eq!(
                    outcome.words[i][at], *word,
                    "operand {i} at {at} was overwritten"
                );
            }
        }
    }
    outcome
}
