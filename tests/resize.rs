//! Interpolation, borders and shuffled pixels: values as PyTorch documents them.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use gradus::prelude::*;
use gradus_cpu::oracle::{self, Feeds, Tensor};

/// What a layer makes of `0, 1, 2, …` plus `first`.
fn made(layer: &impl Layer, shape: &[usize], first: f32) -> (Vec<usize>, Vec<f64>) {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| first + i as f32).collect();
    let graph = Graph::new();
    let x = graph.input("x", shape, DType::F32);
    let y = layer.forward(&Scope::root(&graph, true), x);
    graph.check().unwrap();
    let feeds = Feeds::<f64> {
        inputs: vec![Tensor::from_array(&Array::new(shape, values).unwrap())],
        params: Vec::new(),
        states: Vec::new(),
        row: oracle::row(0, 0, &[]),
    };
    let found = oracle::eval(&graph.nodes(), &feeds, &[y.id()]).unwrap();
    (y.shape().to_vec(), found.values[0].to_f64())
}

#[track_caller]
fn check(layer: &impl Layer, shape: &[usize], first: f32, wanted: &[f64]) {
    let (_, found) = made(layer, shape, first);
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        // Weights are f32.
        assert!((found - wanted).abs() < 1e-6, "{found}, want {wanted}");
    }
}

#[test]
fn upsampling() {
    let image = &[1, 1, 2, 2];
    let nearest = [
        1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.,
    ];
    check(&Upsample::scale(2.0), image, 1.0, &nearest);
    check(&Upsample::size(4), image, 1.0, &nearest);
    let linear = [
        [1.0, 1.25, 1.75, 2.0],
        [1.5, 1.75, 2.25, 2.5],
        [2.5, 2.75, 3.25, 3.5],
        [3.0, 3.25, 3.75, 4.0],
    ];
    check(
        &Upsample::scale(2.0).linear(),
        image,
        1.0,
        linear.as_flattened(),
    );
    let third = 1.0 / 3.0;
    let rows = [1.0, 1.0 + 2.0 * third, 1.0 + 4.0 * third, 3.0];
    let aligned = rows.map(|r| [0.0, third, 2.0 * third, 1.0].map(|c| r + c));
    check(
        &Upsample::size(4).align_corners(),
        image,
        1.0,
        aligned.as_flattened(),
    );
    // A factor is kept as it is: ⌊5 · 1.5⌋ = 7 elements, each 1/1.5 from the other.
    let found = made(&Upsample::scale(1.5), &[1, 1, 5], 0.0);
    assert_eq!(found, (vec![1, 1, 7], vec![0., 0., 1., 2., 2., 3., 4.]));
    let found = made(&Upsample::size(7), &[1, 1, 5], 0.0);
    assert_eq!(found, (vec![1, 1, 7], vec![0., 0., 1., 2., 2., 3., 4.]));
    // i · 1/49 is never just below a whole number.
    let (_, found) = made(&Upsample::size(49 * 3), &[1, 1, 3], 0.0);
    let wanted: Vec<f64> = (0..147).map(|i| f64::from(i / 49)).collect();
    assert_eq!(found, wanted);
    check(&Upsample::size(1).align_corners(), &[1, 1, 3], 5.0, &[5.0]);
    check(&Upsample::size(2).linear(), &[1, 1, 4], 0.0, &[0.5, 2.5]);
}

#[test]
fn borders() {
    let wanted = [
        [8., 7., 6., 7., 8., 7., 6.],
        [5., 4., 3., 4., 5., 4., 3.],
        [2., 1., 0., 1., 2., 1., 0.],
        [5., 4., 3., 4., 5., 4., 3.],
        [8., 7., 6., 7., 8., 7., 6.],
        [5., 4., 3., 4., 5., 4., 3.],
        [2., 1., 0., 1., 2., 1., 0.],
    ];
    check(
        &Pad::new(2, Border::Reflect),
        &[1, 1, 3, 3],
        0.0,
        wanted.as_flattened(),
    );
    let wanted = [
        [0., 0., 0., 1., 2.],
        [0., 0., 0., 1., 2.],
        [3., 3., 3., 4., 5.],
    ];
    let sides = [(1, 0), (2, 0)];
    check(
        &Pad::new(sides, Border::Replicate),
        &[1, 1, 2, 3],
        0.0,
        wanted.as_flattened(),
    );
    let wanted = [3.5, 3.5, 0., 1., 3.5];
    check(
        &Pad::new([(2, 1)], Border::Constant(3.5)),
        &[1, 1, 2],
        0.0,
        &wanted,
    );
}

#[test]
fn shuffled_pixels() {
    // Channels 0 to 3 of one pixel are its corners, row by row.
    let wanted = [0., 2., 1., 3., 4., 6., 5., 7.];
    check(&PixelShuffle::new(2), &[1, 4, 1, 2], 0.0, &wanted);
    let both = Sequential::new().pixel_shuffle(3).pixel_unshuffle(3);
    let (shape, found) = made(&both, &[2, 18, 2, 5], 0.0);
    assert_eq!(shape, [2, 18, 2, 5]);
    assert!(found.iter().enumerate().all(|(i, &v)| v == i as f64));
}
