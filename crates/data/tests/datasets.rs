//! The embedded digits, and MNIST from a folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use gradus_data::{DataError, TARGET, datasets};
use gradus_graph::Data;

#[test]
fn digits_are_whole() {
    let digits = datasets::digits();
    assert_eq!(
        digits.to_string(),
        "1797 samples, x f32 [64], y i32 [], 10 classes"
    );

    let batch = digits.gather(digits.sequential().indices()).unwrap();
    let x = batch.get("x").unwrap().as_f32().unwrap();
    assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
    // The sum of all pixel counts, computed independently from the source file.
    assert_eq!(
        x.iter().map(|v| f64::from(v * 16.0)).sum::<f64>(),
        PIXEL_SUM
    );
    // The first image begins 0 0 5 13 9 1 0 0 and is a zero.
    assert_eq!(
        x[..6],
        [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]
    );

    let Data::I32(labels) = batch.get(TARGET).unwrap().data() else {
        panic!("labels are i32");
    };
    let counts: Vec<usize> = (0..10)
        .map(|c| labels.iter().filter(|&&l| l == c).count())
        .collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!(
        digits
            .reshape_features([1, 8, 8])
            .unwrap()
            .features()
            .to_vec(),
        [1, 8, 8]
    );
}

const PIXEL_SUM: f64 = 561718.0;

#[test]
fn mnist_reads_the_four_files() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("train-images-idx3-ubyte"), 3).unwrap();
    write_labels(&folder.path().join("train-labels-idx1-ubyte"), &[0, 3, 9]).unwrap();
    write_images(&folder.path().join("t10k-images.idx3-ubyte"), 1).unwrap();
    write_labels(&folder.path().join("t10k-labels.idx1-ubyte"), &[2]).unwrap();

    let data = datasets::mnist(folder.path()).unwrap();
    assert_eq!(
        data.train.to_string(),
        "3 samples, x f32 [784], y i32 [], 10 classes"
    );
    assert_eq!(
        data.test.to_string(),
        "1 samples, x f32 [784], y i32 [], 10 classes"
    );

    write_labels(&folder.path().join("train-labels-idx1-ubyte"), &[0, 3, 10]).unwrap();
    assert!(matches!(
        datasets::mnist(folder.path()),
        Err(DataError::LabelRange { .. })
    ));

    let labels = folder.path().join("train-labels-idx1-ubyte");
    write_labels(&labels, &[0, 3]).unwrap();
    let error = datasets::mnist(folder.path()).unwrap_err().to_string();
    let images = folder.path().join("train-images-idx3-ubyte");
    let expected = format!(
        "{} holds u8 [2], expected 3 labels, as many as {}",
        labels.display(),
        images.display()
    );
    assert_eq!(error, expected);

    write_labels(&images, &[0]).unwrap();
    let error = datasets::mnist(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("holds u8 [1], expected byte images [N, H, W]"),
        "{error}"
    );
}

#[test]
fn mnist_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    write_labels(&folder.path().join("train-labels-idx1-ubyte"), &[0]).unwrap();
    let error = datasets::mnist(folder.path()).unwrap_err().to_string();
    let path = folder.path().display();
    let expected = format!(
        "{path} lacks train-images-idx3-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte; \
         download each as NAME.gz from https://storage.googleapis.com/cvdf-datasets/mnist/ into \
         that folder"
    );
    assert_eq!(error, expected);
}

#[test]
fn mnist_may_be_compressed() {
    let folder = tempfile::tempdir().unwrap();
    for (part, n) in [("train", 3), ("t10k", 2)] {
        let path = |name: &str| folder.path().join(format!("{part}-{name}-ubyte"));
        write_images(&path("images-idx3"), n).unwrap();
        write_labels(&path("labels-idx1"), &vec![7; usize::from(n)]).unwrap();
    }
    let plain = datasets::mnist(folder.path()).unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(&bytes).unwrap();
        let zipped = format!("{}.gz", path.display());
        fs::write(zipped, to.finish().unwrap()).unwrap();
        fs::remove_file(path).unwrap();
    }
    let zipped = datasets::mnist(folder.path()).unwrap();
    assert_eq!(zipped.train.len(), 3);
    assert_eq!(
        zipped.test.gather(&[0, 1]).unwrap(),
        plain.test.gather(&[0, 1]).unwrap()
    );

    let damaged = folder.path().join("t10k-labels-idx1-ubyte.gz");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() - 9]).unwrap();
    let error = datasets::mnist(folder.path()).unwrap_err().to_string();
    assert!(error.contains("t10k-labels-idx1-ubyte.gz"), "{error}");
}

fn write_images(path: &Path, n: u8) -> std::io::Result<()> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 28, 0, 0, 0, 28];
    bytes.resize(16 + usize::from(n) * 784, 255);
    fs::write(path, bytes)
}

fn write_labels(path: &Path, labels: &[u8]) -> std::io::Result<()> {
    let n = u8::try_from(labels.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0, 0, 8, 1, 0, 0, 0, n];
    bytes.extend(labels);
    fs::write(path, bytes)
}
