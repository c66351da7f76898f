//! Named arrays for one step.

use gradus_graph::Array;

/// Named arrays that share their first axis: what one step takes.
///
/// [`Dataset::gather`](crate::Dataset::gather) makes one, [`Dataset::from_inputs`](crate::Dataset::from_inputs)
/// takes one for its inputs; the program makes one so:
///
/// ```
/// use gradus_data::Batch;
/// use gradus_graph::Array;
///
/// let noise = Array::new([2, 3], vec![0.0f32; 6])?;
/// let batch = Batch::new().with("noise", noise);
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), gradus_graph::ArrayError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    fields: Vec<(String, Array)>,
}

impl Batch {
    /// A batch without arrays.
    pub fn new() -> Self {
        Self::default()
    }

    /// This batch with `array` under `name`; replaces an array of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, array: Array) -> Self {
        let name = name.into();
        match self.fields.iter_mut().find(|(other, _)| *other == name) {
            Some((_, slot)) => *slot = array,
            None => self.fields.push((name, array)),
        }
        self
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        let mut fields = self.fields();
        fields.find_map(|(other, array)| (other == name).then_some(array))
    }

    /// Names and arrays, in the order they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.fields
            .iter()
            .map(|(name, array)| (name.as_str(), array))
    }

    /// Number of samples: the first axis of the first array, 0 without arrays.
    pub fn len(&self) -> usize {
        let first = self.fields.first();
        first
            .and_then(|(_, a)| a.shape().first().copied())
            .unwrap_or(0)
    }

    /// True if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl IntoIterator for Batch {
    type Item = (String, Array);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.fields.into_iter()
    }
}
