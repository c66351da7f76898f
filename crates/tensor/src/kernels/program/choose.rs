//! Which variant for which program.

use std::collections::BTreeSet;

use gradus_graph::{DeviceClass, Expr, Program};

use super::super::index::{is_constant, is_quad};
use super::{Pointwise, Rows, Variant, Wide};

/// Bytes of workgroup memory on every device: WebGPU's default.
const WORKGROUP_MEMORY: u32 = 16 << 10;

/// The variant for this program on this class of device.
pub fn choose(program: &Program, class: DeviceClass) -> Variant {
    if program.is_pointwise() {
        let last = program.axes.len().checked_sub(1);
        return Variant::Pointwise(Pointwise {
            wide: last.is_some_and(|axis| gain(program, axis) > 0),
            turns: turns(program),
        });
    }
    let mut rows = match class {
        DeviceClass::Gpu => gpu_rows(program),
        DeviceClass::Software | DeviceClass::Cpu => software_rows(program),
    };
    while !fits(program, rows) && rows.slices > 1 {
        rows.slices /= 2;
    }
    Variant::Rows(rows)
}

/// Turns that are worth a sum at the start of every invocation.
fn turns(program: &Program) -> u32 {
    let total = |e: &Expr| matches!(e, Expr::Total { .. });
    if program.exprs.iter().any(total) {
        16
    } else {
        1
    }
}

/// Whether the workgroup memory is what every device has.
fn fits(program: &Program, rows: Rows) -> bool {
    let arrays = program.exprs.iter().map(|e| match e {
        Expr::Reduce(..) => 1,
        Expr::ArgReduce(..) => 2,
        _ => 0,
    });
    let lanes = if rows.wide == Wide::Kept { 4 } else { 1 };
    let bytes = arrays.sum::<u32>() * 4 * lanes * rows.across * rows.slices;
    rows.slices == 1 || bytes <= WORKGROUP_MEMORY
}

/// All variants that compute this program: first those that devices of each class choose.
pub fn variants(program: &Program) -> Vec<Variant> {
    let chosen = [DeviceClass::Software, DeviceClass::Gpu].map(|class| choose(program, class));
    let others = if program.is_pointwise() {
        pointwise_variants(program)
    } else {
        rows_variants(program)
    };
    let mut all = chosen.to_vec();
    all.extend(others.into_iter().filter(|v| !chosen.contains(v)));
    all.dedup();
    all
}

/// Whether devices of a class can gain by this variant: slices fill a GPU, barriers slow down what
/// imitates one. A choice suits where it is made.
pub(in super::super) fn suits(program: &Program, variant: Variant, class: DeviceClass) -> bool {
    let slices = match variant {
        Variant::Pointwise(_) => return true,
        Variant::Rows(rows) => rows.slices,
    };
    variant == choose(program, class) || (slices >= 8) == (class == DeviceClass::Gpu)
}

fn divisible(program: &Program, axis: usize) -> bool {
    program.axes.get(axis).is_some_and(|n| n % 4 == 0)
}

fn pointwise_variants(program: &Program) -> Vec<Variant> {
    let last = program.axes.len().checked_sub(1);
    let wides = [false, true].into_iter();
    let wides = wides.filter(|wide| !wide || last.is_some_and(|axis| divisible(program, axis)));
    let turns = BTreeSet::from([1, turns(program)]);
    let with = |wide| {
        let turns = turns.iter();
        turns.map(move |&turns| Variant::Pointwise(Pointwise { wide, turns }))
    };
    wides.flat_map(with).collect()
}

fn rows_variants(program: &Program) -> Vec<Variant> {
    let mut wides = vec![Wide::No];
    if program.kept > 0 && divisible(program, program.kept - 1) {
        wides.push(Wide::Kept);
    }
    if program.axes.len() > program.kept && divisible(program, program.axes.len() - 1) {
        wides.push(Wide::Reduced);
    }
    let shapes: [(u32, u32, bool); 4] =
        [(8, 1, false), (1, 64, true), (8, 16, true), (32, 8, false)];
    let with = |wide| {
        shapes.map(|(across, slices, slices_adjacent)| Rows {
            across,
            slices,
            wide,
            slices_adjacent,
        })
    };
    let all = wides.into_iter().flat_map(with);
    let all = all.filter(|rows| fits(program, *rows));
    all.map(Variant::Rows).collect()
}

/// The axis along which computing four neighbours at once gains most.
fn wide_rows(program: &Program) -> Wide {
    let last = program.axes.len().checked_sub(1);
    let last = last.filter(|axis| *axis >= program.kept);
    let reduced = last.map_or(0, |axis| gain(program, axis));
    let kept = program.kept.checked_sub(1);
    let kept = kept.map_or(0, |axis| gain(program, axis));
    if reduced <= 0 && kept <= 0 {
        Wide::No
    } else if kept > reduced {
        Wide::Kept
    } else {
        Wide::Reduced
    }
}

/// What computing four neighbours along an axis saves: three accesses of four where they are
/// neighbours in memory. Where they are not it costs: the code is four times as long. What happens
/// once for a row counts little against what happens at every step.
fn gain(program: &Program, axis: usize) -> i64 {
    if program.axes.get(axis).is_none_or(|n| n % 4 != 0) {
        return 0;
    }
    let loads = program.exprs.iter().filter_map(|e| match e {
        Expr::Load { index, .. } | Expr::LoadRow { index, .. } => Some(index),
        _ => None,
    });
    let stores = program.stores.iter().map(|s| &s.index);
    let gains = loads.chain(stores).map(|index| {
        let weight = if program.is_full_index(index) { 16 } else { 1 };
        if is_quad(index, axis) {
            3 * weight
        } else if is_constant(index, axis) {
            0
        } else {
            -weight
        }
    });
    gains.sum()
}

/// One invocation for every row, as barriers cost most there; several only for a few long rows,
/// which would leave most lanes of the vector unit idle. Measured on lavapipe 22.3.
fn software_rows(program: &Program) -> Rows {
    let wide = wide_rows(program);
    let (rows, steps) = sizes(program, wide);
    let slices = if rows < 16 {
        power_of_two(steps / 32).clamp(1, 16)
    } else {
        1
    };
    // Large workgroups cost less to start, small ones occupy more threads.
    let across = match (slices, rows) {
        (1, 8192..) => 256,
        (1, 1024..) => 32,
        (1, _) => 8,
        _ => 1,
    };
    Rows {
        across,
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
