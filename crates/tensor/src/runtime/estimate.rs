//! How long kernels may take, roughly: so that no submit is so long that a driver gives up on it.

use gradus_graph::DeviceClass;
use gradus_graph::plan::{Kernel, Plan};

/// The longest that one submit should take, in seconds. Drivers reset a GPU that is busy for some
/// seconds, and on a desktop nothing is drawn meanwhile; nobody waits for what imitates one.
pub(super) const fn longest(class: DeviceClass) -> f64 {
    match class {
        DeviceClass::Gpu => 0.2,
        DeviceClass::Software | DeviceClass::Cpu => 2.0,
    }
}

/// An estimate for each kernel of a plan.
pub(super) fn all(plan: &Plan) -> Vec<f64> {
    plan.kernels
        .iter()
        .map(|kernel| seconds(plan, kernel))
        .collect()
}

/// Seconds on a slow device of the plan's class: time to compute plus time to move.
fn seconds(plan: &Plan, kernel: &Kernel) -> f64 {
    // FLOP/s and B/s of an integrated GPU, and of two CPU cores that play one.
    let (compute, memory) = match plan.target.class {
        DeviceClass::Gpu => (5e11, 3e10),
        DeviceClass::Software | DeviceClass::Cpu => (2e10, 4e9),
    };
    kernel.flops as f64 / compute + plan.traffic(kernel) as f64 / memory
}
