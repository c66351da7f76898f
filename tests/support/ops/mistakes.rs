//! One bad input for each op: building must fail with an error that names the op and what
//! clashes.

use gradus_graph::ops::{Normalize, Sharing};
use gradus_graph::{
    Array, Border, ConvOptions, DType, Graph, Layer, Padding, PoolOptions, Scope, UpsampleOptions,
    Var,
};
use gradus_nn::{
    BatchNorm, Cutout, GroupNorm, InstanceNorm, Normalize as NormalizeChannels, RandomCrop,
    RandomFlip,
};

use super::losses;

/// A graph that cannot be built.
pub(crate) struct Mistake {
    /// The op that the error names.
    pub(crate) op: &'static str,
    /// What the message must contain.
    pub(super) contains: &'static [&'static str],
    pub(super) build: fn(&Graph),
}

impl Mistake {
    pub(crate) fn check(&self) -> Result<(), String> {
        let graph = Graph::new();
        (self.build)(&graph);
        let error = match graph.check() {
            Ok(()) => return Err("was built".into()),
            Err(error) => error,
        };
        let message = error.to_string();
        if error.op != self.op {
            return Err(format!("names {}: {message}", error.op));
        }
        match self.contains.iter().find(|part| !message.contains(**part)) {
            Some(part) => Err(format!("does not say {part}: {message}")),
            None if !message.contains("tests/support/ops/") => Err(format!("no line: {message}")),
            None => Ok(()),
        }
    }
}

pub(super) fn mistake(
    op: &'static str,
    contains: &'static [&'static str],
    build: fn(&Graph),
) -> Mistake {
    Mistake {
        op,
        contains,
        build,
    }
}

pub(super) fn f32s<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("x", dims, DType::F32)
}

pub(super) fn i32s<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("i", dims, DType::I32)
}

pub(super) fn bools<'g>(g: &'g Graph, dims: &[usize]) -> Var<'g> {
    g.input("b", dims, DType::Bool)
}

fn image(g: &Graph) -> Var<'_> {
    f32s(g, &[1, 3, 5, 5])
}

fn kernel(g: &Graph) -> Var<'_> {
    f32s(g, &[4, 3, 3, 3])
}

