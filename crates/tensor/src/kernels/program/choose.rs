//! Which variant for which program.

use gradus_graph::{DeviceClass, Expr, Index, Program};

use super::super::index::is_quad;
use super::{Pointwise, Rows, Variant, Wide};

/// The variant for this program on this class of device.
pub fn choose(program: &Program, class: DeviceClass) -> Variant {
    let software = class != DeviceClass::Gpu;
    if program.is_pointwise() {
        let wide = program.axes.len().checked_sub(1);
        return Variant::Pointwise(Pointwise {
            wide: wide.is_some_and(|axis| quads(program, axis) > 0),
            invocations: if software { 64 } else { 256 },
            repeat: if software { 4 } else { 1 },
        });
    }
    Variant::Rows(if software {
        software_rows(program)
    } else {
        gpu_rows(program)
    })
}

/// All variants that compute this program.
pub fn variants(program: &Program) -> Vec<Variant> {
    let divisible = |axis: usize| program.axes.get(axis).is_some_and(|n| n % 4 == 0);
    let last = program.axes.len().checked_sub(1);
    if program.is_pointwise() {
        let wides = [false, true].into_iter();
        let wides = wides.filter(|wide| !wide || last.is_some_and(divisible));
        let sizes = [(64, 4), (256, 1)];
        return wides
            .flat_map(|wide| {
                sizes.map(|(invocations, repeat)| {
                    Variant::Pointwise(Pointwise {
                        wide,
                        invocations,
                        repeat,
                    })
                })
            })
            .collect();
    }
    let mut wides = vec![Wide::No];
    if program.kept > 0 && divisible(program.kept - 1) {
        wides.push(Wide::Kept);
    }
    if program.axes.len() > program.kept && last.is_some_and(divisible) {
        wides.push(Wide::Reduced);
    }
    let shapes: [(u32, u32, bool); 6] = [
        (8, 1, false),
        (256, 1, false),
        (1, 64, true),
        (1, 256, true),
        (8, 16, true),
        (32, 8, false),
    ];
    let with = |wide| {
        shapes.map(|(across, slices, slices_adjacent)| {
            // Workgroup memory: four rows take four times as much.
            let across = if wide == Wide::Kept && across * slices > 128 {
                across.div_ceil(2)
            } else {
                across
            };
            Variant::Rows(Rows {
                across,
                slices,
                wide,
                slices_adjacent,
            })
        })
    };
    wides.into_iter().flat_map(with).collect()
}

/// The axis along which most loads and stores come in fours.
fn wide_rows(program: &Program) -> Wide {
    let kept = program.kept.checked_sub(1).map_or(0, |a| quads(program, a));
    let reduced = program.axes.len().checked_sub(1);
    let reduced = reduced
        .filter(|axis| *axis >= program.kept)
        .map_or(0, |a| quads(program, a));
    match (kept, reduced) {
        (0, 0) => Wide::No,
        (kept, reduced) if kept > reduced => Wide::Kept,
        _ => Wide::Reduced,
    }
}

/// How many loads and stores come in fours along this axis; 0 unless its size is a multiple.
fn quads(program: &Program, axis: usize) -> usize {
    if program.axes.get(axis).is_none_or(|n| n % 4 != 0) {
        return 0;
    }
    let quad = |index: &&Index| is_quad(index, axis);
    let loads = program.exprs.iter().filter_map(|e| match e {
        Expr::Load { index, .. } | Expr::LoadRow { index, .. } => Some(index),
        _ => None,
    });
    let stores = program.stores.iter().map(|s| &s.index);
    loads.chain(stores).filter(quad).count()
}

/// One invocation for every row, as barriers cost most there; several only for a few long rows,
/// which would leave the device idle.
fn software_rows(program: &Program) -> Rows {
    let wide = wide_rows(program);
    let (rows, steps) = sizes(program, wide);
    let slices = if rows >= 64 {
        1
    } else {
        power_of_two(steps / 32).clamp(1, 64)
    };
    Rows {
        across: if slices == 1 { 8 } else { 1 },
        slices,
        wide,
        slices_adjacent: true,
    }
}

/// Enough invocations to fill the device, neighbours reading neighbours. Not measured on a GPU.
fn gpu_rows(program: &Program) -> Rows {
    let wide = wide_rows(program);
    let (rows, steps) = sizes(program, wide);
    let most = power_of_two(steps / 4).clamp(1, 256);
    if wide == Wide::Kept {
        // Neighbouring invocations are neighbouring columns: coalesced without slices.
        let slices = most.min(power_of_two(65_536 / rows.max(1))).clamp(1, 16);
        return Rows {
            across: (128 / slices).max(8),
            slices,
            wide,
            slices_adjacent: false,
        };
    }
    Rows {
        across: (128 / most).max(1),
        slices: most,
        wide,
        slices_adjacent: true,
    }
}

/// Rows and steps, in fours where wide.
fn sizes(program: &Program, wide: Wide) -> (usize, usize) {
    let quarter = |yes| if yes { 4 } else { 1 };
    (
        program.rows() / quarter(wide == Wide::Kept),
        program.cols() / quarter(wide == Wide::Reduced),
    )
}

/// The largest power of two that is not above `n`, at least 1.
fn power_of_two(n: usize) -> u32 {
    1 << n.max(1).ilog2().min(30)
}
