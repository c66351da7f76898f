//! Training inside a program that made its own wgpu device: a game, a viewer, a simulation.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;
use gradus::wgpu;

fn main() -> anyhow::Result<()> {
    let (device, queue) = pollster::block_on(application_device())?;

    // The model lives on the application's device; handles of wgpu are cheap to clone.
    let data = datasets::digits().split(0.2, 7)?;
    let net = Sequential::new().dense(64).relu().dense(10);
    let mut model = net.compile(
        Compile::for_data(&data.train)
            .device(Device::from_wgpu(device.clone(), queue.clone()))
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(3e-3))
            .metric(Accuracy::new())
            .batch(64),
    )?;
    println!("training on {}", model.device());
    for epoch in 0..3 {
        let history = model.fit(&data.train, Fit::epochs(1).quiet())?;
        // Between epochs, or between steps, the application goes on with its own work.
        draw_a_frame(&device, &queue);
        println!("frame {epoch} drawn; {history}");
    }
    println!("{}", model.evaluate(&data.test)?);
    Ok(())
}

/// Any adapter, with the limits that WebGPU guarantees.
async fn application_device() -> anyhow::Result<(wgpu::Device, wgpu::Queue)> {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let instance = wgpu::Instance::new(descriptor);
    let adapter = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await?;
    Ok(adapter
        .request_device(&wgpu::DeviceDescriptor::default())
        .await?)
}

/// Stands for the application's own work: fills a frame with one colour.
fn draw_a_frame(device: &wgpu::Device, queue: &wgpu::Queue) {
    let frame = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("frame"),
        size: wgpu::Extent3d {
            width: 64,
            height: 64,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
        view_formats: &[],
    });
    let view = frame.create_view(&wgpu::TextureViewDescriptor::default());
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let clear = wgpu::RenderPassColorAttachment {
        view: &view,
        depth_slice: None,
        resolve_target: None,
        ops: wgpu::Operations {
            load: wgpu::LoadOp::Clear(wgpu::Color::BLUE),
            store: wgpu::StoreOp::Store,
        },
    };
    drop(encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(clear)],
        ..Default::default()
    }));
    queue.submit([encoder.finish()]);
}
