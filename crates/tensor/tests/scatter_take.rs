//! The ordered sum of rows into a table, where rows are named first, and batches taken from a resident data set.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/kernels.rs"]
mod kernels;
mod support;

use anyhow::ensure;
use gradus_graph::philox::Rng;
use gradus_graph::plan::{KernelKind, ScatterKernel, TakeKernel};
use gradus_graph::{DType, DeviceClass, Target, step_row};
use gradus_tensor::Device;
use gradus_tensor::kernels::{choose, shader};
use kernels::{Memory, Ready};

/// Positions, rows of the table, elements of a row.
const SCATTERS: [[usize; 3]; 7] = [
    [1, 1, 1],
    [17, 5, 3],
    [257, 300, 8],
    [1000, 7, 64],
    [40, 70_000, 2],
    [300_000, 3, 4],
    [5, 30_001, 4],
];

/// Sums in f32 and in the order of the positions: the same bits on every device.
fn scatter(device: &Device, sizes: [usize; 3]) -> anyhow::Result<()> {
    let [count, rows, width] = sizes;
    let mut rng = Rng::new(11, (count + rows) as u64);
    let x: Vec<f32> = (0..count * width)
        .map(|_| rng.uniform() as f32 - 0.5)
        .collect();
    let index: Vec<u32> = (0..count).map(|_| rng.below(rows as u32)).collect();
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_by_key(|&i| index[i as usize]);
    let mut want = vec![0f32; rows * width];
    for (i, row) in index.iter().enumerate() {
        for col in 0..width {
            want[*row as usize * width + col] += x[i * width + col];
        }
    }
    let want: Vec<u32> = want.iter().map(|v| v.to_bits()).collect();
    let first = |place: &dyn Fn(usize) -> usize| -> Vec<u32> {
        let mut first = vec![count as u32; rows];
        for i in (0..count).rev() {
            first[index[place(i)] as usize] = i as u32;
        }
        first
    };
    let firsts = [first(&|i| i), first(&|i| order[i] as usize)];
    let memory = [
        Memory::floats(&x),
        Memory::input(DType::I32, index),
        Memory::output(DType::F32, rows * width),
        Memory::input(DType::I32, order),
        Memory::output(DType::I32, rows),
    ];
    // With the order of the indices and without.
    let kind = |order, sums| {
        KernelKind::Scatter(ScatterKernel {
            x: if sums { Some(0) } else { None },
            index: 1,
            order,
            out: if sums { 2 } else { 4 },
            count,
            rows,
            width: if sums { width } else { 1 },
        })
    };
    let classes = [DeviceClass::Software, DeviceClass::Gpu];
    let orders = classes.into_iter().flat_map(|c| [(c, None), (c, Some(3))]);
    for (class, order, sums) in orders.flat_map(|(c, o)| [(c, o, true), (c, o, false)]) {
        let (operand, want) = match (sums, order) {
            (true, _) => (2, &want),
            (false, order) => (4, &firsts[usize::from(order.is_some())]),
        };
        let target = Target {
            class,
            ..device.target()
        };
        let (plan, kernel) = kernels::plan(target, kind(order, sums), &memory);
        let shader = shader(&plan, &kernel, choose(&plan, &kernel))?;
        let ready = Ready::new(
            device,
            &shader,
            &memory,
            &[0; 64],
            class == DeviceClass::Gpu,
        )?;
        for _ in 0..2 {
            ready.run(1)?;
            let got = ready.read(operand)?;
            // Zero has two signs, and adding either changes nothing.
            let same = |(got, want): (&u32, &u32)| got == want || (got | want) << 1 == 0;
            ensure!(got.iter().zip(want).all(same), "{class:?}\n{}", shader.wgsl);
        }
    }
    Ok(())
}

/// Three arrays at once, of 12, 5 and 1 words a sample, from the seventh position of the order on.
fn take(device: &Device) -> anyhow::Result<()> {
    let (samples, count, first) = (40, 9, 7);
    let mut rng = Rng::new(5, 0);
    let mut order: Vec<u32> = (0..samples as u32).collect();
    rng.shuffle(&mut order);
    let mut memory = vec![Memory::input(DType::U32, order.clone())];
    let mut arrays = Vec::new();
    for (words, dtype) in [(12, DType::F32), (5, DType::F32), (1, DType::I32)] {
        let data = (0..samples * words).map(|_| rng.next_u32() >> 2).collect();
        arrays.push((memory.len(), memory.len() + 1, words));
        memory.push(Memory::input(dtype, data));
        memory.push(Memory::output(dtype, count * words));
    }
    let kind = KernelKind::Take(TakeKernel {
        order: 0,
        count,
        samples,
        arrays: arrays.clone(),
    });
    let (plan, kernel) = kernels::plan(device.target(), kind, &memory);
    let shader = shader(&plan, &kernel, choose(&plan, &kernel))?;
    let mut row = [0; 64];
    row[step_row::BATCH as usize] = first as u32;
    let ready = Ready::new(device, &shader, &memory, &row, false)?;
    ready.run(1)?;
    for (resident, batch, words) in arrays {
        let got = ready.read(batch)?;
        for i in 0..count {
            let sample = order[first + i] as usize;
            let want = &memory[resident].words[sample * words..][..words];
            ensure!(got[i * words..][..words] == *want, "{words} words, row {i}");
        }
    }
    Ok(())
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let gpu = support::Gpu::from_env();
    let mut trials = vec![gpu.trial("take", |device| take(&device))];
    trials.extend(SCATTERS.map(|sizes| {
        let [count, rows, width] = sizes;
        let name = format!("scatter {count} into {rows}x{width}");
        gpu.trial(&name, move |device| scatter(&device, sizes))
    }));
    libtest_mimic::run(&arguments, trials).exit();
}
