//! Whole training steps on a real adapter: counts, results, errors.
//!
//! Counters belong to a device, so trials that count open one of their own.

#[path = "support/mlp.rs"]
mod mlp;
#[path = "support/oracle.rs"]
mod oracle;
mod support;

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use gradus_graph::backend::{BackendError, Runtime, StepRow};
use gradus_graph::plan::{KernelKind, Plan, Role};
use gradus_tensor::{Counters, Device, GpuRuntime};
use mlp::{Mlp, Model, memory, row, value, words_of};
use support::{Gpu, open};

fn main() {
    let gpu = Gpu::from_env();
    let mut trials = vec![
        gpu.trial("steady/uploaded", |_| steady(&mnist(), 7)),
        gpu.trial("steady/resident", |_| {
            let resident = Some(1000);
            steady(
                &Mlp {
                    resident,
                    ..mnist()
                },
                8,
            )
        }),
        gpu.trial("steady/clipped", |_| {
            let clip = Some(1.0);
            steady(&Mlp { clip, ..mnist() }, 8)
        }),
        gpu.trial("memory/equals_the_plan", memory_equals_the_plan),
        gpu.trial("memory/slots_are_shared", slots_are_shared),
        gpu.trial("memory/out_of_budget", out_of_budget),
        gpu.trial("steps/many_in_one_submit", many_in_one_submit),
        gpu.trial("steps/reports_wait", reports_wait),
        gpu.trial("steps/long_ones_are_cut", long_ones_are_cut),
        gpu.trial("steps/same_bits", same_bits),
        gpu.trial("errors/bad_label", bad_label),
        gpu.trial("errors/destroyed", destroyed),
        gpu.trial("errors/ranges", ranges),
        gpu.trial("errors/kernels_have_lines", kernels_have_lines),
        gpu.trial("progress", progress),
    ];
    for (name, mlp) in cases() {
        trials.push(gpu.trial(&format!("oracle/{name}"), move |d| against_oracle(&d, &mlp)));
    }
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, trials).exit();
}

fn mnist() -> Mlp {
    Mlp::new(&[784, 128, 10], 64)
}

fn small() -> Mlp {
    let dropout = 0.2;
    Mlp {
        dropout,
        ..Mlp::new(&[20, 33, 7], 16)
    }
}

fn cases() -> Vec<(&'static str, Mlp)> {
    let (dropout, clip, resident) = (0.2, Some(0.5), Some(100));
    vec![
        ("mnist", mnist()),
        (
            "dropout",
            Mlp {
                dropout,
                ..Mlp::new(&[40, 64, 32, 10], 64)
            },
        ),
        (
            "clipped",
            Mlp {
                clip,
                ..Mlp::new(&[17, 24, 5], 33)
            },
        ),
        (
            "resident",
            Mlp {
                resident,
                ..Mlp::new(&[17, 24, 5], 33)
            },
        ),
        ("one", Mlp::new(&[1, 1, 2], 1)),
        (
            "awkward",
            Mlp {
                dropout,
                ..Mlp::new(&[257, 7, 1, 257, 3], 513)
            },
        ),
    ]
}

/// A step costs what the plan says, creates nothing, and waits only for the step three before.
fn steady(mlp: &Mlp, dispatches: u64) -> Result<()> {
    let device = open()?;
    let mut model = Model::new(&device, mlp)?;
    let plan = Arc::clone(&model.plan);
    ensure!(plan.kernels.len() as u64 == dispatches, "{plan:#}");
    let mut tickets = std::collections::VecDeque::new();
    let mut losses = Vec::new();
    let mut before = Counters::default();
    const WARM: u32 = 5;
    const STEPS: u32 = 12;
    for step in 0..WARM + STEPS {
        if step == WARM {
            before = device.counters();
        }
        let ticket = model
            .runtime
            .submit(model.program, &[row(step)], &model.upload)?;
        tickets.push_back(ticket);
        if tickets.len() > 3 {
            let oldest = tickets.pop_front().context("no ticket")?;
            let report = model.runtime.wait(oldest)?;
            ensure!(report.rows.len() == 1 && report.errors == [0], "{report:?}");
            losses.push(model.loss(report.rows.first().context("no row")?)?);
        }
    }
    let spent = device.counters() - before;
    let n = u64::from(STEPS);
    let mut expected = Counters::default();
    expected.submits = n;
    expected.passes = n;
    expected.dispatches = n * dispatches;
    expected.uploads = n;
    expected.back_pressure_waits = n;
    // Ring, error words, and the error words' clearing.
    expected.copies = 3 * n;
    ensure!(spent == expected, "{spent:?} instead of {expected:?}");
    let (first, last) = (
        losses.first().context("no loss")?,
        losses.last().context("no loss")?,
    );
    ensure!(last < first, "the loss does not fall: {losses:?}");
    Ok(())
}

