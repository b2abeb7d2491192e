//! Sums of states over token ranges.

use crate::DType;
use crate::constants::THREADS;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::memory::widen;
use crate::states::States;
use std::ops::Range;

arguments! {
    PoolArguments {
        x: Address,
        spans: Address,
        width: i32,
        ld: i32,
        sums: Address,
    }
}

impl Gpu {
    /// Sums of the first `width` elements of states over token ranges, `[spans, width]`, after all
    /// earlier operations.
    ///
    /// # Errors
    ///
    /// If the card failed, in this or an earlier operation.
    ///
    /// # Panics
    ///
    /// If a span is outside the states.
    pub fn pool(&self, x: &States, width: usize, spans: &[Range<usize>]) -> Result<Vec<f32>> {
        let inside = spans.iter().all(|span| span.end <= x.rows) && width <= x.width;
        assert!(inside, "spans or {width} columns are outside {x:?}");
        if spans.is_empty() || width == 0 {
            return Ok(Vec::new());
        }
        let ends = spans.iter().flat_map(|span| [span.start as i32, span.end as i32]);
        let len_bytes = spans.len() * width * 4;
        let spans_memory = self.upload(&ends.collect::<Vec<i32>>())?;
        let sums = self.zeros(len_bytes)?;
        let arguments = PoolArguments {
            x: self.address(x.memory()),
            spans: self.address(&spans_memory),
            width: width as i32,
            ld: x.ld as i32,
            sums: self.address(&sums),
        };
        let blocks = [spans.len(), width.div_ceil(THREADS)];
        let launch = Launch { blocks, ..Launch::new("pool", 0, THREADS) };
        // SAFETY: spans and columns are inside `x`; `sums` has a row of `width` for each span. Both
        // live until `download` has waited for the kernel.
        unsafe { self.launch(launch, &arguments) }?;
        Ok(widen(DType::F32, &self.download(&sums, len_bytes)?))
    }
}
