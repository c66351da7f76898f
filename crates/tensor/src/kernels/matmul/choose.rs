//! Which variant for which shape.

use gradus_graph::DeviceClass;
use gradus_graph::plan::MatMulKernel;

use super::Variant;
use super::register::Register;

/// Register tiles, rows × columns, with how many invocations stand side by side.
const TILES: [Register; 6] = [
    tile(16, 8, 8, 1),
    tile(8, 8, 32, 1),
    tile(8, 4, 32, 1),
    tile(4, 4, 32, 1),
    tile(1, 8, 8, 1),
    tile(8, 1, 1, 8),
];

const fn tile(rows: u32, cols: u32, across: u32, down: u32) -> Register {
    Register {
        rows,
        cols,
        across,
        down,
    }
}

/// The variant for this shape on this class of device.
pub fn choose(kernel: &MatMulKernel, class: DeviceClass) -> Variant {
    let _ = class;
    let fits = |v: &Register| v.rows as usize <= kernel.m && v.cols as usize <= kernel.n;
    let fallback = tile(1, 1, 8, 1);
    Variant::Register(TILES.into_iter().find(fits).unwrap_or(fallback))
}

/// All variants that compute this shape.
pub fn variants(kernel: &MatMulKernel) -> Vec<Variant> {
    let fits = |v: &Register| v.rows as usize <= kernel.m && v.cols as usize <= kernel.n;
    let mut all: Vec<_> = TILES.into_iter().filter(fits).collect();
    all.push(tile(1, 1, 8, 1));
    all.into_iter().map(Variant::Register).collect()
}
