//! Devices and queues of the application.

use crate::add;
use anyhow::{Context, Result, bail, ensure};
use gradus_tensor::{Buffer, Commands, Device, Dispatch, compile, wgpu};

pub(crate) fn application() -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster_free(instance.enumerate_adapters(wgpu::Backends::PRIMARY))?;
    let adapter = adapters.first().context("an adapter")?;
    pollster_free(adapter.request_device(&wgpu::DeviceDescriptor::default()))?.map_err(Into::into)
}

/// wgpu's futures are ready at once on native platforms.
pub(crate) fn pollster_free<F: Future>(future: F) -> Result<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Ok(value),
        std::task::Poll::Pending => bail!("pending"),
    }
}

pub(crate) fn from_wgpu(_: Device) -> Result<()> {
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
pub(crate) fn threads(device: Device) -> Result<()> {
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
