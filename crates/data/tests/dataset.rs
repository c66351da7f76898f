//! Data sets: what they refuse, how they split, what a batch holds.

use gradus_data::{DataError, Dataset, INPUT, Order, TARGET};
use gradus_graph::{Array, ArrayError};
use proptest::prelude::*;

/// `n` samples of `[2]`: sample `i` is `[i, -i]` with label `i % 3`.
fn numbered(n: u16) -> Result<Dataset, DataError> {
    let x: Vec<f32> = (0..n).flat_map(|i| [f32::from(i), -f32::from(i)]).collect();
    let y: Vec<i32> = (0..n).map(|i| i32::from(i % 3)).collect();
    let array = |source| DataError::Array {
        name: String::new(),
        source,
    };
    Dataset::from_arrays(
        Array::new([usize::from(n), 2], x).map_err(array)?,
        Array::vector(y),
    )
}

fn message(x: Result<Array, ArrayError>, y: Array) -> String {
    match x.map(|x| Dataset::from_arrays(x, y)) {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(data)) => format!("accepted {data}"),
        Err(error) => format!("no array: {error}"),
    }
}

#[test]
fn bad_data_is_refused_with_place_and_value() {
    let labels = |v: &[i32]| Array::vector(v.to_vec());
    let column = |v: &[f32]| Array::new([v.len(), 1], v.to_vec());
    let cases = [
        (
            message(Array::new([0, 4], vec![0.0f32; 0]), labels(&[])),
            "`y` of shape [0] holds no data, expected at least one sample and one element",
        ),
        (
            message(Array::new([2, 0], vec![0.0f32; 0]), labels(&[0, 1])),
            "`x` of shape [2, 0] holds no data, expected at least one sample and one element",
        ),
        (
            message(column(&[1.0, 2.0]), labels(&[0])),
            "`x` has 2 samples, but `y` has 1",
        ),
        (
            message(column(&[1.0, 2.0]), labels(&[0, -4])),
            "label -4 at sample 1, expected class labels from 0, or -100 for none",
        ),
        (
            message(column(&[1.0, f32::NAN]), labels(&[0, 1])),
            "`x` has NaN at sample 1, element 0, expected finite values",
        ),
        (
            message(column(&[1.0]), Array::vector(vec![f32::NEG_INFINITY])),
            "`y` has -inf at sample 0, element 0, expected finite values",
        ),
        (
            message(column(&[1.0]), Array::vector(vec![true])),
            "target of dtype bool, expected i32 or u32 class labels or f32 values",
        ),
        (
            message(Ok(Array::scalar(1.0)), labels(&[0])),
            "`x` is a scalar, expected samples along a first axis",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn inputs_have_distinct_names() {
    let array = || Array::vector(vec![1.0f32, 2.0]);
    let data = Dataset::from_inputs([("a", array()), ("b", array())], array()).unwrap();
    assert_eq!(
        data.fields().map(|(name, _)| name).collect::<Vec<_>>(),
        ["a", "b", TARGET]
    );
    assert_eq!(data.classes(), None);
    for names in [["a", "a"], ["a", TARGET]] {
        let result = Dataset::from_inputs(names.map(|name| (name, array())), array());
        assert!(matches!(result, Err(DataError::DuplicateName { .. })));
    }
    let none: [(&str, Array); 0] = [];
    assert!(matches!(
        Dataset::from_inputs(none, array()),
        Err(DataError::NoInputs)
    ));
}

#[test]
fn classes_are_counted_or_set() {
    let data = numbered(7).unwrap();
    assert_eq!(data.classes(), Some(3));
    // A subset without the largest label keeps the number.
    assert_eq!(data.take(1).unwrap().classes(), Some(3));
    assert_eq!(data.clone().with_classes(5).unwrap().classes(), Some(5));
    let error = data.with_classes(2).unwrap_err().to_string();
    assert_eq!(
        error,
        "label 2 at sample 2, expected labels below 2 classes"
    );

    let values = Dataset::from_arrays(Array::vector(vec![1u32]), Array::vector(vec![0.5f32]));
    assert!(matches!(
        values.unwrap().with_classes(2),
        Err(DataError::NoClasses)
    ));
}

#[test]
fn shapes_and_printing() {
    let data = numbered(4).unwrap();
    assert_eq!(data.features().to_vec(), [2]);
    assert_eq!(
        data.to_string(),
        "4 samples, x f32 [2], y i32 [], 3 classes"
    );
    let image = data.clone().reshape_features([1, 2, 1]).unwrap();
    assert_eq!(image.features().to_vec(), [1, 2, 1]);
    assert_eq!(
        image
            .gather(&[3])
            .unwrap()
            .get(INPUT)
            .unwrap()
            .shape()
            .to_vec(),
        [1, 1, 2, 1]
    );
    assert!(matches!(
        data.reshape_features([3]),
        Err(DataError::Array { .. })
    ));
}

#[test]
fn gather_takes_the_samples_asked_for() {
    let data = numbered(5).unwrap();
    let batch = data.gather(&[4, 0, 4]).unwrap();
    assert_eq!(batch.len(), 3);
    let x = batch.get(INPUT).unwrap();
    assert_eq!(x.as_f32().unwrap(), [4.0, -4.0, 0.0, 0.0, 4.0, -4.0]);

    let mut words = [0; 6];
    data.gather_into(INPUT, &[4, 0, 4], &mut words).unwrap();
    assert_eq!(words.to_vec(), x.to_words());
    data.gather_into(TARGET, &[4, 0, 2], &mut words[..3])
        .unwrap();
    assert_eq!(words[..3], [1, 0, 2]);

    let text = |result: Result<(), DataError>| result.unwrap_err().to_string();
    assert_eq!(
        text(data.gather_into("z", &[0], &mut words)),
        "no field is named `z`, found x, y"
    );
    assert_eq!(
        text(data.gather_into(INPUT, &[5], &mut words[..2])),
        "sample index 5, expected an index below 5"
    );
    assert_eq!(
        text(data.gather_into(INPUT, &[0], &mut words)),
        "buffer of 6 words for 1 samples of `x`, expected 2"
    );
    assert!(matches!(data.gather(&[5]), Err(DataError::Index { .. })));
    assert!(matches!(data.select(&[]), Err(DataError::NoSamples)));
    assert!(matches!(data.take(0), Err(DataError::NoSamples)));
}

#[test]
fn split_is_random_and_repeatable() {
    let data = numbered(100).unwrap();
    let split = data.split(0.2, 7).unwrap();
    assert_eq!((split.train.len(), split.test.len()), (80, 20));
    assert_eq!(split, data.split(0.2, 7).unwrap());
    assert_ne!(split, data.split(0.2, 8).unwrap());

    let ordered = data.split_at(60).unwrap();
    assert_eq!(ordered.train, data.take(60).unwrap());
    assert_eq!(
        ordered.test.gather(&[0]).unwrap(),
        data.gather(&[60]).unwrap()
    );
}

#[test]
fn split_leaves_no_side_empty() {
    let data = numbered(3).unwrap();
    for fraction in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
        assert!(matches!(
            data.split(fraction, 7),
            Err(DataError::Fraction { .. })
        ));
    }
    let error = data.split(0.1, 7).unwrap_err().to_string();
    assert_eq!(
        error,
        "splitting 3 samples into 3 and 0 leaves one side empty"
    );
    for n in [0, 3, 4] {
        assert!(matches!(data.split_at(n), Err(DataError::EmptySide { .. })));
    }
}

proptest! {
    #[test]
    fn split_keeps_every_sample_once(n in 2u16..300, fraction in 0.05f64..0.95, seed: u64) {
        let Ok(split) = numbered(n)?.split(fraction, seed) else {
            // Rounding leaves a side empty only when it is less than half a sample.
            let test = f64::from(n) * fraction;
            prop_assert!(test < 0.5 || f64::from(n) - test <= 0.5);
            return Ok(());
        };
        let mut all = Vec::new();
        for side in [&split.train, &split.test] {
            let x = side.gather(side.sequential().indices())?;
            let x = x.get(INPUT).map(Array::as_f32);
            let x = x.unwrap_or(Ok(&[]))?;
            all.extend(x.as_chunks::<2>().0.iter().map(|pair| pair[0]));
        }
        all.sort_by(f32::total_cmp);
        prop_assert_eq!(all, (0..n).map(f32::from).collect::<Vec<_>>());
    }

    #[test]
    fn batches_cover_the_order(n in 1usize..500, size in 1usize..600, seed: u64, epoch: u32) {
        let order = Order::shuffled(n, seed, epoch)?;
        let batches = order.batches(size)?;
        prop_assert_eq!(batches.len(), n.div_ceil(size));
        let all: Vec<u32> = batches.flatten().copied().collect();
        prop_assert_eq!(&all, order.indices());
        let mut sorted = all;
        sorted.sort_unstable();
        prop_assert!(sorted.iter().map(|&i| i as usize).eq(0..n));
    }
}
