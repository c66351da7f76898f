//! IDX files: every element type, every way to be wrong.

use std::io::Write;

use gradus_data::DataError;
use gradus_data::idx::{Elements, Idx, IdxError, parse, read};
use gradus_graph::DType;
use proptest::prelude::*;

#[test]
fn every_element_type() {
    let cases: [(u8, &[u8], Elements); 6] = [
        (0x08, &[0, 255], Elements::U8(vec![0, 255])),
        (0x09, &[1, 255], Elements::I8(vec![1, -1])),
        (0x0B, &[1, 0, 255, 254], Elements::I16(vec![256, -2])),
        (
            0x0C,
            &[0, 0, 1, 0, 255, 255, 255, 253],
            Elements::I32(vec![256, -3]),
        ),
        (
            0x0D,
            &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0],
            Elements::F32(vec![1.0, -2.0]),
        ),
        (
            0x0E,
            &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0],
            Elements::F64(vec![1.0, -2.0]),
        ),
    ];
    for (code, data, elements) in cases {
        let idx = parse(&file(code, &[2, 1], data)).unwrap();
        assert_eq!((idx.dims(), idx.elements()), ([2, 1].as_slice(), &elements));
        let floats = idx.to_f32(2.0).unwrap();
        assert_eq!(floats.shape().to_vec(), [2, 1]);
        let is_float = matches!(code, 0x0D | 0x0E);
        assert_eq!(idx.to_i32().unwrap().is_none(), is_float);
    }
}

#[test]
fn any_rank() {
    assert_eq!(parse(&file(0x08, &[], &[7])).unwrap().dims(), [0usize; 0]);
    let deep = parse(&file(0x08, &[1; 255], &[7])).unwrap();
    assert_eq!(deep.dims().len(), 255);
    // Arrays stop at eight axes, which is an error, not a panic.
    assert!(deep.to_f32(1.0).is_err());
    assert_eq!(parse(&file(0x08, &[3, 0], &[])).unwrap().dims(), [3, 0]);
    let labels = parse(&file(0x08, &[1], &[7])).unwrap().to_i32().unwrap();
    assert_eq!(labels.unwrap().dtype(), DType::I32);
}

#[test]
fn damage_is_named_with_its_offset() {
    let good = file(0x08, &[2, 3], &[0; 6]);
    assert!(parse(&good).is_ok());
    let cases: [(&[u8], &str); 7] = [
        (
            &[],
            "0 bytes of magic number from offset 0 to the end, expected 4",
        ),
        (
            &[0x1f, 0x8b, 8, 0],
            "bytes 1f 8b at offset 0 mark a gzip file, expected IDX: decompress it first",
        ),
        (
            b"\x89PNG",
            "bytes 89 50 at offset 0, expected 00 00 as every IDX file begins",
        ),
        (
            &[0, 0, 0x0A, 1],
            "element type 0x0a at offset 2, expected 0x08, 0x09, 0x0b, 0x0c, 0x0d or 0x0e",
        ),
        (
            &good[..10],
            "6 bytes of axes from offset 4 to the end, expected 8",
        ),
        (
            &good[..17],
            "5 bytes of elements from offset 12 to the end, expected 6",
        ),
        (
            &[good.as_slice(), &[9, 9]].concat(),
            "2 bytes from offset 18, expected the end of the file",
        ),
    ];
    for (bytes, message) in cases {
        assert_eq!(parse(bytes).unwrap_err().to_string(), message);
    }
    let huge = file(0x0E, &[u32::MAX; 3], &[]);
    assert!(matches!(parse(&huge), Err(IdxError::Overflow { .. })));
    // An empty axis must not hide axes that no array can have.
    let hidden = file(0x0E, &[0, u32::MAX, u32::MAX], &[]);
    assert!(matches!(parse(&hidden), Err(IdxError::Overflow { .. })));
}

#[test]
fn errors_name_the_file() {
    let absent = read("no/such/file").unwrap_err();
    assert_eq!(absent.to_string(), "cannot read no/such/file");

    let mut short = tempfile::NamedTempFile::new().unwrap();
    short.write_all(&[0, 0, 8]).unwrap();
    let error = read(short.path()).unwrap_err();
    let text = format!("{} is not a usable IDX file", short.path().display());
    assert_eq!(error.to_string(), text);
    assert!(matches!(
        error,
        DataError::Idx {
            source: IdxError::Short { .. },
            ..
        }
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&bytes);
    }

    /// Valid beginnings reach the code behind the magic number.
    #[test]
    fn arbitrary_axes_never_panic(
        code in 0x08u8..0x0F,
        rank in 0u8..12,
        tail in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..64),
    ) {
        let mut bytes = vec![0, 0, code, rank];
        bytes.extend(tail);
        if let Ok(idx) = parse(&bytes) {
            let _ = (idx.to_f32(1.0), idx.to_i32());
            prop_assert_eq!(write(&idx), bytes);
        }
    }

    #[test]
    fn round_trip(
        dims in proptest::collection::vec(0u32..4, 0..5),
        code in prop_oneof![Just(0x08u8), Just(0x09), Just(0x0B), Just(0x0C), Just(0x0D), Just(0x0E)],
        seed in proptest::collection::vec(any::<u8>(), 8 * 256),
    ) {
        let size = match code { 0x08 | 0x09 => 1, 0x0B => 2, 0x0E => 8, _ => 4 };
        let n = dims.iter().product::<u32>() as usize;
        let bytes = file(code, &dims, &seed[..n * size]);
        let idx = parse(&bytes);
        prop_assert!(idx.is_ok());
        prop_assert_eq!(write(&idx?), bytes);
    }
}

/// An IDX file with these axes and big-endian elements.
fn file(code: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, u8::try_from(dims.len()).unwrap_or(u8::MAX)];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn write(idx: &Idx) -> Vec<u8> {
    let dims: Vec<u32> = idx
        .dims()
        .iter()
        .map(|&d| u32::try_from(d).unwrap_or(0))
        .collect();
    let (code, data): (u8, Vec<u8>) = match idx.elements() {
        Elements::U8(v) => (0x08, v.clone()),
        Elements::I8(v) => (0x09, v.iter().flat_map(|x| x.to_be_bytes()).collect()),
        Elements::I16(v) => (0x0B, v.iter().flat_map(|x| x.to_be_bytes()).collect()),
        Elements::I32(v) => (0x0C, v.iter().flat_map(|x| x.to_be_bytes()).collect()),
        Elements::F32(v) => (0x0D, v.iter().flat_map(|x| x.to_be_bytes()).collect()),
        Elements::F64(v) => (0x0E, v.iter().flat_map(|x| x.to_be_bytes()).collect()),
        _ => (0, Vec::new()),
    };
    file(code, &dims, &data)
}
