//! Slabs: parameters, gradients and optimizer states as flat vectors in shards.

use thiserror::Error;

use crate::{ParamInfo, Target};

/// Elements to which a parameter's start is aligned: 256 bytes.
pub(super) const ALIGN: u64 = 64;

/// Bytes from which on a parameter is large.
pub(super) const LARGE: usize = 1 << 20;

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

/// Parameters that lie side by side, with the padding between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The shard.
    pub shard: usize,
    /// First element, a multiple of 64.
    pub offset: u64,
    /// Elements, a multiple of 64.
    pub len: u64,
}

/// A parameter that no buffer of the device can hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "parameter `{name}` has {bytes} bytes, but buffers of {target} hold at most {limit}; make the \
     layer smaller or choose a device with larger buffers"
)]
pub struct SlabError {
    /// The parameter.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The device.
    pub target: String,
    /// The largest buffer.
    pub limit: u64,
}

impl SlabLayout {
    /// Places parameters one after another, opening a shard whenever the next one does not fit.
    ///
    /// # Errors
    /// If a parameter is larger than a shard may be.
    pub fn new(params: &[ParamInfo], target: &Target) -> Result<Self, SlabError> {
        Self::default().extended(params, |_| true, target)
    }

    /// This layout with more parameters in shards of their own, so that nothing moves. Those that
    /// are trained together (asked by their index in `params`) lie side by side, before the
    /// others; the large ones of them last, in ascending order of size.
    ///
    /// # Errors
    /// If a parameter is larger than a shard may be.
    pub fn extended(
        mut self,
        params: &[ParamInfo],
        trained: impl Fn(usize) -> bool,
        target: &Target,
    ) -> Result<Self, SlabError> {
        let known = self.shards.len();
        let (mut order, others): (Vec<usize>, Vec<usize>) =
            (0..params.len()).partition(|&i| trained(i));
        // The gradient of a large table that is never made leaves no gap at the end of its shard.
        let bytes = |i: usize| params.get(i).map_or(0, |p| p.shape.numel() * 4);
        order.sort_by_key(|&i| Some(bytes(i)).filter(|bytes| *bytes >= LARGE));
        order.extend(others);
        let mut placed = Vec::with_capacity(params.len());
        for (i, param) in order.into_iter().filter_map(|i| Some((i, params.get(i)?))) {
            placed.push((i, self.place(param, known, target)?));
        }
        placed.sort_by_key(|(i, _)| *i);
        self.segments
            .extend(placed.into_iter().map(|(_, segment)| segment));
        Ok(self)
    }

    /// The place of one more parameter, in a shard after the first `known`.
    fn place(
        &mut self,
        param: &ParamInfo,
        known: usize,
        target: &Target,
    ) -> Result<Segment, SlabError> {
        let limit = target.max_shard_bytes() / 4;
        let len = param.shape.numel() as u64;
        let padded = len.next_multiple_of(ALIGN);
        // A larger one has a shard to itself, and kernels bind its rows in parts.
        let most = target.max_buffer_bytes.min(u64::from(u32::MAX)) / 4;
        if padded > most {
            return Err(SlabError {
                name: param.name.clone(),
                bytes: len * 4,
                target: target.name.clone(),
                limit: most * 4,
            });
        }
        let fits = |used: &u64| used + padded <= limit;
        if self.shards.len() == known || !self.shards.last().is_some_and(fits) {
            self.shards.push(0);
        }
        let shard = self.shards.len() - 1;
        let used = self.shards.last_mut();
        let offset = used.map_or(0, |used| std::mem::replace(used, *used + padded));
        Ok(Segment {
            name: param.name.clone(),
            shard,
            offset,
            len,
        })
    }

    /// The parameters of a run, in order, without empty ones; of a large one the part in the run.
    pub(super) fn within(&self, run: &Run) -> Vec<Segment> {
        let part = |s: &Segment| {
            let offset = s.offset.max(run.offset);
            let stop = (s.offset + s.len).min(run.offset + run.len);
            let len = stop.checked_sub(offset).filter(|&n| n > 0)?;
            (s.shard == run.shard).then(|| Segment {
                offset,
                len,
                ..s.clone()
            })
        };
        let mut segments: Vec<Segment> = self.segments.iter().filter_map(part).collect();
        segments.sort_by_key(|s| s.offset);
        segments
    }

    /// The runs of the parameters that are trained, one flag for each segment, none longer than a
    /// binding of the target.
    pub fn runs(&self, trained: &[bool], target: &Target) -> Vec<Run> {
        let flags = self.segments.iter().zip(trained);
        let mut segments: Vec<&Segment> = flags.filter_map(|(s, t)| t.then_some(s)).collect();
        segments.sort_by_key(|s| (s.shard, s.offset));
        let mut runs: Vec<Run> = Vec::new();
        for segment in segments {
            let &Segment { shard, offset, .. } = segment;
            let len = segment.len.next_multiple_of(ALIGN);
            match runs.last_mut() {
                Some(run) if run.shard == shard && run.offset + run.len == offset => run.len += len,
                _ => runs.push(Run { shard, offset, len }),
            }
        }
        let limit = target.max_shard_bytes() / 4 / ALIGN * ALIGN;
        let cut = |run: Run| {
            let parts = run.len.div_ceil(limit.max(ALIGN)).max(1);
            let each = run.len.div_ceil(parts).next_multiple_of(ALIGN);
            (0..parts).map(move |i| Run {
                shard: run.shard,
                offset: run.offset + i * each,
                len: each.min(run.len - i * each),
            })
        };
        runs.into_iter().flat_map(cut).collect()
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
