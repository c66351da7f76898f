//! A residual network (He et al. 2015, arXiv:1512.03385) as code of the program's own, with the
//! names of torchvision's `resnet18`: its files can be loaded.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

fn conv(filters: usize, kernel: usize, stride: usize) -> Conv2d {
    // Normalization follows, which takes away any bias.
    Conv2d::new(filters, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .no_bias()
}

/// Two convolutions beside a shortcut: `[N, C, H, W]` to `[N, filters, H / stride, W / stride]`.
struct BasicBlock {
    filters: usize,
    stride: usize,
}

impl Layer for BasicBlock {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let Self { filters, stride } = *self;
        let y = scope.apply("conv1", &conv(filters, 3, stride), x);
        let y = scope.apply("bn1", &BatchNorm::new(), y).relu();
        let y = scope.apply("conv2", &conv(filters, 3, 1), y);
        let y = scope.apply("bn2", &BatchNorm::new(), y);
        let shortcut = if stride != 1 || x.dim(1) != filters {
            let projection = Sequential::new()
                .layer(conv(filters, 1, stride))
                .batch_norm();
            scope.apply("downsample", &projection, x)
        } else {
            x
        };
        (y + shortcut).relu()
    }
}

/// Stages of two blocks each: the first keeps the size of the image, each later one halves it.
#[derive(Clone)]
pub(crate) struct ResNet {
    /// Convolves with 7×7 and pools, each with stride 2, as for photographs; else with 3×3.
    pub(crate) large: bool,
    pub(crate) widths: Vec<usize>,
    pub(crate) classes: usize,
}

impl Layer for ResNet {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let first = self.widths.first().copied().unwrap_or(64);
        let (kernel, stride) = if self.large { (7, 2) } else { (3, 1) };
        let x = scope.apply("conv1", &conv(first, kernel, stride), x);
        let mut x = scope.apply("bn1", &BatchNorm::new(), x).relu();
        if self.large {
            x = scope.apply("maxpool", &MaxPool::new(3).stride(2).padding(1), x);
        }
        for (i, &filters) in self.widths.iter().enumerate() {
            let block = |stride| BasicBlock { filters, stride };
            let stride = if i == 0 { 1 } else { 2 };
            let stage = Sequential::new().layer(block(stride)).layer(block(1));
            x = scope.apply(&format!("layer{}", i + 1), &stage, x);
        }
        let x = scope.apply("avgpool", &GlobalAvgPool, x);
        scope.apply("fc", &Dense::new(self.classes), x)
    }
}

pub(crate) fn model(device: Device, train: &Dataset) -> Result<Model, gradus::Error> {
    let network = ResNet {
        large: false,
        widths: vec![16, 32],
        classes: 10,
    };
    network.compile(
        Compile::for_data(train)
            .device(device)
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(3e-3))
            .metric(Accuracy::new())
            .batch(64)
            .seed(7),
    )
}

fn main() -> anyhow::Result<()> {
    let (train, test) = shared::digits()?;
    let mut model = model(Device::best()?, &train)?;
    println!("{}", model.parameter_names().join("\n"));
    println!("{}", model.fit(&train, Fit::epochs(15))?);
    println!("{}", model.evaluate(&test)?);
    Ok(())
}
