//! The device layer on a real adapter: round trips, counts, and every error it promises.

mod application;
mod buffers;
mod loss;
mod shaders;
#[path = "../support/mod.rs"]
mod support;

use anyhow::{Context, Result, ensure};
use gradus_tensor::kernels::Access;
use gradus_tensor::{
    Buffer, Commands, Device, Dispatch, Source, Staging, Submission, TensorError, compile,
    compile_all,
};
use support::{Gpu, open};

fn main() {
    let gpu = Gpu::from_env();
    let trials = vec![
        gpu.trial("adapter/named", named),
        gpu.trial("adapter/unknown_lists_those_there_are", unknown_adapter),
        gpu.trial("adapter/target", target),
        gpu.trial("buffer/round_trips", buffers::round_trips),
        gpu.trial("buffer/ranges", buffers::ranges),
        gpu.trial("buffer/zeroed", buffers::zeroed),
        gpu.trial("buffer/too_large", buffers::too_large),
        gpu.trial("buffer/budget", buffers::budget),
        gpu.trial("buffer/staging_is_reused", buffers::staging_is_reused),
        gpu.trial("shader/runs", shaders::runs),
        gpu.trial("shader/trusted_runs", shaders::trusted_runs),
        gpu.trial("shader/parse_error", shaders::parse_error),
        gpu.trial("shader/type_error", shaders::type_error),
        gpu.trial("shader/two_entry_points", shaders::two_entry_points),
        gpu.trial("shader/binding_mismatch", shaders::binding_mismatch),
        gpu.trial("shader/workgroup_memory", shaders::workgroup_memory),
        gpu.trial("shader/invocations", shaders::invocations),
        gpu.trial("shader/equal_ones_share", shaders::equal_ones_share),
        gpu.trial(
            "shader/compile_all_names_the_first",
            shaders::compile_all_names_the_first,
        ),
        gpu.trial("dispatch/arguments", dispatch_arguments),
        gpu.trial("dispatch/hazards_name_it", hazards),
        gpu.trial("step/creates_nothing", step_creates_nothing),
        gpu.trial("loss/destroyed", loss::destroyed),
        gpu.trial(
            "loss/destroyed_behind_our_back",
            loss::destroyed_behind_our_back,
        ),
        gpu.trial(
            "loss/destroyed_application_device",
            loss::destroyed_application_device,
        ),
        gpu.trial("loss/uncaptured", loss::uncaptured),
        gpu.trial("wait/timeout", loss::timeout),
        gpu.trial("wgpu/shares_an_application_device", application::from_wgpu),
        gpu.trial("wgpu/threads", application::threads),
    ];
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, trials).exit();
}

/// `y[i] = step.scale * x[i]`, the scale as the first word of the step row.
const SCALE: &str = "\
struct Step { words: array<vec4<f32>, 16> }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> step: Step;
override WG: u32 = 64u;
var<workgroup> scratch: array<f32, WG>;
@compute @workgroup_size(WG)
fn scale(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    scratch[lane] = step.words[0].x;
    if id.x < arrayLength(&x) {
        y[id.x] = scratch[lane] * x[id.x];
    }
}
";

fn scale() -> Source {
    Source {
        label: "scale/forward".into(),
        wgsl: SCALE.into(),
        bindings: vec![Access::Read, Access::ReadWrite],
        step_row: true,
        trusted: false,
    }
}

fn shader(label: &str, wgsl: &str) -> Source {
    let (label, wgsl) = (label.into(), wgsl.into());
    Source {
        label,
        wgsl,
        bindings: vec![Access::ReadWrite],
        step_row: false,
        trusted: false,
    }
}

/// A shader that adds `n` to one buffer.
fn add(n: u32) -> Source {
    let wgsl = format!(
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n\
         @compute @workgroup_size(64) fn add(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
         if id.x < arrayLength(&x) {{ x[id.x] += {n}u; }} }}"
    );
    shader(&format!("add_{n}"), &wgsl)
}

fn error_of<T>(result: Result<T, TensorError>) -> Result<TensorError> {
    result.err().context("this must be an error")
}

fn named(device: Device) -> Result<()> {
    let name = device.info().name.to_uppercase();
    ensure!(Device::named(&name)?.info() == device.info());
    ensure!(Device::all().contains(device.info()));
    if let Ok(software) = Device::named("Software") {
        ensure!(software.info().to_string().contains("software"));
        ensure!(software.memory_budget().is_some() || !cfg!(target_os = "linux"));
    }
    Ok(())
}

fn unknown_adapter(device: Device) -> Result<()> {
    let message = error_of(Device::named("no such adapter"))?.to_string();
    ensure!(message.contains("no such adapter"), "{message}");
    ensure!(message.contains(&device.info().name), "{message}");
    Ok(())
}

