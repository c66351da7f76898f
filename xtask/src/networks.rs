//! Networks whose plans people ask for.

use gradus_graph::{Layer, Padding, PoolOptions, Scope, Var};
use gradus_nn::{BatchNorm, Conv2d, Dense, Sequential};

/// Two convolutions of 16 and 32 channels, each with relu and a pool, and a dense layer.
pub(crate) fn cnn(classes: usize) -> Sequential {
    let conv = |channels| Conv2d::new(channels, 3).padding(Padding::Same);
    Sequential::new()
        .layer(conv(16))
        .relu()
        .max_pool(2)
        .layer(conv(32))
        .relu()
        .max_pool(2)
        .flatten()
        .dense(classes)
}

/// ResNet-18 for images of any size, with PyTorch's names. Source: He et al. (2015),
/// arXiv:1512.03385, table 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResNet18 {
    pub(crate) classes: usize,
}

impl Layer for ResNet18 {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let stem = Conv2d::new(64, 7).stride(2).padding(3).no_bias();
        let x = scope.apply("conv1", &stem, x);
        let x = scope.apply("bn1", &BatchNorm::new(), x).relu();
        let mut x = x.max_pool(&PoolOptions::new(3).stride(2).padding(1));
        for (i, channels) in [64, 128, 256, 512].into_iter().enumerate() {
            let stage = scope.child(&format!("layer{}", i + 1));
            let stride = if i == 0 { 1 } else { 2 };
            x = stage.apply("0", &Block { channels, stride }, x);
            x = stage.apply(
                "1",
                &Block {
                    channels,
                    stride: 1,
                },
                x,
            );
        }
        scope.apply("fc", &Dense::new(self.classes), x.global_avg_pool())
    }
}

/// Two convolutions beside a way around them.
struct Block {
    channels: usize,
    stride: usize,
}

impl Layer for Block {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let conv = |size, stride| {
            let conv = Conv2d::new(self.channels, size).stride(stride).no_bias();
            conv.padding(size / 2)
        };
        let y = scope.apply("conv1", &conv(3, self.stride), x);
        let y = scope.apply("bn1", &BatchNorm::new(), y).relu();
        let y = scope.apply("conv2", &conv(3, 1), y);
        let y = scope.apply("bn2", &BatchNorm::new(), y);
        if self.stride == 1 && x.dim(1) == self.channels {
            return (y + x).relu();
        }
        let around = scope.child("downsample");
        let x = around.apply("0", &conv(1, self.stride), x);
        (y + around.apply("1", &BatchNorm::new(), x)).relu()
    }
}
