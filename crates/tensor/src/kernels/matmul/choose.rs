//! Which variant for which shape.

use gradus_graph::{DeviceClass, Target};

use super::software;
use super::{Form, Register, Sliced, Tiled, Variant};

/// Blocks in workgroup memory. Not measured on a GPU.
const TILED: [Tiled; 4] = [tiled(128, 8, 8), tiled(64, 8, 8), tiled(32, 16, 4), WIDE];

/// For few rows and many columns, as convolutions to few channels have.
const WIDE: Tiled = Tiled {
    rows: 32,
    cols: 128,
    depth: 16,
    tile_rows: 4,
    tile_cols: 8,
};

/// Slices of K. Not measured on a GPU.
const SLICED: [Sliced; 5] = [
    sliced(4, 4, 4, 4, 8),
    sliced(4, 4, 2, 2, 32),
    sliced(1, 4, 16, 1, 16),
    sliced(1, 1, 4, 1, 64),
    sliced(4, 1, 1, 4, 32),
];

/// Register tiles for tests: rows, columns, invocations across and down.
const REGISTER: [[u32; 4]; 4] = [[16, 8, 8, 1], [8, 4, 2, 4], [10, 7, 1, 8], [1, 1, 8, 1]];

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

/// The variant for this shape on this device.
pub fn choose(form: Form, target: &Target) -> Variant {
    match target.class {
        DeviceClass::Gpu => for_gpu(form),
        DeviceClass::Software | DeviceClass::Cpu => {
            Variant::Register(software::choose(form, target.subgroup))
        }
    }
}

/// Variants of every family that compute this shape on this device: first those that devices of
/// each class choose.
pub fn variants(form: Form, target: &Target) -> Vec<Variant> {
    let fits = |rows: u32, cols: u32| rows as usize <= form.m && cols as usize <= form.n;
    let registers = REGISTER.into_iter().flat_map(|[rows, cols, across, down]| {
        let one_line = across == 1 || down == 1;
        let subgroup = one_line && target.subgroup == Some(across * down);
        let shared = [false, true].into_iter().filter(move |s| !s || subgroup);
        shared.map(move |shared| Register {
            rows,
            cols,
            across,
            down,
            shared,
        })
    });
    let registers = registers.filter(|v| fits(v.rows, v.cols));
    let sliced = SLICED.into_iter().filter(|v| fits(v.rows, v.cols));
    let chosen = [DeviceClass::Software, DeviceClass::Gpu].map(|class| {
        let target = target.clone();
        choose(form, &Target { class, ..target })
    });
    let mut all = chosen.to_vec();
    let others = registers
        .map(Variant::Register)
        .chain(TILED.map(Variant::Tiled))
        .chain(sliced.map(Variant::Sliced));
    all.extend(others.filter(|v| !chosen.contains(v)));
    all.dedup();
    all
}

/// Whether devices of a class can gain by this variant.
pub(in super::super) fn suits(variant: Variant, class: DeviceClass) -> bool {
    matches!(variant, Variant::Register(_)) == (class != DeviceClass::Gpu)
}

/// Large blocks as long as they leave every part of the device something to do; for few elements,
/// slices of the sum.
fn for_gpu(form: Form) -> Variant {
    let blocks = |size: usize| form.batch * form.m.div_ceil(size) * form.n.div_ceil(size);
    let [large, medium, small, wide] = TILED;
    let [tiles, few, row, element, column] = SLICED;
    match (form.m, form.n) {
        (..4, ..4) => Variant::Sliced(element),
        (..4, _) if form.along_k => Variant::Sliced(element),
        (..4, _) => Variant::Sliced(row),
        (_, ..4) => Variant::Sliced(column),
        (..=32, _) if form.n.div_ceil(128) >= 64 => Variant::Tiled(wide),
        _ if blocks(128) >= 128 => Variant::Tiled(large),
        _ if blocks(64) >= 128 => Variant::Tiled(medium),
        _ if blocks(32) >= 64 || form.k <= 64 => Variant::Tiled(small),
        _ if blocks(16) >= 16 || form.k <= 512 => Variant::Sliced(tiles),
        _ => Variant::Sliced(few),
    }
}
