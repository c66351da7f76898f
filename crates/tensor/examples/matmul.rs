//! Times every matmul variant: `matmul LAYOUT M N K [dump-directory]`, LAYOUT one of nn, nt, tn, tt.
//!
//! Figures are GFLOP per second of process CPU time and of wall time. On lavapipe set
//! `LP_NUM_THREADS=0`, so that the CPU time is that of the kernel alone. With a directory the
//! shaders are only written there. `ROW_SUM=1` sums A as well; `EPILOGUE=1` adds bias,
//! activation, dropout and a residual; `TILES=16x8x8x1x1,…` times register
//! tiles of these rows, columns, invocations across and down (and 1 for sharing), nothing else; `CHOSEN=1` the chosen variant alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

#[path = "../tests/support/clock.rs"]
mod clock;
#[path = "../tests/support/kernels.rs"]
mod kernels;
#[path = "../tests/support/products.rs"]
mod products;

use std::time::Instant;

use gradus_graph::Target;
use gradus_graph::plan::KernelKind;
use gradus_tensor::Device;
use gradus_tensor::kernels::{Variant, matmul, shader, variants};
use kernels::Ready;
use products::Case;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [m, n, k] = [1, 2, 3].map(|i| args[i].parse::<usize>().unwrap());
    let mut layouts = ["nn", "nt", "tn", "tt"].into_iter();
    let layout = layouts.find(|l| *l == args[0]).unwrap();
    let (mut kernel, memory) = products::kernel(&Case {
        layout,
        batch: 1,
        size: [m, n, k],
        broadcast: [false; 2],
        slack: 0,
        epilogue: std::env::var_os("EPILOGUE").is_some(),
    });
    if std::env::var_os("ROW_SUM").is_none() {
        kernel.row_sum = None;
    }
    let target = Target::lavapipe();
    let chosen = Variant::Matmul(matmul::choose((&kernel).into(), &target));
    let (plan, kernel) = kernels::plan(target, KernelKind::MatMul(kernel), &memory);
    if let Some(directory) = args.get(4) {
        for (i, variant) in variants(&plan, &kernel).into_iter().enumerate() {
            let path = format!("{directory}/{}-{m}-{n}-{k}-{i}.wgsl", args[0]);
            std::fs::write(&path, shader(&plan, &kernel, variant)?.wgsl)?;
            println!("{path} {variant:?}");
        }
        return Ok(());
    }
    let device = Device::best().or_else(|_| Device::named("software"))?;
    println!("{} {args:?}", device.info());
    let flops = 2.0 * (m * n * k) as f64;
    let tiles = std::env::var("TILES").unwrap_or_default();
    let tiles = tiles.split(',').filter(|t| !t.is_empty()).map(|tile| {
        let numbers: Vec<u32> = tile.split('x').map(|n| n.parse().unwrap()).collect();
        Variant::Matmul(matmul::Variant::Register(matmul::Register {
            rows: numbers[0],
            cols: numbers[1],
            across: numbers[2],
            down: numbers[3],
            shared: numbers.get(4) == Some(&1),
        }))
    });
    let mut all: Vec<_> = tiles.collect();
    let only_chosen = std::env::var_os("CHOSEN").is_some();
    if all.is_empty() {
        all.push(chosen);
        all.extend(
            variants(&plan, &kernel)
                .into_iter()
                .filter(|v| *v != chosen),
        );
    }
    if only_chosen {
        all.truncate(1);
    }
    for variant in all {
        let shader = shader(&plan, &kernel, variant)?;
        let start = Instant::now();
        let ready = Ready::new(&device, &shader, &memory, &[0; 64], true)?;
        ready.run(1)?;
        let first = start.elapsed();
        let times = (3e8 / flops).ceil() as u32;
        let mut best = [0f64; 2];
        for _ in 0..5 {
            let (cpu, wall) = (clock::cpu_seconds(), Instant::now());
            let mut runs = 0;
            while wall.elapsed().as_millis() < 250 {
                ready.run(times)?;
                runs += times;
            }
            let work = flops * f64::from(runs) * 1e-9;
            let [by_cpu, by_wall] = [clock::cpu_seconds() - cpu, wall.elapsed().as_secs_f64()];
            best = [best[0].max(work / by_cpu), best[1].max(work / by_wall)];
        }
        println!(
            "{:6.2} GF/cpu-s {:6.2} GF/s  first {:4} ms  {}{variant:?}",
            best[0],
            best[1],
            first.as_millis(),
            if variant == chosen { "* " } else { "" },
        );
    }
    Ok(())
}
