//! The device layer on a real adapter: round trips, counts, and every error it promises.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gradus_tensor::kernels::Access;
use gradus_tensor::{
    BindGroup, Buffer, Commands, Device, Dispatch, STEP_ROW_BYTES, Source, Staging, Submission,
    TensorError, compile, compile_all, wgpu,
};
use support::{Gpu, open};

fn main() {
    let gpu = Gpu::from_env();
    let trials = vec![
        gpu.trial("adapter/named", named),
        gpu.trial("adapter/unknown_lists_those_there_are", unknown_adapter),
        gpu.trial("adapter/target", target),
        gpu.trial("buffer/round_trips", round_trips),
        gpu.trial("buffer/ranges", ranges),
        gpu.trial("buffer/zeroed", zeroed),
        gpu.trial("buffer/too_large", too_large),
        gpu.trial("buffer/budget", budget),
        gpu.trial("buffer/staging_is_reused", staging_is_reused),
        gpu.trial("shader/runs", runs),
        gpu.trial("shader/trusted_runs", trusted_runs),
        gpu.trial("shader/parse_error", parse_error),
        gpu.trial("shader/type_error", type_error),
        gpu.trial("shader/two_entry_points", two_entry_points),
        gpu.trial("shader/binding_mismatch", binding_mismatch),
        gpu.trial("shader/workgroup_memory", workgroup_memory),
        gpu.trial("shader/invocations", invocations),
        gpu.trial("shader/equal_ones_share", equal_ones_share),
        gpu.trial(
            "shader/compile_all_names_the_first",
            compile_all_names_the_first,
        ),
        gpu.trial("dispatch/arguments", dispatch_arguments),
        gpu.trial("dispatch/hazards_name_it", hazards),
        gpu.trial("step/creates_nothing", step_creates_nothing),
        gpu.trial("loss/destroyed", destroyed),
        gpu.trial("loss/destroyed_behind_our_back", destroyed_behind_our_back),
        gpu.trial(
            "loss/destroyed_application_device",
            destroyed_application_device,
        ),
        gpu.trial("loss/uncaptured", uncaptured),
        gpu.trial("wait/timeout", timeout),
        gpu.trial("wgpu/shares_an_application_device", from_wgpu),
        gpu.trial("wgpu/threads", threads),
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

fn round_trips(device: Device) -> Result<()> {
    for bytes in [0, 1, 2, 3, 4, 5, 15, 16, 17, 255, 257, 4_099, 1_000_003] {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 7 + 1) as u8).collect();
        let buffer = Buffer::from_bytes(&device, "odd", &data)?;
        ensure!(buffer.read()? == data, "{bytes} bytes");
        ensure!(buffer.padded_bytes() % 16 == 0 && buffer.bytes() == bytes as u64);
    }
    Ok(())
}