pub(crate) fn mistakes() -> Vec<Mistake> {
    let mut all: Vec<Mistake> = vec![
        mistake("input", &["[1, 1, 1, 1, 1, 1, 1, 1, 1]"], |g| {
            g.input("x", [1; 9], DType::F32);
        }),
        mistake("full", &["too many elements"], |g| {
            g.full([usize::MAX, 2], 0.0);
        }),
        mistake("iota", &["[2, 3]", "axis 2"], |g| {
            g.iota([2, 3], 2);
        }),
        mistake("random", &["8 axes"], |g| {
            g.random([1; 9], 0);
        }),
        mistake("neg", &["bool"], |g| {
            let _ = -bools(g, &[3]);
        }),
        mistake("exp", &["f32", "i32"], |g| {
            i32s(g, &[3]).exp();
        }),
        mistake("not", &["f32"], |g| {
            let _ = !f32s(g, &[3]);
        }),
        mistake("is_nan", &["i32"], |g| {
            i32s(g, &[3]).is_nan();
        }),
        mistake("add", &["[2, 3]", "[4]"], |g| {
            let _ = f32s(g, &[2, 3]) + f32s(g, &[4]);
        }),
        mistake("mul", &["f32", "i32"], |g| {
            let _ = f32s(g, &[3]) * i32s(g, &[3]);
        }),
        mistake("pow", &["i32"], |g| {
            i32s(g, &[3]).pow(2);
        }),
        mistake("lt", &["bool"], |g| {
            bools(g, &[3]).lt(bools(g, &[3]));
        }),
        mistake("and", &["f32"], |g| {
            f32s(g, &[3]).and(f32s(g, &[3]));
        }),
        mistake("shl", &["bool"], |g| {
            let _ = bools(g, &[3]) << bools(g, &[3]);
        }),
        mistake("select", &["[2]", "[3]"], |g| {
            bools(g, &[2]).select(f32s(g, &[3]), 0.0);
        }),
        mistake("select", &["bool", "f32"], |g| {
            f32s(g, &[3]).select(f32s(g, &[3]), 0.0);
        }),
        mistake("select", &["f32", "i32"], |g| {
            bools(g, &[3]).select(f32s(g, &[3]), i32s(g, &[3]));
        }),
        mistake("conv", &["[N, C, H, W]", "[2, 3]"], |g| {
            f32s(g, &[2, 3]).conv(f32s(g, &[4, 3]), &ConvOptions::new());
        }),
        mistake("conv", &["[1, 3, 5, 5]", "[4, 3, 3]"], |g| {
            image(g).conv(f32s(g, &[4, 3, 3]), &ConvOptions::new());
        }),
        mistake("conv", &["f32", "i32"], |g| {
            image(g).conv(i32s(g, &[4, 3, 3, 3]), &ConvOptions::new());
        }),
        mistake("conv", &["2 groups", "3 channels", "[1, 3, 5, 5]"], |g| {
            let options = ConvOptions::new().groups(2);
            image(g).conv(f32s(g, &[4, 1, 3, 3]), &options);
        }),
        mistake("conv", &["0 groups"], |g| {
            image(g).conv(kernel(g), &ConvOptions::new().groups(0));
        }),
        mistake("conv", &["[4, 2, 3, 3]", "2 channels", "has 3"], |g| {
            image(g).conv(f32s(g, &[4, 2, 3, 3]), &ConvOptions::new());
        }),
        mistake(
            "conv",
            &["kernel of 6", "does not fit", "input of 5", "[1, 3, 5, 5]"],
            |g| {
                image(g).conv(f32s(g, &[4, 3, 6, 1]), &ConvOptions::new());
            },
        ),
        mistake("conv", &["spanning 9", "input of 7"], |g| {
            let options = ConvOptions::new().dilation(4).padding(1);
            image(g).conv(kernel(g), &options);
        }),
        mistake("conv", &["stride", "at least 1", "0"], |g| {
            image(g).conv(kernel(g), &ConvOptions::new().stride([1, 0]));
        }),
        mistake("conv", &["stride [1, 2, 3]", "2 spatial axes"], |g| {
            image(g).conv(kernel(g), &ConvOptions::new().stride([1, 2, 3]));
        }),
        mistake("conv", &["same padding", "stride 1", "2"], |g| {
            let options = ConvOptions::new().padding(Padding::Same).stride(2);
            image(g).conv(kernel(g), &options);
        }),
        mistake("conv", &["too large"], |g| {
            let options = ConvOptions::new().padding(usize::MAX);
            image(g).conv(kernel(g), &options);
        }),
        mistake("conv", &["output padding", "transposed"], |g| {
            image(g).conv(kernel(g), &ConvOptions::new().output_padding(1));
        }),
        mistake(
            "conv_transpose",
            &["[4, 3, 3, 3]", "4 channels", "has 3"],
            |g| {
                image(g).conv_transpose(kernel(g), &ConvOptions::new());
            },
        ),
        mistake("conv_transpose", &["output padding 2", "stride 2"], |g| {
            let options = ConvOptions::new().stride(2).output_padding(2);
            image(g).conv_transpose(f32s(g, &[3, 4, 3, 3]), &options);
        }),
        mistake("conv_transpose", &["padding 4", "leaves nothing"], |g| {
            let options = ConvOptions::new().padding(4);
            image(g).conv_transpose(f32s(g, &[3, 4, 3, 3]), &options);
        }),
        mistake("max_pool", &["i32", "[1, 3, 5, 5]"], |g| {
            i32s(g, &[1, 3, 5, 5]).max_pool(&PoolOptions::new(2));
        }),
        mistake("max_pool", &["padding 2", "half the window of 3"], |g| {
            image(g).max_pool(&PoolOptions::new(3).padding(2));
        }),
        mistake("max_pool", &["kernel of 0"], |g| {
            image(g).max_pool(&PoolOptions::new(0).stride(1));
        }),
        mistake(
            "avg_pool",
            &["kernel of 6", "input of 5", "[1, 3, 5, 5]"],
            |g| {
                image(g).avg_pool(&PoolOptions::new(6));
            },
        ),
        mistake("max_pool", &["[1, 3, 0, 5]", "empty"], |g| {
            f32s(g, &[1, 3, 0, 5]).max_pool(&PoolOptions::new(2).padding(1));
        }),
        mistake("avg_pool", &["[1, 3, 0]", "empty"], |g| {
            f32s(g, &[1, 3, 0]).avg_pool(&PoolOptions::new(2).padding(1));
        }),
        mistake("upsample", &["[2, 3]", "[N, C, H, W]"], |g| {
            f32s(g, &[2, 3]).upsample(&UpsampleOptions::size(4));
        }),
        mistake("upsample", &["[1, 3, 5, 5]", "[0, 2]", "empty"], |g| {
            image(g).upsample(&UpsampleOptions::size([0, 2]));
        }),
        mistake("upsample", &["scale", "above 0", "-2"], |g| {
            image(g).upsample(&UpsampleOptions::scale(-2.0).linear());
        }),
        mistake("upsample", &["scale", "3 numbers", "2 spatial axes"], |g| {
            image(g).upsample(&UpsampleOptions::scale([1.0, 2.0, 3.0]));
        }),
        mistake("upsample", &["too large"], |g| {
            image(g).upsample(&UpsampleOptions::scale(1e12));
        }),
        mistake(
            "pad_border",
            &["[1, 3, 5, 5]", "mirror of 5", "5 there are"],
            |g| {
                image(g).pad_border(5, Border::Reflect);
            },
        ),
        mistake("pad_border", &["[1, 3, 0]", "empty"], |g| {
            f32s(g, &[1, 3, 0]).pad_border(1, Border::Replicate);
        }),
        mistake("pad_border", &["3 spatial axes, not 2", "(1, 2)"], |g| {
            image(g).pad_border([(1, 2), (3, 4), (5, 6)], Border::Reflect);
        }),
        mistake("pad_border", &["i32"], |g| {
            i32s(g, &[1, 3, 5, 5]).pad_border(1, Border::Constant(0.0));
        }),
        mistake("pixel_shuffle", &["factor 2", "[1, 3, 5, 5]"], |g| {
            image(g).pixel_shuffle(2);
        }),
        mistake("pixel_shuffle", &["factor 0"], |g| {
            image(g).pixel_shuffle(0);
        }),
        mistake("pixel_unshuffle", &["factor 2", "[1, 3, 5, 5]"], |g| {
            image(g).pixel_unshuffle(2);
        }),
        mistake("random_flip", &["[2, 3]", "[N, C, H, W]"], |g| {
            let layer = RandomFlip::horizontal();
            Scope::root(g, false).apply("n", &layer, f32s(g, &[2, 3]));
        }),
        mistake("random_flip", &["[2, 3, 4]", "no rows"], |g| {
            let layer = RandomFlip::vertical();
            Scope::root(g, true).apply("n", &layer, f32s(g, &[2, 3, 4]));
        }),
        mistake("random_flip", &["probability", "[0, 1]", "1.5"], |g| {
            let layer = RandomFlip::vertical().probability(1.5);
            Scope::root(g, true).apply("n", &layer, image(g));
        }),
        mistake(
            "random_crop",
            &["window of 8", "5 elements", "1 and 1"],
            |g| {
                let layer = RandomCrop::new(8).padding(1);
                Scope::root(g, true).apply("n", &layer, image(g));
            },
        ),
        mistake("random_crop", &["window of 0"], |g| {
            Scope::root(g, false).apply("n", &RandomCrop::new(0), image(g));
        }),
        mistake("cutout", &["at least 1", "0"], |g| {
            Scope::root(g, true).apply("n", &Cutout::new([2, 0]), image(g));
        }),
        mistake("normalize", &["3 means", "[1, 3, 5, 5]", "2 and 1"], |g| {
            let layer = NormalizeChannels::new([0.5, 0.5], [1.0]);
            Scope::root(g, true).apply("n", &layer, image(g));
        }),
        mistake("normalize", &["above 0", "found 0"], |g| {
            let layer = NormalizeChannels::new([0.5; 3], [1.0, 0.0, 1.0]);
            Scope::root(g, true).apply("n", &layer, image(g));
        }),
        mistake("adaptive_avg_pool", &["[1, 3, 5, 5]", "[0, 0]"], |g| {
            image(g).adaptive_avg_pool(0);
        }),
        mistake("global_avg_pool", &["[2, 3]"], |g| {
            f32s(g, &[2, 3]).global_avg_pool();
        }),
        mistake("batch_norm", &["at least 2", "found 1", "[1, 3]"], |g| {
            Scope::root(g, true).apply("n", &BatchNorm::new(), f32s(g, &[1, 3]));
        }),
        mistake(
            "batch_norm",
            &["i32", "[1, 3, 5, 5]", "[N, C, H, W]"],
            |g| {
                Scope::root(g, true).apply("n", &BatchNorm::new(), i32s(g, &[1, 3, 5, 5]));
            },
        ),
        mistake("batch_norm", &["momentum", "[0, 1]", "1.5"], |g| {
            let layer = BatchNorm::new().momentum(1.5);
            Scope::root(g, true).apply("n", &layer, image(g));
        }),
        mistake("batch_norm", &["eps", "above 0", "-1"], |g| {
            let layer = BatchNorm::new().eps(-1.0);
            Scope::root(g, false).apply("n", &layer, image(g));
        }),
        mistake("batch_norm", &["[3]", "[4]"], |g| {
            let op = Normalize {
                sharing: Sharing::Batch,
                eps: 1e-5,
            };
            let w = f32s(g, &[4]);
            image(g).composite(op, &[w, w]);
        }),
        mistake("group_norm", &["2 groups", "3 channels"], |g| {
            Scope::root(g, true).apply("n", &GroupNorm::new(2), image(g));
        }),
        mistake("group_norm", &["at least 2", "found 1", "[4, 3]"], |g| {
            Scope::root(g, false).apply("n", &GroupNorm::new(3), f32s(g, &[4, 3]));
        }),
        mistake("instance_norm", &["f32 [N, C", "[5]"], |g| {
            Scope::root(g, true).apply("n", &InstanceNorm::new(), f32s(g, &[5]));
        }),
        mistake("check_index", &["f32"], |g| {
            f32s(g, &[3]).check_index(7);
        }),
        mistake("check_index", &["no rows"], |g| {
            i32s(g, &[3]).check_index(0);
        }),
        mistake("reshape", &["[2, 3]", "[7]", "6", "7"], |g| {
            f32s(g, &[2, 3]).reshape(7);
        }),
        mistake("expand", &["[2, 3]", "[2, 4]"], |g| {
            f32s(g, &[2, 3]).expand([2, 4]);
        }),
        mistake("expand", &["[2, 3]", "[3]"], |g| {
            f32s(g, &[2, 3]).expand([3]);
        }),
        mistake("permute", &["[0, 0]", "[2, 3]"], |g| {
            f32s(g, &[2, 3]).permute(&[0, 0]);
        }),
        mistake("transpose", &["[3]"], |g| {
            f32s(g, &[3]).transpose();
        }),
        mistake("slice", &["1..5", "axis 1", "[2, 3]"], |g| {
            f32s(g, &[2, 3]).slice_axis(1, 1, 5);
        }),
        mistake("slice", &["[2, 3]"], |g| {
            f32s(g, &[2, 3]).slice(&[0], &[1], &[1]);
        }),
        mistake("slice", &["step 0"], |g| {
            f32s(g, &[4]).slice(&[0], &[4], &[0]);
        }),
        mistake("pad", &["[2, 3]"], |g| {
            f32s(g, &[2, 3]).pad(&[1], &[1], 0.0);
        }),
        mistake("pad", &["i32", "f32"], |g| {
            i32s(g, &[3]).pad(&[1], &[1], 0.5);
        }),
        mistake("concat", &["[2, 3]", "[3, 3]", "axis 1"], |g| {
            f32s(g, &[2, 3]).concat(&[f32s(g, &[3, 3])], 1);
        }),
        mistake("concat", &["f32", "i32"], |g| {
            f32s(g, &[3]).concat(&[i32s(g, &[3])], 0);
        }),
        mistake("sum", &["[2, 3]", "axis 2"], |g| {
            f32s(g, &[2, 3]).sum(&[2]);
        }),
        mistake("sum", &["bool"], |g| {
            bools(g, &[3]).sum(&[0]);
        }),
        mistake("sum", &["twice"], |g| {
            f32s(g, &[2, 3]).sum(&[1, -1]);
        }),
        mistake("max", &["[2, 0]"], |g| {
            f32s(g, &[2, 0]).max(&[1]);
        }),
        mistake("min", &["[0]"], |g| {
            f32s(g, &[0]).min(&[0]);
        }),
        mistake("argmax", &["[2, 0]"], |g| {
            f32s(g, &[2, 0]).argmax(1);
        }),
        mistake("argmin", &["[3]", "axis 1"], |g| {
            f32s(g, &[3]).argmin(1);
        }),
        mistake(
            "matmul",
            &["[2, 3]", "3 columns", "[4, 5]", "4 rows"],
            |g| {
                f32s(g, &[2, 3]).matmul(f32s(g, &[4, 5]));
            },
        ),
        mistake("matmul", &["[2, 3, 4]", "[3, 4, 5]", "batch"], |g| {
            f32s(g, &[2, 3, 4]).matmul(f32s(g, &[3, 4, 5]));
        }),
        mistake("matmul", &["f32", "i32"], |g| {
            f32s(g, &[2, 3]).matmul(i32s(g, &[3, 4]));
        }),
        mistake("matmul", &["scalar"], |g| {
            f32s(g, &[]).matmul(f32s(g, &[3, 4]));
        }),
        mistake("check_index", &["f32"], |g| {
            f32s(g, &[4, 2]).gather(f32s(g, &[3]));
        }),
        mistake("gather", &["scalar"], |g| {
            f32s(g, &[]).gather(i32s(g, &[3]));
        }),
        mistake("softmax", &["i32"], |g| {
            i32s(g, &[2, 3]).softmax();
        }),
        mistake("softmax", &["scalar"], |g| {
            f32s(g, &[]).softmax();
        }),
        mistake("log_softmax", &["bool"], |g| {
            bools(g, &[2, 3]).log_softmax();
        }),
        mistake("cross_entropy", &["[4, 3]", "[5]"], |g| {
            f32s(g, &[4, 3]).cross_entropy(i32s(g, &[5]));
        }),
        mistake("cross_entropy", &["labels", "f32"], |g| {
            f32s(g, &[4, 3]).cross_entropy(f32s(g, &[4]));
        }),
        mistake("cross_entropy", &["[4, 0]"], |g| {
            f32s(g, &[4, 0]).cross_entropy(i32s(g, &[4]));
        }),
        mistake("dropout", &["1.5"], |g| {
            Scope::root(g, true).dropout(f32s(g, &[3]), 1.5);
        }),
        mistake("grad", &["[3]"], |g| {
            let x = f32s(g, &[3]);
            gradus_graph::grad(x, &[x]);
        }),
        mistake("update", &["not a state"], |g| {
            let x = f32s(g, &[3]);
            g.update(x, x);
        }),
        mistake("state", &["f32", "I32"], |g| {
            g.state("s", [3], DType::F32, 0);
        }),
    ];
    // An op on values of another graph.
    all.push(mistake("mul", &["different graphs"], |g| {
        let other = Graph::new();
        // Only the first graph is asked; its own value comes first.
        let shorter: &Graph = g;
        let x = f32s(shorter, &[3]);
        let y = other.literal(Array::vector(vec![1.0f32, 2.0, 3.0]));
        foreign(x, y);
    }));
    all.extend(super::index_mistakes::mistakes());
    all.extend(losses::mistakes());
    all.extend(super::sequence_mistakes::mistakes());
    all
}

/// Both at one lifetime, as a user could have them.
fn foreign<'a>(x: Var<'a>, y: Var<'a>) {
    let _ = x * y;
}
