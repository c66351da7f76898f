//! What the runtime promises beside the right numbers.

use std::sync::Arc;

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{BackendError, ModelMemory, Runtime};
use gradus_graph::ops::Binary;
use gradus_graph::plan::{KernelKind, Role, ScatterKernel, SlabLayout, TakeKernel};
use gradus_graph::{DType, Expr, Index, step_row};

use super::a_row;
use super::bench::{Memory, plan, run};
use super::build::{Build, at, noise};

#[test]
fn scattered_rows_are_summed_in_order() {
    for dtype in [DType::F32, DType::U32] {
        let (count, rows, width) = (200, 6, 3);
        let x: Vec<f32> = noise(count * width, 1);
        let words: Vec<u32> = x.iter().map(|v| v.to_bits()).collect();
        let index: Vec<u32> = (0..count as u32).map(|i| i * i % 5).collect();
        let memory = [
            Memory::words(words.clone(), dtype),
            Memory::words(index.clone(), DType::U32),
            Memory::out(rows * width, dtype),
        ];
        let kernel = ScatterKernel {
            x: Some(0),
            index: 1,
            order: None,
            out: 2,
            count,
            rows,
            width,
        };
        let outcome = run(KernelKind::Scatter(kernel), &memory, &a_row());
        let (mut floats, mut ints) = (vec![0f32; rows * width], vec![0u32; rows * width]);
        for i in 0..count {
            for c in 0..width {
                let at = index[i] as usize * width + c;
                floats[at] += x[i * width + c];
                ints[at] = ints[at].wrapping_add(words[i * width + c]);
            }
        }
        match dtype {
            DType::F32 => assert_eq!(outcome.floats(2), floats),
            _ => assert_eq!(outcome.words[2], ints),
        }
    }
}

#[test]
fn rows_are_named_first_somewhere() {
    // Row 4 by none; the row after the last is left out.
    let index = vec![3, 5, 0, 3, 1, 0, 2];
    for (order, want) in [(None, [2, 4, 6, 0, 7]), (Some(2), [0, 2, 3, 4, 7])] {
        let memory = [
            Memory::words(index.clone(), DType::I32),
            Memory::out(5, DType::I32),
            Memory::words(vec![2, 5, 4, 6, 0, 3, 1], DType::I32),
        ];
        let kernel = ScatterKernel {
            x: None,
            index: 0,
            order,
            out: 1,
            count: 7,
            rows: 5,
            width: 1,
        };
        let outcome = run(KernelKind::Scatter(kernel), &memory, &a_row());
        assert_eq!(outcome.words[1], want);
    }
}

#[test]
fn batches_are_taken_in_order() {
    let (samples, count) = (10, 4);
    let kernel = TakeKernel {
        order: 0,
        count,
        samples,
        arrays: vec![(1, 3, 3), (2, 4, 1)],
    };
    let order: Vec<u32> = (0..samples as u32).map(|i| (i * 7 + 2) % 10).collect();
    let memory = [
        Memory::words(order.clone(), DType::U32),
        Memory::words((0..30).collect(), DType::U32),
        Memory::words((100..110).collect(), DType::U32),
        Memory::out(12, DType::U32),
        Memory::out(4, DType::U32),
    ];
    let mut row = a_row();
    row[step_row::BATCH as usize] = 6;
    let outcome = run(KernelKind::Take(kernel.clone()), &memory, &row);
    let labels: Vec<u32> = order[6..].iter().map(|i| i + 100).collect();
    assert_eq!(outcome.words[4], labels);
    assert_eq!(
        outcome.words[3][..3],
        [order[6] * 3, order[6] * 3 + 1, order[6] * 3 + 2]
    );

    let mut runtime = CpuRuntime::new(ModelMemory::default());
    let program = runtime
        .compile(Arc::new(plan(KernelKind::Take(kernel), &memory, 0, 0)))
        .unwrap();
    row[step_row::BATCH as usize] = 7;
    let error = runtime
        .submit(program, &[row], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("asked for samples 7 to 11 of 10"), "{error}");
}

