//! Random programs over random views.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::{DType, ExprId, Index};
use proptest::prelude::*;

use super::bench::Memory;
use super::build::{Build, noise};
use super::check_at_scale;

/// A view of the iteration space: reshaped, permuted, sliced, flipped or broadcast.
#[derive(Clone, Debug)]
enum View {
    Reshape(usize),
    Reverse,
    Drop(usize),
    Shift(i64),
    Flip(usize),
}

fn view() -> impl Strategy<Value = View> {
    prop_oneof![
        (0usize..4).prop_map(View::Reshape),
        Just(View::Reverse),
        (0usize..4).prop_map(View::Drop),
        (0i64..5).prop_map(View::Shift),
        (0usize..4).prop_map(View::Flip),
    ]
}

/// The index of an element of an operand after some views, and how many words it needs.
fn index(axes: &[usize], views: &[View]) -> (Index, usize) {
    let mut shape = axes.to_vec();
    let mut coordinates: Vec<Index> = (0..axes.len()).map(Index::axis).collect();
    let mut offset = 0;
    for view in views {
        match view {
            View::Reshape(how) => {
                let n: usize = shape.iter().product();
                let d = [2, 3, 4, 5][*how];
                let new = if n.is_multiple_of(d) {
                    vec![d, n / d]
                } else {
                    vec![n]
                };
                let flat = Index::linear(&coordinates, &shape);
                coordinates = flat.unravel(&new, axes);
                shape = new;
            }
            View::Reverse => {
                shape.reverse();
                coordinates.reverse();
            }
            View::Drop(i) if *i < shape.len() => {
                coordinates[*i] = Index::constant(0);
                shape[*i] = 1;
            }
            View::Flip(i) if *i < shape.len() => {
                coordinates[*i] = coordinates[*i].scaled(-1).shifted(shape[*i] as i64 - 1);
            }
            View::Shift(by) => offset += by,
            View::Drop(_) | View::Flip(_) => {}
        }
    }
    let index = Index::linear(&coordinates, &shape).shifted(offset);
    (index, shape.iter().product::<usize>() + offset as usize)
}

#[derive(Clone, Debug)]
enum Step {
    Load(Vec<View>),
    Unary(usize, usize),
    Binary(usize, usize, usize),
    /// Products and sums that may join each other, of numbers that stay small.
    Product(usize, usize),
    Reduce(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(view(), 0..4).prop_map(Step::Load),
        (0usize..5, any::<usize>()).prop_map(|(op, x)| Step::Unary(op, x)),
        (0usize..4, any::<usize>(), any::<usize>()).prop_map(|(op, a, b)| Step::Binary(op, a, b)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::Product(a, b)),
        (0usize..3, any::<usize>()).prop_map(|(op, x)| Step::Reduce(op, x)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn agree_with_their_meaning(
        axes in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 6, 7, 20, 33, 64]), 1..4),
        kept in 0usize..4,
        steps in prop::collection::vec(step(), 1..10),
        column_major in any::<bool>(),
    ) {
        let kept = kept.min(axes.len());
        let mut b = Build::new(&axes, kept);
        let mut memory = Vec::new();
        let mut values: Vec<ExprId> = Vec::new();
        for step in &steps {
            let pick = |i: usize| values[i % values.len()];
            let value = match step {
                Step::Load(views) => {
                    let (index, len) = index(&axes, views);
                    memory.push(Memory::floats(&noise(len, memory.len() as u64)));
                    b.load(memory.len() - 1, index)
                }
                _ if values.is_empty() => b.constant(1.5f32),
                Step::Unary(op, x) => {
                    let op = [Unary::Neg, Unary::Tanh, Unary::Relu, Unary::Sigmoid, Unary::Abs][*op];
                    b.unary(op, pick(*x))
                }
                Step::Binary(op, x, y) => {
                    let op = [Binary::Add, Binary::Sub, Binary::Max, Binary::Min][*op];
                    b.binary(op, pick(*x), pick(*y))
                }
                Step::Product(x, y) => {
                    let (x, y) = (b.unary(Unary::Sigmoid, pick(*x)), b.unary(Unary::Tanh, pick(*y)));
                    let product = b.binary(Binary::Mul, x, y);
                    let square = b.unary(Unary::Square, product);
                    let sum = b.binary(Binary::Sub, x, square);
                    b.binary(Binary::Mul, y, sum)
                }
                Step::Reduce(_, _) if kept == axes.len() => b.constant(0.5f32),
                Step::Reduce(op, x) => {
                    let op = [Reduction::Sum, Reduction::Max, Reduction::Min][*op];
                    b.reduce(op, pick(*x))
                }
            };
            values.push(value);
        }
        let full = b.program.full();
        // All values that vary along columns are stored, and all others for each row.
        for value in values {
            let sizes = if full[value.index()] { &axes[..] } else { &axes[..kept] };
            let mut coordinates: Vec<Index> = (0..sizes.len()).map(Index::axis).collect();
            let mut shape = sizes.to_vec();
            if column_major {
                coordinates.reverse();
                shape.reverse();
            }
            memory.push(Memory::out(sizes.iter().product(), DType::F32));
            b.store(memory.len() - 1, Index::linear(&coordinates, &shape), value);
        }
        // The reference rounds once, at the end; the executor after every op, and sums that cancel
        // leave what was rounded.
        if memory.iter().filter(|m| m.used == super::bench::Use::Write).count() <= 16 {
            check_at_scale(&b.program, &memory, 256.0 * f64::from(f32::EPSILON), 1.0);
        }
    }
}
