//! Times every matmul variant: `matmul LAYOUT M N K [dump-directory]`, LAYOUT one of nn, nt, tn, tt.
//!
//! Figures are GFLOP per second of process CPU time and of wall time. On lavapipe set
//! `LP_NUM_THREADS=0`, so that the CPU time is that of the kernel alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

#[path = "../tests/support/gpu.rs"]
mod gpu;

use gradus_tensor::kernels::DeviceClass;
use gradus_tensor::kernels::matmul::{Matmul, Operand, Store, choose, variants};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [m, n, k] = [1, 2, 3].map(|i| args[i].parse::<u32>().unwrap());
    let [ta, tb] = [0, 1].map(|i| args[0].as_bytes()[i] == b't');
    let class = match std::env::var("CLASS").as_deref() {
        Ok("gpu") => DeviceClass::Gpu,
        _ => DeviceClass::Software,
    };
    let operand = |buffer, transposed, rows, cols| Operand {
        buffer,
        offset: 0,
        transposed,
        row_stride: if transposed { rows } else { cols },
        batch_stride: 0,
    };
    let row_sum = std::env::var_os("ROW_SUM").is_some();
    let matmul = Matmul {
        batch: 1,
        m,
        n,
        k,
        a: operand(0, ta, m, k),
        b: operand(1, tb, k, n),
        row_sum,
    };
    let store = Store {
        buffer: 2,
        offset: 0,
        m,
        n,
        sum: row_sum.then_some((3, 0)),
    };
    if let Some(directory) = args.get(4) {
        for (i, variant) in variants(&matmul, class).into_iter().enumerate() {
            let path = format!("{directory}/{}-{m}-{n}-{k}-{i}.wgsl", args[0]);
            std::fs::write(&path, matmul.shader(variant, &store).wgsl).unwrap();
            println!("{path} {variant:?}");
        }
        return;
    }
    let gpu = gpu::Gpu::any().unwrap();
    println!("{} {args:?}", gpu.name);
    let words = |n: u32| vec![0x3f80_0000u32; n as usize];
    let buffers = [words(m * k), words(k * n), words(m * n), words(m)].map(|w| gpu.buffer(&w));
    let chosen = choose(&matmul, class);
    for variant in variants(&matmul, class) {
        let shader = matmul.shader(variant, &store);
        let start = Instant::now();
        let ready = gpu.prepare(&shader, &buffers, None, false).unwrap();
        gpu.run(&ready, 1);
        let first = start.elapsed();
        let times = (3e8 / matmul.flops() as f64).ceil() as u32;
        let mut best = [0f64; 2];
        for _ in 0..5 {
            let (cpu, wall) = (cpu_seconds(), Instant::now());
            let mut runs = 0;
            while wall.elapsed().as_millis() < 250 {
                gpu.run(&ready, times);
                runs += times;
            }
            let flops = matmul.flops() as f64 * f64::from(runs) * 1e-9;
            let [by_cpu, by_wall] = [cpu_seconds() - cpu, wall.elapsed().as_secs_f64()];
            best = [best[0].max(flops / by_cpu), best[1].max(flops / by_wall)];
        }
        println!(
            "{:6.2} GF/cpu-s {:6.2} GF/s  first {:4} ms  {}{variant:?}",
            best[0],
            best[1],
            first.as_millis(),
            if variant == chosen { "* " } else { "" },
        );
    }
}

/// User and system time of this process, from clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    (fields[12].parse::<f64>().unwrap() + fields[13].parse::<f64>().unwrap()) / 100.0
}