fn memory_equals_the_plan(_: Device) -> Result<()> {
    let device = open()?;
    for (name, mlp) in cases() {
        let before = device.allocated();
        let model = Model::new(&device, &mlp)?;
        let used = model.runtime.memory_use();
        let planned: u64 = model.plan.buffers.iter().map(|b| b.bytes).sum();
        ensure!(
            used.planned == planned,
            "{name}: {used:?} instead of {planned}"
        );
        let bill = &model.plan.bill;
        ensure!(
            planned == bill.slabs + bill.transient + bill.other,
            "{name}: {bill:?}"
        );
        let all = used.planned + used.step_rows + used.ring_rows + used.reports;
        ensure!(device.allocated() - before == all, "{name}: {used:?}");
        drop(model);
        ensure!(
            device.allocated() == before,
            "{name}: a buffer outlives its runtime"
        );
    }
    Ok(())
}

/// A later plan with larger slots takes them over; the earlier one still gives the same bits.
fn slots_are_shared(device: Device) -> Result<()> {
    let small = small();
    let large = Mlp {
        batch: 100,
        ..small.clone()
    };
    let mut alone = Model::new(&device, &small)?;
    let mut both = Model::new(&device, &small)?;
    let planned = |model: &Model| model.runtime.memory_use().planned;
    let plan = large.plan(&device.target())?;
    let before = planned(&both);
    let program = both.runtime.compile(Arc::clone(&plan))?;
    let more: u64 = plan.buffers.iter().map(|b| b.bytes).sum();
    let shared = plan.bill.slabs + both.plan.bill.transient;
    ensure!(
        planned(&both) == before + more - shared,
        "slots are not shared"
    );
    for step in 0..3 {
        ensure!(alone.steps(&[row(step)])? == both.steps(&[row(step)])?);
    }
    ensure!(alone.slabs()? == both.slabs()?);
    let ticket = both
        .runtime
        .submit(program, &[row(3)], &large.upload(&plan)?)?;
    ensure!(both.runtime.wait(ticket)?.rows.len() == 1);
    Ok(())
}

fn out_of_budget(_: Device) -> Result<()> {
    let device = open()?;
    device.set_memory_budget(Some(1 << 20));
    match Model::new(&device, &mnist())
        .map(|_| ())
        .map_err(anyhow::Error::downcast)
    {
        Err(Ok(BackendError::OutOfMemory { advice, .. })) => {
            ensure!(advice.contains("batch"), "{advice}");
            Ok(())
        }
        other => bail!("{other:?} instead of an error that says what to do"),
    }
}

/// Many steps in one submit give the bits of as many submits; more than the rings hold are split.
fn many_in_one_submit(_: Device) -> Result<()> {
    let device = open()?;
    let rows: Vec<StepRow> = (0..70).map(row).collect();
    let (mut one, mut many) = (
        Model::new(&device, &small())?,
        Model::new(&device, &small())?,
    );
    let mut losses = Vec::new();
    for row in &rows {
        losses.extend(one.steps(std::slice::from_ref(row))?);
    }
    let before = device.counters();
    ensure!(many.steps(&rows)? == losses, "other losses");
    let spent = device.counters() - before;
    ensure!(
        spent.submits == 2 && spent.passes == 2 && spent.uploads == 2,
        "{spent:?}"
    );
    ensure!(one.slabs()? == many.slabs()?, "other parameters");
    Ok(())
}

/// Reports that nobody asks for at once are kept, and each can be had once.
fn reports_wait(device: Device) -> Result<()> {
    let mut model = Model::new(&device, &small())?;
    let mut tickets = Vec::new();
    for step in 0..8 {
        let rows = [row(2 * step), row(2 * step + 1)];
        tickets.push(model.runtime.submit(model.program, &rows, &model.upload)?);
    }
    let mut losses = Vec::new();
    for &ticket in &tickets {
        for row in model.runtime.wait(ticket)?.rows {
            losses.push(model.loss(&row)?);
        }
    }
    let mut again = Model::new(&device, &small())?;
    let rows: Vec<StepRow> = (0..16).map(row).collect();
    ensure!(again.steps(&rows)? == losses);
    ensure!(
        model
            .runtime
            .wait(*tickets.last().context("none")?)
            .is_err()
    );
    Ok(())
}

