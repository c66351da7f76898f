//! Data sets by name: embedded ones, and files in a folder the user names.
//!
//! Sources and licences of embedded data are in `DATA-LICENSES.md`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gradus_graph::Array;

use crate::idx::{self, Elements};
use crate::{DataError, Dataset, Split};

const DIGITS_IMAGES: &[u8] = include_bytes!("../data/digits-images.idx3");
const DIGITS_LABELS: &[u8] = include_bytes!("../data/digits-labels.idx1");
const MOBY_DICK: &[u8] = include_bytes!("../data/moby-dick.txt.gz");

/// Handwritten digits: 1797 grey images of 8×8, embedded.
///
/// Features `[1797, 64]` in [0, 1] (counts of 0 to 16, divided by 16); `i32` labels, ten classes.
/// `digits().reshape_features([1, 8, 8])` gives images. Samples lie in order of writer: the last
/// 360 are by other people than the first 1437, and harder. A random [`split`](Dataset::split)
/// mixes the writers, [`split_at(1437)`](Dataset::split_at) keeps them apart.
///
/// Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine
/// Learning Repository, CC BY 4.0.
#[expect(clippy::expect_used, reason = "a test reads the same embedded bytes")]
pub fn digits() -> Dataset {
    read_digits().expect("the embedded digits are valid")
}

fn read_digits() -> Result<Dataset, DataError> {
    let embedded = |bytes, name: &str| {
        idx::parse(bytes).map_err(|source| DataError::Idx {
            path: PathBuf::from(name),
            source,
        })
    };
    let images = embedded(DIGITS_IMAGES, "digits-images.idx3")?;
    let labels = embedded(DIGITS_LABELS, "digits-labels.idx1")?;
    labelled_images(
        (&images, Path::new("digits-images.idx3")),
        (&labels, Path::new("digits-labels.idx1")),
        16.0,
    )
}

/// The novel *Moby-Dick*, embedded: 135 chapters, 1,204,997 bytes of UTF-8, 85 of them different.
///
/// [`text::windows`](crate::text::windows) make a data set of its tokens.
///
/// Source: H. Melville (1851), *Moby-Dick; or, The Whale*, public domain.
#[expect(clippy::expect_used, reason = "a test reads the same embedded bytes")]
pub fn moby_dick() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        let mut unzipped = flate2::read::GzDecoder::new(MOBY_DICK);
        let read = unzipped.read_to_string(&mut text);
        read.expect("the embedded novel is valid");
        text
    })
}

/// MNIST, or another set in the same four files (Fashion-MNIST, KMNIST), from a folder.
///
/// Features `[N, 784]` in [0, 1] (grey levels divided by 255); `i32` labels, ten classes;
/// `reshape_features([1, 28, 28])` gives images. The files are `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or the same
/// compressed, with `.gz` behind; a dot in place of the second hyphen is understood too.
///
/// # Errors
/// If a file is missing (the error says where to get it), is damaged, or holds something else.
///
/// Source: Y. LeCun, C. Cortes (1998), The MNIST database of handwritten digits.
pub fn mnist(folder: impl AsRef<Path>) -> Result<Split, DataError> {
    let folder = folder.as_ref();
    let names = [
        ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
        ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
        ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
        ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"],
    ];
    let found = names.map(|names| find(folder, names));
    let [Some(x), Some(y), Some(test_x), Some(test_y)] = &found else {
        return Err(missing(folder, &names, &found));
    };
    Ok(Split {
        train: idx_images(x, y)?.with_classes(10)?,
        test: idx_images(test_x, test_y)?.with_classes(10)?,
    })
}

/// Images with labels from two IDX files, compressed by gzip or not, as a part of MNIST or a set
/// of one's own in that format.
///
/// Features `[N, H·W]` in [0, 1] (bytes divided by 255); `i32` labels.
///
/// # Errors
/// If a file cannot be read, is damaged, or holds something else than byte images `[N, H, W]` or
/// as many byte labels `[N]`.
pub fn idx_images(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
) -> Result<Dataset, DataError> {
    let (images, labels) = (images.as_ref(), labels.as_ref());
    let (x, y) = (idx::read(images)?, idx::read(labels)?);
    labelled_images((&x, images), (&y, labels), 255.0)
}

fn find(folder: &Path, names: [&str; 2]) -> Option<PathBuf> {
    let zipped = names.map(|name| format!("{name}.gz"));
    let all = names.into_iter().chain(zipped.iter().map(String::as_str));
    all.map(|name| folder.join(name))
        .find(|path| path.is_file())
}

fn missing(folder: &Path, names: &[[&str; 2]; 4], found: &[Option<PathBuf>; 4]) -> DataError {
    let absent = names.iter().zip(found).filter(|(_, path)| path.is_none());
    DataError::Missing {
        folder: folder.to_owned(),
        files: absent.map(|([name, _], _)| (*name).to_owned()).collect(),
        help: "download each as NAME.gz from https://storage.googleapis.com/cvdf-datasets/mnist/ \
               into that folder"
            .to_owned(),
    }
}

/// Byte images `[N, H, W]`, flattened and divided by `white`, with byte labels `[N]`.
fn labelled_images(
    (images, images_path): (&idx::Idx, &Path),
    (labels, labels_path): (&idx::Idx, &Path),
    white: f32,
) -> Result<Dataset, DataError> {
    let (&[n, height, width], Elements::U8(_)) = (images.dims(), images.elements()) else {
        return Err(contents(images_path, images, "byte images [N, H, W]"));
    };
    let (&[count], Elements::U8(classes)) = (labels.dims(), labels.elements()) else {
        return Err(contents(labels_path, labels, "byte labels [N]"));
    };
    if count != n {
        let expected = format!("{n} labels, as many as {}", images_path.display());
        return Err(contents(labels_path, labels, &expected));
    }
    let pixels = images
        .to_f32(white)
        .and_then(|a| a.reshape([n, height * width]));
    let pixels = pixels.map_err(|source| DataError::Array {
        name: crate::INPUT.to_owned(),
        source,
    })?;
    let classes: Vec<i32> = classes.iter().map(|&label| i32::from(label)).collect();
    Dataset::from_arrays(pixels, Array::vector(classes))
}

fn contents(path: &Path, file: &idx::Idx, expected: &str) -> DataError {
    DataError::Contents {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found: format!("{} {:?}", file.elements().name(), file.dims()),
    }
}