fn ranges(device: Device) -> Result<()> {
    let data: Vec<u8> = (0..=255).collect();
    let buffer = Buffer::from_bytes(&device, "bytes", &data)?;
    for (offset, bytes) in [(0, 1), (1, 1), (3, 5), (5, 3), (255, 1), (256, 0), (7, 249)] {
        ensure!(buffer.read_range(offset, bytes)? == data[offset as usize..][..bytes as usize]);
    }
    for (offset, bytes) in [(0, 257), (256, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let error = error_of(buffer.read_range(offset, bytes))?;
        ensure!(matches!(error, TensorError::OutOfRange { .. }), "{error}");
        ensure!(buffer.range(offset, bytes).is_err());
    }
    buffer.write(252, &[1, 2, 3, 4])?;
    ensure!(buffer.read_range(251, 5)? == [251, 1, 2, 3, 4]);
    ensure!(matches!(
        buffer.write(252, &[0; 8]),
        Err(TensorError::OutOfRange { .. })
    ));
    ensure!(matches!(
        buffer.write(2, &[0; 4]),
        Err(TensorError::Unaligned { .. })
    ));
    ensure!(matches!(
        buffer.write(0, &[0; 3]),
        Err(TensorError::Unaligned { .. })
    ));
    let mut commands = Commands::new(&device, "copy")?;
    let odd = commands.copy(&buffer.range(2, 4)?, &buffer, 0);
    ensure!(matches!(odd, Err(TensorError::Unaligned { .. })));
    let far = commands.copy(&buffer.whole(), &buffer, 4);
    ensure!(matches!(far, Err(TensorError::OutOfRange { .. })));
    Ok(())
}

fn zeroed(device: Device) -> Result<()> {
    let zeros = Buffer::zeroed(&device, "zeros", 1_025)?;
    ensure!(zeros.read()? == vec![0; 1_025]);
    let ones = Buffer::from_bytes(&device, "ones", &[1; 1_040])?;
    let mut commands = Commands::new(&device, "copy and clear")?;
    commands.copy(&ones.whole(), &zeros, 0)?;
    commands.clear(&ones);
    commands.submit()?;
    ensure!(zeros.read()? == vec![1; 1_025]);
    ensure!(ones.read()? == vec![0; 1_040]);
    Ok(())
}

fn too_large(device: Device) -> Result<()> {
    for bytes in [1 << 40, device.limits().max_buffer_size + 1, u64::MAX] {
        let error = error_of(Buffer::storage(&device, "huge", bytes))?;
        ensure!(
            matches!(error, TensorError::LimitExceeded { .. }),
            "{error}"
        );
        ensure!(error.to_string().contains("`huge`"), "{error}");
    }
    ensure!(
        Buffer::storage(&device, "small", 16).is_ok(),
        "the device must stay usable"
    );
    Ok(())
}

fn budget(_: Device) -> Result<()> {
    let device = open()?;
    device.set_memory_budget(Some(1 << 20));
    let first = Buffer::storage(&device, "first", 1 << 19)?;
    ensure!(device.allocated() == 1 << 19);
    let error = error_of(Buffer::storage(&device, "second", (1 << 19) + 1))?;
    let expected = TensorError::OutOfMemory {
        label: "second".into(),
        bytes: (1 << 19) + 16,
        allocated: 1 << 19,
        budget: Some(1 << 20),
    };
    ensure!(error == expected, "{error}");
    // A read needs staging of the same size, which gives way to the next buffer.
    first.read()?;
    ensure!(device.allocated() == 1 << 20);
    let second = Buffer::storage(&device, "second", 1 << 19)?;
    drop((first, second));
    ensure!(device.allocated() == 0);
    Ok(())
}

fn staging_is_reused(_: Device) -> Result<()> {
    let device = open()?;
    let buffer = Buffer::from_bytes(&device, "x", &[3; 5_000])?;
    buffer.read()?;
    let before = device.counters();
    for _ in 0..10 {
        buffer.read()?;
    }
    let spent = device.counters() - before;
    ensure!((spent.buffers, spent.waits) == (0, 10), "{spent:?}");
    Ok(())
}

/// One step of `scale` for each of `rows`, and its result.
fn scaled(device: &Device, shader: &Source, rows: &[f32]) -> Result<Vec<u8>> {
    let x: Vec<u8> = (0..1_001).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let x = Buffer::from_bytes(device, "x", &x)?;
    let y = Buffer::zeroed(device, "y", x.bytes())?;
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let steps = Buffer::new(device, "steps", rows.len() as u64 * STEP_ROW_BYTES, usage)?;
    let pipeline = compile(device, shader)?;
    ensure!(pipeline.workgroup_size() == [64, 1, 1] && pipeline.workgroup_bytes() == 256);
    let buffers = [x.whole(), y.whole()];
    let dispatch = Dispatch::new(device, "scale", &pipeline, &buffers, [16, 1, 1])?;
    for (row, value) in (0..).zip(rows) {
        steps.write(row * STEP_ROW_BYTES, &value.to_le_bytes())?;
        let step_row = BindGroup::step_row(device, &steps, row)?;
        let mut commands = Commands::new(device, "step")?;
        let mut pass = commands.pass("step");
        pass.set_step_row(&step_row);
        pass.dispatch(&dispatch);
        drop(pass);
        commands.submit()?;
    }
    Ok(y.read()?)
}

fn expected(scale: f32) -> Vec<u8> {
    (0..1_001)
        .flat_map(|i| (scale * i as f32).to_le_bytes())
        .collect()
}

fn runs(device: Device) -> Result<()> {
    ensure!(scaled(&device, &scale(), &[2.0, 3.0])? == expected(3.0));
    Ok(())
}

fn trusted_runs(device: Device) -> Result<()> {
    let trusted = Source {
        trusted: true,
        ..scale()
    };
    ensure!(scaled(&device, &trusted, &[0.5])? == expected(0.5));
    Ok(())
}

fn parse_error(device: Device) -> Result<()> {
    let wgsl = "@compute @workgroup_size(1)\nfn f() {\n    let x = ;\n}\n";
    let error = error_of(compile(&device, &shader("broken/forward", wgsl)))?;
    ensure!(
        matches!(error, TensorError::Shader { line: Some(3), .. }),
        "{error:?}"
    );
    let message = error.to_string();
    ensure!(
        message.starts_with("shader `broken/forward`, line 3"),
        "{message}"
    );
    ensure!(message.contains("let x = ;"), "{message}");
    Ok(())
}

/// What naga's validator refuses, after its parser was content.
fn type_error(device: Device) -> Result<()> {
    let wgsl = "@group(0) @binding(0) var<storage, read> x: array<f32>;\n\
                @compute @workgroup_size(1)\nfn f() {\n    x[0] = 1.0;\n}\n";
    let error = error_of(compile(&device, &shader("readonly/forward", wgsl)))?;
    ensure!(
        matches!(error, TensorError::Shader { line: Some(4), .. }),
        "{error:?}"
    );
    ensure!(error.to_string().contains("`readonly/forward`"), "{error}");
    Ok(())
}

fn two_entry_points(device: Device) -> Result<()> {
    let wgsl = "@compute @workgroup_size(1) fn f() {}\n@compute @workgroup_size(1) fn g() {}";
    for wgsl in [wgsl, "", "const x = 1;"] {
        let error = error_of(compile(&device, &shader("two", wgsl)))?;
        ensure!(error.to_string().contains("exactly one"), "{error}");
    }
    Ok(())
}

fn binding_mismatch(device: Device) -> Result<()> {
    let missing = Source {
        bindings: vec![Access::Read],
        ..scale()
    };
    let read_only = Source {
        bindings: vec![Access::Read, Access::Read],
        ..scale()
    };
    let no_step_row = Source {
        step_row: false,
        ..scale()
    };
    for shader in [missing, read_only, no_step_row] {
        let error = error_of(compile(&device, &shader))?;
        ensure!(matches!(error, TensorError::Validation { .. }), "{error:?}");
        ensure!(error.to_string().contains("`scale/forward`"), "{error}");
    }
    let most = device.limits().max_storage_buffers_per_shader_stage as usize;
    if most < 1_000 {
        let many = Source {
            bindings: vec![Access::Read; most + 1],
            ..scale()
        };
        let error = error_of(compile(&device, &many))?;
        ensure!(
            matches!(error, TensorError::LimitExceeded { .. }),
            "{error:?}"
        );
    }
    Ok(())
}

fn workgroup_memory(device: Device) -> Result<()> {
    let allowed = device.limits().max_compute_workgroup_storage_size;
    let shader = |words: u32| {
        let wgsl = format!(
            "var<workgroup> a: array<u32, {words}>;\n\
             @group(0) @binding(0) var<storage, read_write> x: array<u32>;\n\
             @compute @workgroup_size(1) fn f() {{ a[x[0]] = 1u; x[1] = a[x[2]]; }}"
        );
        shader("greedy/forward", &wgsl)
    };
    ensure!(compile(&device, &shader(allowed / 4))?.workgroup_bytes() == allowed);
    let error = error_of(compile(&device, &shader(allowed / 4 + 1)))?;
    let message = error.to_string();
    ensure!(message.contains("`greedy/forward`"), "{message}");
    ensure!(message.contains(&format!("{} bytes of workgroup memory", allowed + 16)));
    Ok(())
}

fn invocations(device: Device) -> Result<()> {
    let wgsl = "@compute @workgroup_size(64, 64, 1) fn f() {}";
    let error = error_of(compile(&device, &shader("wide", wgsl)))?;
    ensure!(
        matches!(error, TensorError::LimitExceeded { needed: 4_096, .. }),
        "{error}"
    );
    Ok(())
}

fn equal_ones_share(_: Device) -> Result<()> {
    let device = open()?;
    let shaders: Vec<Source> = (0..24).map(|i| add(i % 8)).collect();
    let (sender, calls) = std::sync::mpsc::channel();
    let progress = |done, total| sender.send((done, total)).unwrap_or_default();
    let pipelines = compile_all(&device, &shaders, &progress)?;
    drop(sender);
    ensure!(device.counters().pipelines == 8, "{:?}", device.counters());
    ensure!(pipelines.len() == 24 && pipelines[23].label() == "add_7");
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_unstable();
    ensure!(
        calls == (1..=8).map(|done| (done, 8)).collect::<Vec<_>>(),
        "{calls:?}"
    );
    compile(
        &device,
        &Source {
            label: "other".into(),
            ..add(3)
        },
    )?;
    ensure!(device.counters().pipelines == 8);
    compile(
        &device,
        &Source {
            trusted: true,
            ..add(3)
        },
    )?;
    ensure!(device.counters().pipelines == 9);
    Ok(())
}

fn compile_all_names_the_first(device: Device) -> Result<()> {
    let shaders = [
        add(100),
        shader("first", "fn"),
        add(101),
        shader("second", "fn"),
    ];
    let error = error_of(compile_all(&device, &shaders, &|_, _| ()))?;
    ensure!(error.to_string().contains("`first`"), "{error}");
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

/// Every operation on a lost device says so.
fn ensure_all_lost(device: &Device, x: &Buffer, dispatch: &Dispatch) -> Result<()> {
    let results = [
        ("check", device.check()),
        ("storage", Buffer::storage(device, "y", 16).map(drop)),
        ("zeroed", Buffer::zeroed(device, "y", 16).map(drop)),
        ("write", x.write(0, &[0; 4])),
        ("read", x.read().map(drop)),
        ("compile", compile(device, &add(9)).map(drop)),
        ("compile a known one", compile(device, &add(1)).map(drop)),
        (
            "dispatch",
            Dispatch::new(device, "d", dispatch.pipeline(), &[x.whole()], [1; 3]).map(drop),
        ),
        ("commands", Commands::new(device, "c").map(drop)),
        ("staging", Staging::new(device, "s", 16).map(drop)),
    ];
    for (what, result) in results {
        ensure!(
            matches!(result, Err(TensorError::DeviceLost { .. })),
            "{what}: {result:?}"
        );
    }
    Ok(())
}

fn before_the_loss(device: &Device) -> Result<(Buffer, Dispatch, Submission)> {
    let x = Buffer::zeroed(device, "x", 1_024)?;
    let dispatch = Dispatch::new(
        device,
        "d",
        &compile(device, &add(1))?,
        &[x.whole()],
        [1; 3],
    )?;
    let mut commands = Commands::new(device, "step")?;
    commands.pass("step").dispatch(&dispatch);
    Ok((x, dispatch, commands.submit()?))
}

fn destroyed(_: Device) -> Result<()> {
    let device = open()?;
    let (x, dispatch, submission) = before_the_loss(&device)?;
    let recording = Commands::new(&device, "too late")?;
    device.destroy();
    device.destroy();
    ensure!(matches!(
        recording.submit(),
        Err(TensorError::DeviceLost { .. })
    ));
    ensure!(matches!(
        submission.wait(),
        Err(TensorError::DeviceLost { .. })
    ));
    ensure_all_lost(&device, &x, &dispatch)?;
    open()?; // a new one works
    Ok(())
}

/// wgpu ignores the calls after this; its callback tells us.
fn destroyed_behind_our_back(_: Device) -> Result<()> {
    let device = open()?;
    let (x, dispatch, submission) = before_the_loss(&device)?;
    submission.wait()?;
    device.wgpu_device().destroy();
    let error = error_of(x.read())?;
    ensure!(matches!(error, TensorError::DeviceLost { .. }), "{error}");
    ensure_all_lost(&device, &x, &dispatch)
}

fn application() -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster_free(instance.enumerate_adapters(wgpu::Backends::PRIMARY))?;
    let adapter = adapters.first().context("an adapter")?;
    pollster_free(adapter.request_device(&wgpu::DeviceDescriptor::default()))?.map_err(Into::into)
}

/// wgpu's futures are ready at once on native platforms.
fn pollster_free<F: Future>(future: F) -> Result<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Ok(value),
        std::task::Poll::Pending => bail!("pending"),
    }
}

