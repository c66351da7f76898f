//! Every generated shader is WGSL for naga and for tint, and becomes SPIR-V, MSL and HLSL.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/attentions.rs"]
mod attentions;
#[path = "support/convs.rs"]
mod convs;
#[path = "support/kernels.rs"]
mod kernels;
#[path = "support/products.rs"]
mod products;
#[path = "support/samples/mod.rs"]
mod samples;
#[path = "support/shaders.rs"]
mod shaders;

use std::process::Command;

use expect_test::expect_file;
use gradus_graph::plan::KernelKind;
use gradus_graph::{DeviceClass, Target};
use gradus_tensor::kernels::{Shader, choose, shader};
use naga::back::{hlsl, msl, spv};

fn all() -> Vec<Shader> {
    let all = shaders::all().unwrap().into_iter();
    all.map(|named| named.shader).collect()
}

fn translate(shader: &Shader) -> Result<(), String> {
    let failed = |what: &str, error: String| format!("{what}: {error}\n{}", shader.wgsl);
    let (module, info) = shaders::parse(shader).map_err(|e| failed("naga", e))?;
    spv::write_vec(&module, &info, &spv::Options::default(), None)
        .map_err(|e| failed("SPIR-V", e.to_string()))?;
    let options = msl::Options {
        lang_version: (2, 0),
        fake_missing_bindings: true,
        ..msl::Options::default()
    };
    msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .map_err(|e| failed("MSL", e.to_string()))?;
    let mut text = String::new();
    let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(&module, &info, None)
        .map_err(|e| failed("HLSL", e.to_string()))?;
    Ok(())
}

#[test]
fn naga_accepts_and_translates_all() {
    let errors: Vec<_> = all().iter().filter_map(|s| translate(s).err()).collect();
    assert!(
        errors.is_empty(),
        "{} fail, such as {}",
        errors.len(),
        errors[0]
    );
}

#[test]
fn sizes_stay_within_the_limits_of_every_device() {
    for shader in all() {
        assert!(shader.grid.iter().all(|n| (1..=65_535).contains(n)));
        assert!(shader.invocations <= 256 && shader.workgroup_memory <= 16 << 10);
        assert!(shader.bindings.len() <= 8);
    }
}

/// Browsers use tint, which, unlike naga, refuses barriers in non-uniform control flow.
#[test]
fn tint_accepts_all() {
    if Command::new("tint").arg("--help").output().is_err() {
        eprintln!("NOT CHECKED: there is no `tint` command, so barriers may stand anywhere");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (i, shader) in all().iter().enumerate() {
        let path = directory.path().join(format!("{i}.wgsl"));
        let enable = if shader.subgroups {
            "enable subgroups;\n"
        } else {
            ""
        };
        std::fs::write(&path, format!("{enable}{}", shader.wgsl)).unwrap();
        let mut tint = Command::new("tint");
        let output = tint.args(["--format", "wgsl"]).arg(&path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{}", shader.wgsl);
    }
}

#[test]
fn classes_have_their_own_choices() {
    let mut all = samples::all().into_iter();
    let sample = all.find(|s| s.name == "layer norm 33x257");
    let sample = sample.unwrap();
    let of = |class| {
        let target = Target {
            class,
            ..Target::webgpu()
        };
        let kind = KernelKind::Program(sample.program.clone());
        let (plan, kernel) = kernels::plan(target, kind, &sample.memory);
        shader(&plan, &kernel, choose(&plan, &kernel)).unwrap().wgsl
    };
    assert!(!of(DeviceClass::Software).contains("workgroupBarrier"));
    assert!(of(DeviceClass::Gpu).contains("workgroupBarrier"));
}

/// What people read when they dump a kernel. `UPDATE_EXPECT=1` writes them anew.
#[test]
fn shaders_read_well() {
    let gpu = Target::webgpu();
    let program = |target: &Target, sample: samples::Sample| {
        let kind = KernelKind::Program(sample.program);
        let (plan, kernel) = kernels::plan(target.clone(), kind, &sample.memory);
        shader(&plan, &kernel, choose(&plan, &kernel)).unwrap().wgsl
    };
    let product = |target: &Target, size: [usize; 3]| {
        let (kernel, memory) = products::kernel(&products::Case {
            layout: "nt",
            batch: 1,
            size,
            broadcast: [false; 2],
            slack: 0,
            epilogue: false,
        });
        let (plan, kernel) = kernels::plan(target.clone(), KernelKind::MatMul(kernel), &memory);
        shader(&plan, &kernel, choose(&plan, &kernel)).unwrap().wgsl
    };
    expect_file!["wgsl/adam.wgsl"].assert_eq(&program(&gpu, samples::adam(1024)));
    expect_file!["wgsl/softmax.wgsl"]
        .assert_eq(&program(&gpu, samples::softmax_in_place(64, 1000)));
    expect_file!["wgsl/softmax-software.wgsl"].assert_eq(&program(
        &Target::lavapipe(),
        samples::softmax_in_place(64, 1000),
    ));
    expect_file!["wgsl/matmul.wgsl"].assert_eq(&product(&gpu, [256, 256, 60]));
    expect_file!["wgsl/matmul-software.wgsl"].assert_eq(&product(&Target::lavapipe(), [8, 16, 64]));
}
