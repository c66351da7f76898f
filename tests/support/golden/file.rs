//! Reading stored cases and comparing with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gradus_graph::{Array, Data};
use safetensors::{Dtype, SafeTensors};

use crate::support::evaluator::numbers;

/// A stored case.
pub(crate) struct File {
    /// Its name.
    pub(crate) name: String,
    tensors: BTreeMap<String, Array>,
    manifest: serde_json::Value,
}

impl File {
    /// Reads `tests/golden/{name}.safetensors`.
    pub(crate) fn open(name: &str) -> Arc<Self> {
        // Tests run in the folder of their package.
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let folder = here
            .ancestors()
            .map(|a| a.join("tests/golden"))
            .find(|f| f.is_dir())
            .expect("tests/golden above the package");
        let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        Arc::new(Self {
            name: name.to_string(),
            tensors: tensors
                .tensors()
                .into_iter()
                .map(|(name, view)| (name, array(view.dtype(), view.shape(), view.data())))
                .collect(),
            manifest: manifest[name].clone(),
        })
    }

    /// No file: for trainings that are compared with each other.
    pub(crate) fn none(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_string(),
            tensors: BTreeMap::new(),
            manifest: serde_json::Value::Null,
        })
    }

    /// How the case was made.
    pub(crate) fn params(&self) -> &serde_json::Value {
        &self.manifest["params"]
    }

    /// A stored tensor; integers are `i32`.
    pub(crate) fn get(&self, name: &str) -> Array {
        match self.tensors.get(name) {
            Some(array) => array.clone(),
            None => panic!("{} has no {name}", self.name),
        }
    }

    /// The name of a parameter here. One of a layer that has no other is named as the layer is.
    pub(crate) fn parameter(&self, path: &str) -> String {
        let name = format!("w.{path}");
        match self.tensors.contains_key(&name) {
            true => name,
            false => name.trim_end_matches(".weight").to_string(),
        }
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Compares with the expected value of this name.
    pub(crate) fn check(&self, name: &str, found: &Array) -> Result<(), String> {
        self.check_within(name, found, 0.0)
    }

    /// The same; elements may also be wrong by this share of themselves.
    pub(crate) fn check_within(&self, name: &str, found: &Array, share: f64) -> Result<(), String> {
        let entry = &self.manifest["tensors"][name];
        let number = |key: &str| entry[key].as_f64();
        let allowed = match (number("f32_err"), number("max_abs")) {
            (Some(err), Some(max)) => (20.0 * err).max(2e-6 * max.max(1.0)).max(1e-6),
            // Integers are exact.
            _ => 0.0,
        };
        compare(&self.get(name), found, allowed, share)
            .map_err(|e| format!("{}: {name}: {e}", self.name))
    }
}

/// Elements may differ by `allowed` or by `share` of themselves; NaN and infinities must be in the same places.
pub(crate) fn compare(want: &Array, found: &Array, allowed: f64, share: f64) -> Result<(), String> {
    if want.shape() != found.shape() {
        return Err(format!("shape {}, want {}", found.shape(), want.shape()));
    }
    let pairs = numbers(found).into_iter().zip(numbers(want));
    for (i, (got, want)) in pairs.enumerate() {
        let same = got == want || (got.is_nan() && want.is_nan());
        let near = want.is_finite() && (got - want).abs() <= allowed.max(share * want.abs());
        if !same && !near {
            return Err(format!("element {i}: {got}, want {want} ± {allowed:.1e}"));
        }
    }
    Ok(())
}

fn array(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Array {
    let data: Data = match dtype {
        Dtype::F32 => words::<4, f32>(bytes, f32::from_le_bytes).into(),
        Dtype::I64 => words(bytes, |b| i32::try_from(i64::from_le_bytes(b)).unwrap()).into(),
        Dtype::U8 => bytes.iter().map(|&b| b != 0).collect::<Vec<_>>().into(),
        other => panic!("no case holds {other:?}"),
    };
    Array::new(shape, data).unwrap()
}

fn words<const N: usize, T>(bytes: &[u8], word: impl Fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.chunks_exact(N);
    chunks.map(|c| word(c.try_into().unwrap())).collect()
}
