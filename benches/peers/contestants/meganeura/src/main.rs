//! meganeura on the first Vulkan device that it finds.
#![forbid(unsafe_code)]

mod matmul;
mod mlp;

use anyhow::Result;
use meganeura::Session;
use workload::{Task, Workload, serve, version};

fn main() -> Result<()> {
    serve(|workload| {
        let (task, about): (Box<dyn Task>, _) = match workload {
            Workload::Matmul(matmul) => {
                let product = matmul::Product::new(matmul);
                let about = about(&product.session);
                (Box::new(product), about)
            }
            Workload::Mlp(mlp) => {
                let training = mlp::Training::new(&mlp);
                let about = about(&training.session);
                (Box::new(training), about)
            }
        };
        Ok(Some((task, about)))
    })
}

fn about(session: &Session) -> String {
    let device = session.device_information();
    format!(
        "meganeura {} on {}, {} {}",
        version("meganeura"),
        device.device_name,
        device.driver_name,
        device.driver_info
    )
}
