//! Burn on a GPU, with kernels in SPIR-V.
#![forbid(unsafe_code)]

use burn::tensor::Device;

fn main() -> anyhow::Result<()> {
    race_burn::race(
        || Device::vulkan(Default::default()),
        |device| {
            let name = device.identity().map(|identity| identity.name);
            format!("vulkan (SPIR-V) on {}", name.unwrap_or_default())
        },
    )
}
