//! Which variant for which shape.

use gradus_graph::DeviceClass;
use gradus_graph::plan::MatMulKernel;

use super::{Register, Sliced, Tiled, Variant};

/// Register tiles, rows × columns, with how many invocations stand side by side. GFLOP/s of one
/// core at 512³ in layout NN, lavapipe 22.3.
const REGISTER: [Register; 6] = [
    register(16, 8, 8, 1), // 13.4
    register(8, 8, 32, 1), // 13.0
    register(8, 4, 32, 1), // 10.3
    register(4, 4, 32, 1), // 7.7
    register(1, 8, 8, 1),  // 3.8
    register(8, 1, 1, 8),  // 3.8
];

/// Blocks in workgroup memory. Not measured on a GPU.
const TILED: [Tiled; 3] = [tiled(128, 8, 8), tiled(64, 16, 8), tiled(32, 16, 4)];

/// Slices of K. Not measured on a GPU.
const SLICED: [Sliced; 5] = [
    sliced(4, 4, 4, 4, 8),
    sliced(4, 4, 2, 2, 32),
    sliced(1, 4, 16, 1, 16),
    sliced(1, 1, 4, 1, 64),
    sliced(4, 1, 1, 4, 32),
];

const fn register(rows: u32, cols: u32, across: u32, down: u32) -> Register {
    Register {
        rows,
        cols,
        across,
        down,
    }
}

const fn tiled(size: u32, depth: u32, tile: u32) -> Tiled {
    Tiled {
        rows: size,
        cols: size,
        depth,
        tile_rows: tile,
        tile_cols: tile,
    }
}

const fn sliced(rows: u32, cols: u32, across: u32, down: u32, slices: u32) -> Sliced {
    Sliced {
        rows,
        cols,
        across,
        down,
        slices,
    }
}

/// The variant for this shape on this class of device.
pub fn choose(kernel: &MatMulKernel, class: DeviceClass) -> Variant {
    match class {
        DeviceClass::Gpu => for_gpu(kernel),
        DeviceClass::Software | DeviceClass::Cpu => for_software(kernel),
    }
}

/// All variants that compute this shape.
pub fn variants(kernel: &MatMulKernel) -> Vec<Variant> {
    let fits = |rows: u32, cols: u32| rows as usize <= kernel.m && cols as usize <= kernel.n;
    let registers = REGISTER.into_iter().chain([register(1, 1, 8, 1)]);
    let registers = registers.filter(|v| fits(v.rows, v.cols));
    let sliced = SLICED.into_iter().filter(|v| fits(v.rows, v.cols));
    registers
        .map(Variant::Register)
        .chain(TILED.map(Variant::Tiled))
        .chain(sliced.map(Variant::Sliced))
        .collect()
}

fn for_software(kernel: &MatMulKernel) -> Variant {
    let fits = |v: &Register| v.rows as usize <= kernel.m && v.cols as usize <= kernel.n;
    let found = REGISTER.into_iter().find(fits);
    Variant::Register(found.unwrap_or(register(1, 1, 8, 1)))
}

/// Large blocks as long as they leave every part of the device something to do; for few elements,
/// slices of the sum.
fn for_gpu(kernel: &MatMulKernel) -> Variant {
    let blocks = |size: usize| kernel.batch * kernel.m.div_ceil(size) * kernel.n.div_ceil(size);
    let [large, medium, small] = TILED;
    let [tiles, few, row, element, column] = SLICED;
    let variant = match (kernel.m, kernel.n) {
        (..4, ..4) => Variant::Sliced(element),
        (..4, _) if kernel.b.transposed => Variant::Sliced(element),
        (..4, _) => Variant::Sliced(row),
        (_, ..4) => Variant::Sliced(column),
        _ if blocks(128) >= 128 => Variant::Tiled(large),
        _ if blocks(64) >= 128 => Variant::Tiled(medium),
        _ if blocks(32) >= 64 || kernel.k <= 64 => Variant::Tiled(small),
        _ if blocks(16) >= 16 || kernel.k <= 512 => Variant::Sliced(tiles),
        _ => Variant::Sliced(few),
    };
    variant
}