/// Without a callback the loss shows when memory cannot be read.
fn destroyed_application_device(_: Device) -> Result<()> {
    let (app_device, app_queue) = application()?;
    let device = Device::from_wgpu(app_device.clone(), app_queue);
    let (x, dispatch, submission) = before_the_loss(&device)?;
    submission.wait()?;
    app_device.destroy();
    let error = error_of(x.read())?;
    ensure!(matches!(error, TensorError::DeviceLost { .. }), "{error}");
    ensure_all_lost(&device, &x, &dispatch)
}

fn uncaptured(_: Device) -> Result<()> {
    let device = open()?;
    let _ = device.wgpu_device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("not through us"),
        size: u64::MAX,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let error = error_of(Buffer::storage(&device, "x", 16))?;
    ensure!(matches!(error, TensorError::Validation { .. }), "{error:?}");
    ensure!(Buffer::storage(&device, "x", 16).is_ok(), "it is told once");
    Ok(())
}

fn timeout(_: Device) -> Result<()> {
    let device = open()?;
    let x = Buffer::from_bytes(&device, "x", &[1; 1 << 16])?;
    // Some tenths of a second on a software device, less than a millisecond on some GPUs.
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n\
                @compute @workgroup_size(64) fn spin(@builtin(global_invocation_id) id: vec3<u32>) {\n\
                var a = x[id.x];\n\
                for (var i = 0u; i < 60000u; i++) { a = a * 1664525u + 1013904223u; }\n\
                x[id.x] = a; }";
    let pipeline = compile(&device, &shader("spin", wgsl))?;
    let dispatch = Dispatch::new(&device, "spin", &pipeline, &[x.whole()], [256, 1, 1])?;
    let mut commands = Commands::new(&device, "spinning step")?;
    let mut pass = commands.pass("spin");
    (0..4).for_each(|_| pass.dispatch(&dispatch));
    drop(pass);
    let mut staging = Staging::new(&device, "result", 16)?;
    commands.copy_to_staging(&x.range(0, 16)?, &staging, 0)?;
    let submission = commands.submit()?;
    device.set_timeout(Duration::ZERO);
    ensure!(!submission.is_done()?);
    let error = error_of(submission.wait())?;
    let expected = TensorError::Timeout {
        label: "spinning step".into(),
        after: Duration::ZERO,
    };
    ensure!(error == expected, "{error}");
    let read = staging.read(&submission, 16);
    ensure!(matches!(read, Err(TensorError::Timeout { .. })), "{read:?}");
    device.set_timeout(Duration::from_secs(60));
    ensure!(
        staging.read(&submission, 16)? == x.read_range(0, 16)?,
        "both stay usable"
    );
    Ok(())
}

