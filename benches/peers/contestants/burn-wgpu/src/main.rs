//! Burn on a GPU, with kernels in WGSL.
#![forbid(unsafe_code)]

use burn::tensor::Device;

fn main() -> anyhow::Result<()> {
    race_burn::race(
        || Device::wgpu(Default::default()),
        |device| {
            let name = device.identity().map(|identity| identity.name);
            format!("wgpu (WGSL) on {}", name.unwrap_or_default())
        },
    )
}