fn long_ones_are_cut(_: Device) -> Result<()> {
    let device = open()?;
    let mlp = Mlp::new(&[1024, 1024, 10], 256);
    let mut model = Model::new(&device, &mlp)?;
    let rows: Vec<StepRow> = (0..30).map(row).collect();
    let before = device.counters();
    let losses = model.steps(&rows)?;
    let spent = device.counters() - before;
    ensure!(
        losses.len() == 30 && losses.iter().all(|loss| loss.is_finite()),
        "{losses:?}"
    );
    let software = device.info().to_string().contains("software");
    ensure!(
        !software || spent.submits > 1,
        "30 long steps in {} submits",
        spent.submits
    );
    ensure!(
        spent.uploads == 1 && spent.passes == spent.submits,
        "{spent:?}"
    );
    let mut one = Model::new(&device, &mlp)?;
    for (row, loss) in rows.iter().zip(losses).take(2) {
        ensure!(one.steps(std::slice::from_ref(row))? == [loss]);
    }
    Ok(())
}

fn same_bits(device: Device) -> Result<()> {
    let run = || -> Result<(Vec<f64>, Vec<u32>)> {
        let mut model = Model::new(&device, &small())?;
        let losses = model.steps(&(0..20).map(row).collect::<Vec<_>>())?;
        Ok((losses, model.slabs()?))
    };
    ensure!(run()? == run()?);
    Ok(())
}

fn bad_label(device: Device) -> Result<()> {
    let mlp = small();
    let mut model = Model::new(&device, &mlp)?;
    let good = model.upload.clone();
    let labels = model.plan.inputs.get(1).context("no labels")?.value;
    let at = value(&model.plan, labels)?.offset as usize / 4;
    for (label, bits) in [(7, 7), (-1i32, u32::MAX)] {
        *model.upload.get_mut(at + 3).context("no label")? = label.cast_unsigned();
        let mut errors = Vec::new();
        // Only the step that has it reports it, though others are under way.
        let bad = model.upload.clone();
        let uploads = [&good, &bad, &good];
        let mut tickets = Vec::new();
        for upload in uploads {
            tickets.push(model.runtime.submit(model.program, &[row(0)], upload)?);
        }
        for ticket in tickets {
            errors.push(model.runtime.wait(ticket)?.errors);
        }
        ensure!(errors == [vec![0], vec![bits], vec![0]], "{errors:?}");
        let mut ignore = |_: usize, _: &[_], _: &[_]| Ok(());
        let report = model
            .runtime
            .step_through(model.program, &row(0), &bad, &mut ignore)?;
        ensure!(report.errors == [bits], "{report:?}");
    }
    Ok(())
}

fn destroyed(_: Device) -> Result<()> {
    let device = open()?;
    let mut model = Model::new(&device, &small())?;
    let ticket = model
        .runtime
        .submit(model.program, &[row(0)], &model.upload)?;
    device.wgpu_device().destroy();
    let (program, upload) = (model.program, model.upload.clone());
    let lost = |error: Option<BackendError>| match error {
        Some(BackendError::DeviceLost(_)) => Ok(()),
        other => bail!("{other:?} instead of a lost device"),
    };
    // The step may have finished; nothing after it can.
    let _ = model.runtime.wait(ticket);
    let _ = model.runtime.submit(program, &[row(1)], &upload);
    lost(model.runtime.submit(program, &[row(2)], &upload).err())?;
    lost(model.runtime.wait(ticket).err())?;
    lost(model.runtime.read(program, &Role::Params(0), 0, 1).err())?;
    lost(model.runtime.write(&Role::Params(0), 0, &[0]).err())?;
    lost(model.runtime.compile(Arc::clone(&model.plan)).err())?;
    let mut ignore = |_: usize, _: &[_], _: &[_]| Ok(());
    lost(
        model
            .runtime
            .step_through(program, &row(3), &upload, &mut ignore)
            .err(),
    )
}

