//! Burn on the CPU.
#![forbid(unsafe_code)]

use burn::tensor::Device;

fn main() -> anyhow::Result<()> {
    race_burn::race(Device::flex, |_| "flex, x86-v4".into())
}
