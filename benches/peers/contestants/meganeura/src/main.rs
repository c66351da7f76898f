//! meganeura on the first Vulkan device that it finds.
#![forbid(unsafe_code)]

mod cnn;
mod gpt;
mod matmul;
mod mlp;
mod training;

use anyhow::Result;
use meganeura::Session;
use training::Training;
use workload::{Task, Workload, serve, version};

fn main() -> Result<()> {
    serve(|workload| {
        let (task, about): (Box<dyn Task>, _) = match workload {
            Workload::Matmul(matmul) => {
                let product = matmul::Product::new(matmul);
                let about = about(&product.session);
                (Box::new(product), about)
            }
            Workload::Mlp(mlp) => trained(mlp::training(&mlp)),
            Workload::Cnn(cnn) => trained(cnn::training(&cnn)),
            Workload::Gpt(gpt) => trained(gpt::training(&gpt)),
        };
        Ok(Some((task, about)))
    })
}

fn trained(training: Training) -> (Box<dyn Task>, String) {
    let about = about(&training.session);
    (Box::new(training), about)
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
