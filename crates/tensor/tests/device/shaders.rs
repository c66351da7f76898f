//! Compiling shaders: what runs, and what is refused with which message.

use anyhow::{Result, ensure};
use gradus_tensor::kernels::Access;
use gradus_tensor::{
    BindGroup, Buffer, Commands, Device, Dispatch, STEP_ROW_BYTES, Source, TensorError, compile,
    compile_all, wgpu,
};

use crate::support::open;
use crate::{add, error_of, scale, shader};

/// One step of `scale` for each of `rows`, and its result.
pub(crate) fn scaled(device: &Device, shader: &Source, rows: &[f32]) -> Result<Vec<u8>> {
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

pub(crate) fn expected(scale: f32) -> Vec<u8> {
    (0..1_001)
        .flat_map(|i| (scale * i as f32).to_le_bytes())
        .collect()
}

pub(crate) fn runs(device: Device) -> Result<()> {
    ensure!(scaled(&device, &scale(), &[2.0, 3.0])? == expected(3.0));
    Ok(())
}

pub(crate) fn trusted_runs(device: Device) -> Result<()> {
    let trusted = Source {
        trusted: true,
        ..scale()
    };
    ensure!(scaled(&device, &trusted, &[0.5])? == expected(0.5));
    Ok(())
}

pub(crate) fn parse_error(device: Device) -> Result<()> {
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
pub(crate) fn type_error(device: Device) -> Result<()> {
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

pub(crate) fn two_entry_points(device: Device) -> Result<()> {
    let wgsl = "@compute @workgroup_size(1) fn f() {}\n@compute @workgroup_size(1) fn g() {}";
    for wgsl in [wgsl, "", "const x = 1;"] {
        let error = error_of(compile(&device, &shader("two", wgsl)))?;
        ensure!(error.to_string().contains("exactly one"), "{error}");
    }
    Ok(())
}

pub(crate) fn binding_mismatch(device: Device) -> Result<()> {
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

pub(crate) fn workgroup_memory(device: Device) -> Result<()> {
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

pub(crate) fn invocations(device: Device) -> Result<()> {
    let wgsl = "@compute @workgroup_size(64, 64, 1) fn f() {}";
    let error = error_of(compile(&device, &shader("wide", wgsl)))?;
    ensure!(
        matches!(error, TensorError::LimitExceeded { needed: 4_096, .. }),
        "{error}"
    );
    Ok(())
}

pub(crate) fn equal_ones_share(_: Device) -> Result<()> {
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

pub(crate) fn compile_all_names_the_first(device: Device) -> Result<()> {
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
