//! Devices that are lost, errors that nobody caught, waits that take too long.

use std::time::Duration;

use anyhow::{Result, ensure};
use gradus_tensor::{
    Buffer, Commands, Device, Dispatch, Staging, Submission, TensorError, compile, wgpu,
};

use crate::application::application;
use crate::support::open;
use crate::{add, error_of, shader};

/// Every operation on a lost device says so.
pub(crate) fn ensure_all_lost(device: &Device, x: &Buffer, dispatch: &Dispatch) -> Result<()> {
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

pub(crate) fn before_the_loss(device: &Device) -> Result<(Buffer, Dispatch, Submission)> {
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

pub(crate) fn destroyed(_: Device) -> Result<()> {
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
pub(crate) fn destroyed_behind_our_back(_: Device) -> Result<()> {
    let device = open()?;
    let (x, dispatch, submission) = before_the_loss(&device)?;
    submission.wait()?;
    device.wgpu_device().destroy();
    let error = error_of(x.read())?;
    ensure!(matches!(error, TensorError::DeviceLost { .. }), "{error}");
    ensure_all_lost(&device, &x, &dispatch)
}

/// Without a callback the loss shows when memory cannot be read.
pub(crate) fn destroyed_application_device(_: Device) -> Result<()> {
    let (app_device, app_queue) = application()?;
    let device = Device::from_wgpu(app_device.clone(), app_queue);
    let (x, dispatch, submission) = before_the_loss(&device)?;
    submission.wait()?;
    app_device.destroy();
    let error = error_of(x.read())?;
    ensure!(matches!(error, TensorError::DeviceLost { .. }), "{error}");
    ensure_all_lost(&device, &x, &dispatch)
}

pub(crate) fn uncaptured(_: Device) -> Result<()> {
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

pub(crate) fn timeout(_: Device) -> Result<()> {
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