#[test]
fn errors_are_reported_once() {
    let mut b = Build::new(&[3], 1);
    let x = b.load_as(0, Index::axis(0), DType::U32);
    let y = b.push(
        Expr::CheckIndex {
            bound: 5,
            site: 0,
            x,
        },
        DType::U32,
    );
    b.store(1, Index::axis(0), y);
    let memory = [
        Memory::words(vec![1, 7, 6], DType::U32),
        Memory::out(3, DType::U32),
    ];
    let mut runtime = CpuRuntime::new(ModelMemory::default());
    let plan = plan(KernelKind::Program(b.program), &memory, 1, 0);
    let program = runtime.compile(Arc::new(plan)).unwrap();
    for (words, error) in [([1, 7, 6], 7), ([1, 2, 3], 0)] {
        runtime.write(&Role::Slot(0), 16, &words).unwrap();
        let ticket = runtime.submit(program, &[a_row()], &[]).unwrap();
        assert_eq!(runtime.wait(ticket).unwrap().errors, [error]);
        assert!(matches!(runtime.wait(ticket), Err(BackendError::Access(_))));
    }
}

#[test]
fn steps_run_in_order_and_can_be_watched() {
    let mut b = Build::new(&[4], 1);
    let x = b.load(0, Index::axis(0));
    let w = b.push(Expr::StepWord(8), DType::F32);
    let y = b.binary(Binary::Add, x, w);
    b.store(0, Index::axis(0), y);
    let memory = [Memory::floats(&[1.0; 4]).in_place()];
    let mut runtime = CpuRuntime::new(ModelMemory::default());
    let plan = plan(KernelKind::Program(b.program), &memory, 0, 0);
    let program = runtime.compile(Arc::new(plan)).unwrap();
    runtime.write(&Role::Slot(0), 16, &memory[0].words).unwrap();
    runtime.submit(program, &[a_row(), a_row()], &[]).unwrap();
    let mut seen = Vec::new();
    let mut observer = |line: usize, before: &[Option<Vec<u32>>], after: &[Option<Vec<u32>>]| {
        seen.push((line, before.to_vec(), after.to_vec()));
        Ok(())
    };
    runtime
        .step_through(program, &a_row(), &[], &mut observer)
        .unwrap();
    let words = |v: f32| vec![Some(vec![v.to_bits(); 4])];
    assert_eq!(seen, [(0, words(1.25), words(1.375))]);
    assert!(runtime.describe().starts_with("CPU ("));
}

#[test]
fn ranges_and_operands_are_checked() {
    let slabs = SlabLayout {
        segments: Vec::new(),
        shards: vec![64],
    };
    let mut runtime = CpuRuntime::new(ModelMemory {
        slabs,
        optimizer_states: 1,
        state_bytes: 16,
    });
    runtime.write(&Role::Params(0), 60, &[1; 4]).unwrap();
    assert!(runtime.write(&Role::Params(0), 61, &[1; 4]).is_err());
    assert!(runtime.write(&Role::Params(1), 0, &[1]).is_err());
    assert!(
        runtime
            .write(&Role::OptimizerState(0, 0), 0, &[1; 64])
            .is_ok()
    );

    let mut b = Build::new(&[5], 1);
    let x = b.load(0, at(1, &[1]));
    b.store(1, Index::axis(0), x);
    let memory = [Memory::floats(&[0.0; 4]), Memory::out(5, DType::F32)];
    let plan = plan(KernelKind::Program(b.program), &memory, 0, 0);
    let error = runtime.compile(Arc::new(plan)).unwrap_err().to_string();
    assert!(
        error.contains("kernel `kernel` (plan line 0): operand 0 has 4 words"),
        "{error}"
    );
}