fn ranges(device: Device) -> Result<()> {
    let mut model = Model::new(&device, &small())?;
    let words = words_of(&model.plan, &Role::Params(0)) as u64;
    let program = model.program;
    let access = |error: Option<BackendError>| match error {
        Some(BackendError::Access(message)) => Ok(message),
        other => bail!("{other:?} instead of a refused access"),
    };
    let params = Role::Params(0);
    ensure!(model.runtime.read(program, &params, words - 1, 1)?.len() == 1);
    access(model.runtime.read(program, &params, words, 1).err())?;
    access(
        model
            .runtime
            .read(program, &params, u64::MAX, u64::MAX)
            .err(),
    )?;
    access(model.runtime.read(program, &Role::Upload, 0, 1 << 40).err())?;
    access(model.runtime.write(&params, words, &[0]).err())?;
    access(model.runtime.write(&Role::Params(9), 0, &[0]).err())?;
    access(model.runtime.write(&Role::Outputs, 0, &[0]).err())?;
    access(model.runtime.submit(program, &[row(0)], &[0]).err())?;
    access(model.runtime.submit(program, &[], &model.upload).err())?;
    let logits = model.plan.outputs.first().context("no output")?.1;
    let count = value(&model.plan, logits)?.meta.shape.numel() as u64;
    model.steps(&[row(0)])?;
    let logits = model.runtime.read(program, &Role::Outputs, 0, count)?;
    ensure!(logits.iter().any(|&w| w != 0));
    Ok(())
}

/// A kernel that cannot be made is told by its line, and changes nothing.
fn kernels_have_lines(device: Device) -> Result<()> {
    let mut model = Model::new(&device, &small())?;
    let mut broken = Plan::clone(&model.plan);
    let kernel = broken.kernels.get_mut(2).context("no kernel")?;
    let label = kernel.label.clone();
    kernel.bindings.clear();
    match model.runtime.compile(Arc::new(broken)) {
        Err(BackendError::Kernel {
            line: 2, label: l, ..
        }) if l == label => {}
        other => bail!("{other:?} instead of a kernel with its line"),
    }
    ensure!(model.steps(&[row(0)])?.len() == 1);
    Ok(())
}

fn progress(_: Device) -> Result<()> {
    let device = open()?;
    let plan = small().plan(&device.target())?;
    let mut runtime = GpuRuntime::new(device, memory(&plan))?;
    let (sender, told) = std::sync::mpsc::channel();
    runtime.set_progress(Box::new(move |done, all| {
        let _ = sender.send((done, all));
    }));
    runtime.compile(plan)?;
    drop(runtime);
    let told: Vec<_> = told.iter().collect();
    let last = told.iter().map(|(done, _)| *done).max();
    ensure!(
        last.is_some() && last == told.first().map(|(_, all)| *all),
        "{told:?}"
    );
    Ok(())
}

/// Each kernel against the oracle on the kernel's own inputs, for three steps; with run-time checks
/// and without.
fn against_oracle(device: &Device, mlp: &Mlp) -> Result<()> {
    kernels_against_oracle(Model::new(device, mlp)?, mlp)?;
    kernels_against_oracle(Model::checked(device, mlp)?, mlp).context("with checks")
}

fn kernels_against_oracle(mut model: Model, mlp: &Mlp) -> Result<()> {
    let (x, y) = mlp.samples(mlp.resident.unwrap_or(0));
    for step in 0..3 {
        let plan = Arc::clone(&model.plan);
        let row = row(step);
        let mut worst = Ok(());
        model.runtime.overwrite_transients(f32::NAN.to_bits())?;
        let mut observer =
            |line: usize, before: &[Option<Vec<u32>>], after: &[Option<Vec<u32>>]| {
                let compared = match plan.kernels.get(line) {
                    Some(kernel) if matches!(kernel.kind, KernelKind::Take(_)) => {
                        taken(mlp, [&x, &y], after)
                    }
                    Some(kernel) => oracle::compare(&plan, kernel, &row, before, after),
                    None => Err(anyhow::anyhow!("no line {line}")),
                };
                if worst.is_ok() {
                    worst = compared.with_context(|| format!("step {step}, line {line}\n{plan:#}"));
                }
                Ok(())
            };
        model
            .runtime
            .step_through(model.program, &row, &model.upload, &mut observer)?;
        worst?;
    }
    Ok(())
}

/// The batch of a resident data set, whose order is reversed.
fn taken(mlp: &Mlp, data: [&[u32]; 2], after: &[Option<Vec<u32>>]) -> Result<()> {
    for (data, batch) in data.iter().zip(after.iter().flatten()) {
        let width = batch.len() / mlp.batch;
        let samples = data.chunks(width).rev().take(mlp.batch);
        ensure!(samples.flatten().eq(batch), "the wrong samples were taken");
    }
    ensure!(after.iter().flatten().count() == 2);
    Ok(())
}
