//! The least of wgpu that runs one generated shader and reads its buffers back.
#![allow(dead_code, reason = "each user takes what it needs")]
#![allow(clippy::unwrap_used, reason = "for tests and measurements only")]

use gradus_tensor::kernels::{Access, Shader};
use wgpu::util::DeviceExt;

pub(crate) struct Gpu {
    pub(crate) name: String,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
}

/// A shader with its pipeline and bind group, ready to dispatch.
pub(crate) struct Ready {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    empty: Option<wgpu::BindGroup>,
}

impl Gpu {
    /// Any adapter, hardware or software; `None` without one.
    pub(crate) fn any() -> Option<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::all();
        let instance = wgpu::Instance::new(descriptor);
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&options)).ok()?;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
        Some(Self {
            name: adapter.get_info().name,
            device,
            queue,
        })
    }

    /// A storage buffer of at least 16 bytes with these words in it.
    pub(crate) fn buffer(&self, words: &[u32]) -> wgpu::Buffer {
        let mut words = words.to_vec();
        words.resize(words.len().next_multiple_of(4).max(4), 0);
        self.device
            .create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents: bytemuck::cast_slice(&words),
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
            })
    }

    /// Compiles a shader, with run-time checks or without, and binds `buffers` by number.
    pub(crate) fn prepare(
        &self,
        shader: &Shader,
        buffers: &[wgpu::Buffer],
        step_row: Option<&wgpu::Buffer>,
        checked: bool,
    ) -> Result<Ready, String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader.entry),
            source: wgpu::ShaderSource::Wgsl(shader.wgsl.as_str().into()),
        };
        let checks = if checked {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        #[allow(unsafe_code, reason = "measures what trusted modules gain")]
        // SAFETY: the shaders under test index within their buffers; the tests show it.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        let entries: Vec<_> = (0u32..)
            .zip(&shader.bindings)
            .map(|(binding, b)| {
                layout_entry(
                    binding,
                    wgpu::BufferBindingType::Storage {
                        read_only: b.access == Access::Read,
                    },
                )
            })
            .collect();
        let layout = |entries: &[_]| {
            self.device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: None,
                    entries,
                })
        };
        let storage = layout(&entries);
        let uniform = layout(&[layout_entry(0, wgpu::BufferBindingType::Uniform)]);
        let mut layouts = vec![Some(&storage)];
        if shader.step_row {
            layouts.push(Some(&uniform));
        }
        let pipeline_layout = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &layouts,
                immediate_size: 0,
            });
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(shader.entry),
                compilation_options: Default::default(),
                cache: None,
            });
        let bind = |layout, resources: Vec<&wgpu::Buffer>| {
            let entries: Vec<_> = (0u32..)
                .zip(resources)
                .map(|(binding, b)| wgpu::BindGroupEntry {
                    binding,
                    resource: b.as_entire_binding(),
                })
                .collect();
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &entries,
            })
        };
        let bound = shader.bindings.iter().map(|b| &buffers[b.buffer]).collect();
        let ready = Ready {
            group: bind(&storage, bound),
            empty: shader
                .step_row
                .then(|| bind(&uniform, step_row.into_iter().collect())),
            pipeline,
            grid: shader.grid,
        };
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(format!("{error}\n{}", shader.wgsl)),
            None => Ok(ready),
        }
    }

    /// Dispatches `times` times in one submit and waits.
    pub(crate) fn run(&self, ready: &Ready, times: u32) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&ready.pipeline);
            pass.set_bind_group(0, &ready.group, &[]);
            if let Some(group) = &ready.empty {
                pass.set_bind_group(1, group, &[]);
            }
            for _ in 0..times {
                let [x, y, z] = ready.grid;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        self.queue.submit([encoder.finish()]);
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
    }

    /// The words of a buffer.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging
            .slice(..)
            .map_async(wgpu::MapMode::Read, |r| r.unwrap());
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        bytemuck::cast_slice(&staging.slice(..).get_mapped_range().unwrap()).to_vec()
    }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
