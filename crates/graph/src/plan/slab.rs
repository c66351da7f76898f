//! Slabs: parameters, gradients and optimizer states as flat vectors in shards.

use thiserror::Error;

use crate::{ParamInfo, Target};

/// Elements to which a parameter's start is aligned: 256 bytes.
const ALIGN: u64 = 64;

/// Where every parameter lies. Gradients and optimizer states mirror the parameters, each in
/// buffers of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlabLayout {
    /// One for each parameter, in the order of the graph.
    pub segments: Vec<Segment>,
    /// Elements of each shard, a multiple of 64. Padding is zero and stays zero.
    pub shards: Vec<u64>,
}

/// The place of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The parameter's path.
    pub name: String,
    /// The shard.
    pub shard: usize,
    /// First element, a multiple of 64.
    pub offset: u64,
    /// Elements.
    pub len: u64,
}

/// A parameter that no binding of the device can hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "parameter `{name}` has {bytes} bytes, but {target} binds at most {limit}; make the layer \
     smaller or choose a device with larger storage bindings"
)]
pub struct SlabError {
    /// The parameter.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The device.
    pub target: String,
    /// The largest binding.
    pub limit: u64,
}

impl SlabLayout {
    /// Places parameters one after another, opening a shard whenever the next one does not fit.
    ///
    /// # Errors
    /// If a parameter is larger than a shard may be.
    pub fn new(params: &[ParamInfo], target: &Target) -> Result<Self, SlabError> {
        let limit = target.max_shard_bytes() / 4;
        let mut layout = Self::default();
        for param in params {
            let len = param.shape.numel() as u64;
            let padded = len.next_multiple_of(ALIGN);
            if padded > limit {
                return Err(SlabError {
                    name: param.name.clone(),
                    bytes: len * 4,
                    target: target.name.clone(),
                    limit: limit * 4,
                });
            }
            match layout.shards.last() {
                Some(used) if used + padded <= limit => {}
                _ => layout.shards.push(0),
            }
            let shard = layout.shards.len() - 1;
            if let Some(used) = layout.shards.last_mut() {
                let segment = Segment {
                    name: param.name.clone(),
                    shard,
                    offset: *used,
                    len,
                };
                layout.segments.push(segment);
                *used += padded;
            }
        }
        Ok(layout)
    }

    /// The place of a parameter.
    pub fn find(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|s| s.name == name)
    }

    /// Bytes of one mirror: all shards.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().sum::<u64>() * 4
    }
}