fn from_wgpu(_: Device) -> Result<()> {
    let (app_device, app_queue) = application()?;
    let device = Device::from_wgpu(app_device.clone(), app_queue.clone());
    ensure!(device.features() == app_device.features());
    ensure!(device.limits().max_buffer_size == app_device.limits().max_buffer_size);
    let app_buffer = app_device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("application"),
        size: 4_000,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    app_queue.write_buffer(&app_buffer, 0, &[1; 4_000]);
    let shared = Buffer::from_wgpu(&device, "shared", app_buffer);
    let pipeline = compile(&device, &add(0x0101_0101))?;
    let dispatch = Dispatch::new(&device, "add", &pipeline, &[shared.whole()], [16, 1, 1])?;
    let mut commands = Commands::new(&device, "step")?;
    dispatch.validate(&device, "add", None)?;
    commands.pass("step").dispatch(&dispatch);
    commands.submit()?;
    ensure!(shared.read()? == vec![2; 4_000]);
    ensure!(device.allocated() > 0 || device.memory_budget().is_none());
    Ok(())
}

/// One device, many threads: error scopes belong to each, and reads do not mix.
fn threads(device: Device) -> Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4u8)
            .map(|n| {
                let device = device.clone();
                scope.spawn(move || -> Result<()> {
                    for _ in 0..20 {
                        let data = vec![n; 1_001];
                        ensure!(Buffer::from_bytes(&device, "x", &data)?.read()? == data);
                        ensure!(Buffer::storage(&device, "huge", 1 << 41).is_err());
                    }
                    Ok(())
                })
            })
            .collect();
        all.into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("panic")))
    })
}