fn target(device: Device) -> Result<()> {
    let target = device.target();
    ensure!(
        target.max_bindings >= 8 && target.max_invocations >= 128,
        "{target:?}"
    );
    ensure!(target.max_binding_bytes < 1 << 31, "{target:?}");
    Ok(())
}

fn dispatch_arguments(device: Device) -> Result<()> {
    let pipeline = compile(&device, &add(1))?;
    let x = Buffer::storage(&device, "x", 1_024)?;
    let dispatch = |buffers: &[_], grid| Dispatch::new(&device, "add", &pipeline, buffers, grid);
    let none = error_of(dispatch(&[], [1, 1, 1]))?;
    ensure!(
        none.to_string() == "`add` binds 1 buffers but was given 0",
        "{none}"
    );
    let long = error_of(dispatch(&[x.whole()], [1, 65_536, 1]))?;
    ensure!(
        matches!(
            long,
            TensorError::LimitExceeded {
                allowed: 65_535,
                ..
            }
        ),
        "{long}"
    );
    let empty = error_of(dispatch(&[x.whole()], [1, 0, 1]))?;
    ensure!(empty.to_string().contains("1x0x1"), "{empty}");
    let odd = error_of(dispatch(&[x.range(4, 64)?], [1, 1, 1]))?;
    ensure!(matches!(odd, TensorError::Unaligned { .. }), "{odd}");
    let allowed = device.limits().max_storage_buffer_binding_size;
    if allowed + 16 <= device.limits().max_buffer_size && allowed < 1 << 28 {
        let large = Buffer::storage(&device, "large", allowed + 16)?;
        let error = error_of(dispatch(&[large.whole()], [1, 1, 1]))?;
        ensure!(
            error.to_string().contains("bytes in one binding"),
            "{error}"
        );
    }
    Ok(())
}

/// What wgpu finds out only at a submit is known by the dispatch's own label before it.
fn hazards(device: Device) -> Result<()> {
    let x = Buffer::storage(&device, "x", 1_024)?;
    let both = [x.whole(), x.whole()];
    let twice = Dispatch::new(
        &device,
        "fc1/add",
        &compile(&device, &scale())?,
        &both,
        [1; 3],
    );
    let message = error_of(twice)?.to_string();
    ensure!(
        message.contains("`fc1/add`") && message.contains("writes `x`"),
        "{message}"
    );

    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32, 1024>;\n\
                @compute @workgroup_size(1) fn f() { x[0] = 1u; }";
    let pipeline = compile(&device, &shader("fixed", wgsl))?;
    let dispatch = Dispatch::new(&device, "fc2/add", &pipeline, &[x.whole()], [1; 3])?;
    let message = error_of(dispatch.validate(&device, "fc2/add", None))?.to_string();
    ensure!(
        message.contains("`fc2/add`") && message.contains("4096"),
        "{message}"
    );

    let mut commands = Commands::new(&device, "hazardous step")?;
    commands.pass("pass").dispatch(&dispatch);
    let message = error_of(commands.submit())?.to_string();
    ensure!(message.contains("`hazardous step`"), "{message}");
    Ok(())
}

fn step_creates_nothing(_: Device) -> Result<()> {
    let device = open()?;
    let x = Buffer::zeroed(&device, "x", 4_000)?;
    let pipelines = compile_all(&device, &[add(1), add(2)], &|_, _| ())?;
    let plan: Vec<Dispatch> = pipelines
        .iter()
        .map(|pipeline| Dispatch::new(&device, "add", pipeline, &[x.whole()], [16, 1, 1]))
        .collect::<Result<_, _>>()?;
    let mut ring = Staging::new(&device, "ring", 16)?;
    let step = |ring: &Staging| -> Result<Submission> {
        let mut commands = Commands::new(&device, "step")?;
        let mut pass = commands.pass("step");
        plan.iter().for_each(|dispatch| pass.dispatch(dispatch));
        drop(pass);
        commands.copy_to_staging(&x.range(0, 16)?, ring, 0)?;
        Ok(commands.submit()?)
    };
    let before = device.counters();
    for _ in 0..9 {
        step(&ring)?;
    }
    let tenth = step(&ring)?;
    ensure!(ring.read(&tenth, 4)? == 30u32.to_le_bytes());
    let spent = device.counters() - before;
    ensure!(
        (spent.submits, spent.passes, spent.dispatches) == (10, 10, 20),
        "{spent:?}"
    );
    ensure!(
        (spent.copies, spent.waits, spent.uploads) == (10, 1, 0),
        "{spent:?}"
    );
    ensure!(
        (spent.buffers, spent.bind_groups, spent.pipelines) == (0, 0, 0),
        "{spent:?}"
    );
    ensure!(tenth.is_done()?);
    tenth.wait_for_back_pressure()?;
    ensure!((device.counters() - before).back_pressure_waits == 1);
    Ok(())
}
